# Workers for Kubernetes, or stilt anywhere:  docker build -t stilt .   docker run --rm stilt --help
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
ARG EXTRAS=complete
RUN python -m venv /opt/stilt \
    && /opt/stilt/bin/pip install --no-cache-dir ".[${EXTRAS}]"

# kernels are compiled here, once, for a kind of processor that every node has; change both for other machines
ARG CPU_NAME=x86-64-v3
ARG CPU_FEATURES=+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe
ENV NUMBA_CPU_NAME=${CPU_NAME} \
    NUMBA_CPU_FEATURES=${CPU_FEATURES} \
    PYSTILT_CACHE_DIR=/var/cache/stilt
RUN /opt/stilt/bin/python -m stilt.execution.warmup


FROM python:${PYTHON}-slim-bookworm
ARG CPU_NAME=x86-64-v3
ARG CPU_FEATURES=+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe
ENV NUMBA_CPU_NAME=${CPU_NAME} \
    NUMBA_CPU_FEATURES=${CPU_FEATURES} \
    PYSTILT_CACHE_DIR=/var/cache/stilt \
    PYTHONUNBUFFERED=1 \
    PATH=/opt/stilt/bin:${PATH}
RUN useradd --uid 10001 --create-home stilt
COPY --from=build /opt/stilt /opt/stilt
COPY --from=build --chown=10001:10001 /var/cache/stilt /var/cache/stilt
USER 10001:10001
WORKDIR /home/stilt
ENTRYPOINT ["stilt"]
CMD ["--help"]
