"""The commands and their options; what they need is imported when they run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stilt.cli.entry import EXIT_FAILED, EXIT_INTERRUPTED, set_debug
from stilt.cli.met import met_app
from stilt.collector import many_objects

if TYPE_CHECKING:
    from stilt.execution.handle import JobHandle
    from stilt.execution.monitoring import Monitor
    from stilt.model import Model

app = typer.Typer(
    name="stilt",
    help="STILT: trajectories and footprints of receptors. All times are UTC.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(met_app)

_PROJECT_HELP = "Project folder with config.yaml and receptors.csv."
Project = Annotated[str, typer.Argument(metavar="PROJECT", help=_PROJECT_HELP)]
OutputDir = Annotated[
    str | None, typer.Option("--output-dir", metavar="DIR", help="Where outputs live; default: the project.")
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks.", callback=set_debug, show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", show_default=False)]
ComputeRoot = Annotated[
    str | None,
    typer.Option("--compute-root", metavar="DIR", help="Where scratch folders go; default: a temporary one."),
]


def _at_least_one(text: str | int) -> int:
    """Read a number of workers or rows."""
    text = str(text)  # a default arrives as a number
    if not text.strip().isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"'{text}' is not a whole number of 1 or more")
    return int(text)


def _workers(text: str | int) -> int | str:
    """Read a number of workers, or ``auto``."""
    return "auto" if str(text).strip().lower() == "auto" else _at_least_one(text)


def command() -> Any:
    """Build the command line."""
    return typer.main.get_command(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        from stilt import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _stilt(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_show_version, is_eager=True, show_default=False
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """STILT: trajectories and footprints of receptors. All times are UTC."""


@app.command()
def init(
    directory: Annotated[str, typer.Argument(metavar="[DIR]", help="Folder to begin a project in.")] = ".",
    demo: Annotated[
        bool,
        typer.Option(
            "--demo", help="Also write a small made-up meteorology and receptors.", show_default=False
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Begin a project: a commented config.yaml and receptors.csv."""
    from stilt.cli.scaffold import write_demo, write_project

    folder = Path(directory)
    written = write_demo(folder) if demo else write_project(folder)
    print(f"wrote {', '.join(written)} in {folder}")
    print(f"next: stilt run {directory}" if demo else "next: edit both, then stilt check and stilt run")


@app.command()
def check(
    project: Project = ".",
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Run a few simulations, say what all will cost.", show_default=False),
    ] = False,
    as_json: AsJson = False,
    output_dir: OutputDir = None,
    debug: Debug = False,
) -> int:
    """Look for what would stop a run: settings, meteorology, receptors, outputs."""
    from stilt.cli import show

    model = _model(project, output_dir)
    report = model.check()
    cost = model.estimate() if estimate else None
    if as_json:
        show.as_json(report.to_dict() | ({} if cost is None else {"estimate": cost.to_dict()}))
    else:
        show.report(report)
        if estimate:
            show.cost(cost)
    return 0 if report.ok else EXIT_FAILED


@app.command()
def run(
    project: Project = ".",
    config: Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="Settings instead of PROJECT/config.yaml.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", help="Where to run, instead of as configured.")
    ] = None,
    n_workers: Annotated[
        str | None,
        typer.Option("--n-workers", metavar="N", parser=_workers, help="Number of workers, or auto (local)."),
    ] = None,
    no_skip: Annotated[
        bool, typer.Option("--no-skip", help="Also make again what is complete.", show_default=False)
    ] = False,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh",
            help="Remove outputs made with other settings, and make them again.",
            show_default=False,
        ),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the end (local runs always do).")
    ] = True,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what would run and how, such as the job script.", show_default=False
        ),
    ] = False,
    compute_root: ComputeRoot = None,
    output_dir: OutputDir = None,
    debug: Debug = False,
) -> int:
    """Run what is not complete: trajectories, then footprints."""
    model = _model(project, output_dir, config=config, compute_root=compute_root)
    executor: dict[str, Any] | None = None
    if backend is not None or n_workers is not None:
        executor = {"backend": backend or model.config.execution.backend}
        if n_workers is not None:
            executor["n_workers"] = n_workers
    if dry_run:
        print(model.preview(executor, skip_existing=False if no_skip else None))
        return 0
    handle = model.run(
        executor, skip_existing=False if no_skip else None, wait=wait, refresh=refresh, progress=True
    )
    return _end_of_run(model, project, output_dir, handle)


@app.command()
def register(
    project: Project,
    receptors: Annotated[
        str | None,
        typer.Option("--receptors", metavar="FILE", help="Receptors instead of PROJECT/receptors.csv."),
    ] = None,
    scene_id: Annotated[str | None, typer.Option("--scene-id", help="Label for all of them.")] = None,
    priority: Annotated[
        int | None,
        typer.Option("--priority", metavar="N", help="In the work queue, higher first; default: 0."),
    ] = None,
    output_dir: OutputDir = None,
    debug: Debug = False,
) -> None:
    """Ask for simulations without running them; with a work queue, pull workers run them."""
    with many_objects():
        model = _model(project, output_dir, receptors=None if receptors is None else Path(receptors))
        pending = model.register_pending(scene_id=scene_id, priority=priority)
    n_registered = len(model.receptors) * len(model.config.run_mets)
    print(f"{n_registered} simulations registered, {len(pending)} of them not complete")


@app.command("compare-engines")
def compare_engines(
    project: Project,
    receptors: Annotated[
        int, typer.Option("--receptors", metavar="N", parser=_at_least_one, help="How many receptors.")
    ] = 3,
    seeds: Annotated[
        int,
        typer.Option("--seeds", metavar="N", parser=_at_least_one, help="Runs of each engine, 2 or more."),
    ] = 3,
    met: Annotated[
        str | None, typer.Option("--met", metavar="NAME", help="Meteorology; default: the first.")
    ] = None,
    as_json: AsJson = False,
    output_dir: OutputDir = None,
    debug: Debug = False,
) -> int:
    """Run engines native and hysplit on a few receptors: how alike, how fast. Nothing is written."""
    from stilt.cli import show
    from stilt.transport.compare import compare_engines

    model = _model(project, output_dir)
    chosen = show.spread_over(model.receptors, receptors)
    name = met if met is not None else model.config.run_mets[0]
    found = []
    for comparison in compare_engines(model.config, chosen, name, seeds=max(2, seeds)):
        found.append(comparison)
        if not as_json:
            show.comparison(comparison)
    if as_json:
        show.as_json([comparison.to_dict() for comparison in found])
    else:
        show.comparisons(found)
    return EXIT_FAILED if any(comparison.problem for comparison in found) else 0


@app.command("push-worker")
def push_worker(
    project: Project,
    chunk: Annotated[
        str | None,
        typer.Option("--chunk", metavar="FILE", help="Work list; default: everything not complete."),
    ] = None,
    cpus: Annotated[
        int,
        typer.Option(
            "--cpus",
            metavar="N",
            parser=_at_least_one,
            help="Worker processes; default: 1.",
            show_default=False,
        ),
    ] = 1,
    isolate: Annotated[
        bool,
        typer.Option(
            "--isolate",
            help="A process for the simulations also with one core: one that dies takes no other along.",
            show_default=False,
        ),
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing/--no-skip-existing", help="Make only what is missing.")
    ] = True,
    compute_root: ComputeRoot = None,
    output_dir: OutputDir = None,
    debug: Debug = False,
) -> int:
    """Run a given list of simulations under the published settings."""
    from stilt.execution.entrypoints import push_chunk
    from stilt.execution.progress import reporter_for
    from stilt.execution.stopping import TIME_LIMIT_SIGNAL

    store = _store(project, output_dir)
    handle = push_chunk(
        store,
        chunk,
        n_cores=cpus,
        skip_existing=skip_existing,
        compute_root=_compute_root(compute_root),
        isolated=isolate,
        reporter=reporter_for(True),
        queue=_queue(store),
    )
    code = _end_of_work(handle)
    if handle.stop_signal == TIME_LIMIT_SIGNAL:
        from stilt.execution.backends.slurm.task import return_to_queue

        sys.stdout.flush()  # Slurm may end this process as soon as it agrees
        return_to_queue(lambda text: print(text, file=sys.stderr, flush=True))
    return code


MaxRows = Annotated[
    int | None,
    typer.Option(
        "--max-rows",
        metavar="N",
        parser=_at_least_one,
        help="Rows claimed and processed in one batch; default: PYSTILT_MAX_ROWS or 1.",
    ),
]


@app.command("pull-worker")
def pull_worker(
    project: Project,
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep waiting for more.", show_default=False)
    ] = False,
    until_done: Annotated[
        bool,
        typer.Option(
            "--until-done",
            help="Stay until nothing is running elsewhere either: what a lost worker held is made here.",
            show_default=False,
        ),
    ] = False,
    max_rows: MaxRows = None,
    compute_root: ComputeRoot = None,
    output_dir: OutputDir = None,
    debug: Debug = False,
) -> int:
    """Run simulations from the work queue, under the published settings, until none is pending."""
    from stilt.execution.messages import no_queue_message

    _require_queue(no_queue_message())
    from stilt.execution.monitoring import LogLines

    handle = _pull(
        project,
        output_dir,
        compute_root,
        max_rows,
        follow=follow,
        until_done=until_done,
        monitor=LogLines(),
    )
    return _end_of_work(handle)


@app.command()
def serve(
    project: Project,
    max_rows: MaxRows = None,
    health_file: Annotated[
        str | None,
        typer.Option("--health-file", metavar="FILE", help="Rewritten every 5 s while the worker is alive."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="[ADDRESS:]PORT", help="Serve metrics for Prometheus there."),
    ] = None,
    compute_root: ComputeRoot = None,
    output_dir: OutputDir = None,
    debug: Debug = False,
) -> int:
    """Keep pulling simulations from the work queue until told to stop (SIGTERM, Ctrl-C)."""
    from stilt.execution.messages import no_queue_message

    _require_queue(no_queue_message())
    from stilt.execution.monitoring import HealthFile, LogLines, Metrics, Monitors

    monitors: list[Monitor] = [LogLines()]
    if health_file is not None:
        monitors.append(HealthFile(Path(health_file)))
    if metrics is not None:
        monitors.append(Metrics(metrics))
    handle = _pull(project, output_dir, compute_root, max_rows, follow=True, monitor=Monitors(monitors))
    # being told to stop is how serving ends
    return EXIT_FAILED if handle.stopped_because else 0


@app.command()
def rebuild(
    project: Project = ".",
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove queue rows that nobody asks for.", show_default=False)
    ] = False,
    output_dir: OutputDir = None,
    debug: Debug = False,
) -> None:
    """Bring the work queue in line with the outputs; without a queue, report the status."""
    from stilt.cli import show

    model = _model(project, output_dir)
    show.restored(model.manifest.restore())
    if model.queue is None:
        counts = model.status()
        print("no work queue is configured: outputs are the state, there is nothing to rebuild")
        show.counts(counts)
        return
    from stilt.execution.rebuilding import rebuild_queue

    show.rebuilt(rebuild_queue(model.store, model.queue, prune=prune))


@app.command()
def cancel(
    project: Project = ".",
    output_dir: OutputDir = None,
    debug: Debug = False,
) -> None:
    """Cancel the detached jobs of a project; what is finished is kept."""
    from stilt.execution.detached import find_jobs

    jobs = find_jobs(_model(project, output_dir).store)
    for job in jobs:
        job.cancel()
        print(f"cancelled {job.record.backend} job {job.job_id} ({job.record.simulations} simulations)")
    if not jobs:
        print("no detached job is waiting or running (a run on this machine is stopped with Ctrl-C)")


@app.command()
def status(
    project: Project = ".",
    scene_id: Annotated[str | None, typer.Option("--scene-id", help="Only this scene.")] = None,
    by_scene: Annotated[bool, typer.Option("--by-scene", help="Count by scene.", show_default=False)] = False,
    failures: Annotated[
        bool, typer.Option("--failures", help="List failures with their reasons.", show_default=False)
    ] = False,
    as_json: AsJson = False,
    output_dir: OutputDir = None,
    debug: Debug = False,
) -> None:
    """Say what is complete, from the outputs as they are now."""
    # nothing here multiplies matrices: starting OpenBLAS's threads would be a tenth of the work
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from stilt.cli import show

    with many_objects():
        summary = show.summarise(
            _model(project, output_dir), scene_id=scene_id, by_scene=by_scene, failures=failures
        )
    if as_json:
        show.as_json(summary.to_dict())
    else:
        show.status(summary, failures=failures)


kubernetes = typer.Typer(help="Manifests for a Kubernetes cluster.", no_args_is_help=True)
app.add_typer(kubernetes, name="kubernetes")


@kubernetes.command("render")
def kubernetes_render(
    project: Project = ".",
    output_dir: OutputDir = None,
    debug: Debug = False,
) -> None:
    """Print the YAML: the job of a run, or in mode pull workers that stay on the queue and their scaling."""
    from stilt.execution.backends.kubernetes.render import render, settings_of
    from stilt.execution.worker import WorkContext

    model = _model(project, output_dir)
    section = settings_of(model.config)
    if section.mode == "pull":
        print(render(section, WorkContext(model.store, model.config), "", 0), end="")
    else:
        print(model.preview(), end="")


# --- shared -------------------------------------------------------------------------------------------


def _model(project: str, output_dir: str | None, **options: Any) -> Model:
    from stilt.errors import ProjectError
    from stilt.model import Model

    folder = Path(project)
    if folder.is_file():
        raise ProjectError(
            f"{project} is a file; give the project's folder (and --config for another config)."
        )
    model = Model(project=project, output_dir=output_dir, **options)
    _ = model.config
    return model


def _store(project: str, output_dir: str | None) -> Any:
    from stilt.storage import open_store

    return open_store(output_dir if output_dir is not None else project)


def _compute_root(given: str | None) -> Path | None:
    from stilt.config import RuntimeSettings

    if given is not None:
        return Path(given).expanduser().absolute()
    root = RuntimeSettings.from_env().compute_root
    return None if root is None else root.absolute()


def _queue(store: Any) -> Any:
    from stilt.config import RuntimeSettings
    from stilt.service import queue_for

    return queue_for(RuntimeSettings.from_env(), store.identity)


def _require_queue(message: str) -> None:
    from stilt.config import RuntimeSettings
    from stilt.errors import NoQueueError

    if not RuntimeSettings.from_env().has_queue:
        raise NoQueueError(message)


def _pull(
    project: str,
    output_dir: str | None,
    compute_root: str | None,
    max_rows: int | None,
    *,
    follow: bool,
    monitor: Monitor,
    until_done: bool = False,
) -> JobHandle:
    from stilt.config import RuntimeSettings
    from stilt.execution.pulling import pull

    store = _store(project, output_dir)
    return pull(
        store,
        _queue(store),
        follow=follow,
        until_done=until_done,
        max_rows=RuntimeSettings.from_env().max_rows if max_rows is None else max_rows,
        compute_root=_compute_root(compute_root),
        monitor=monitor,
    )


def _end_of_run(model: Model, project: str, output_dir: str | None, handle: JobHandle) -> int:
    from stilt.cli import show

    print_details(handle)
    where = project if output_dir is None else f"{project} --output-dir {output_dir}"
    if handle.detached and not handle.is_over:
        show.submitted(model, handle, where)
        return EXIT_INTERRUPTED if handle.interrupted else 0
    counted = show.run_summary(model, handle, where)
    return handle.exit_code or int(counted.completed < counted.total)


def _end_of_work(handle: JobHandle) -> int:
    from stilt.cli import show

    print_details(handle)
    show.work_summary(handle)
    return handle.exit_code


def print_details(handle: JobHandle) -> None:
    """Show the tracebacks of failures when they are wanted."""
    from stilt.cli.entry import debug_is_on

    if debug_is_on():
        for result in handle.failed:
            print(f"{result.sim_id}:\n{result.detail}", file=sys.stderr)
