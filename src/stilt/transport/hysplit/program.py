"""
The program: where it is, which version it is, running it and ending it.

It runs in a session of its own, so that a timeout or an interrupt ends it with everything it may
have started: first asked (SIGTERM), then, after some seconds, made to (SIGKILL). A worker that is killed
cannot do that, so on Linux the system ends the program with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stilt.config import HysplitConfig, RuntimeSettings
from stilt.errors import Interrupted, ProgramNotFoundError, TransportTimeoutError
from stilt.transport.hysplit.staging import TABLES

NAME = "hycs_std"
LOG_NAME = "hycs_std.log"

_WHERE = (
    "get HYSPLIT from https://www.ready.noaa.gov/HYSPLIT.php and name its folder in "
    "hysplit: {exe, data_dir} or PYSTILT_HYSPLIT_DIR; engine: native needs no program"
)
_VERSION = re.compile(r"HYSPLIT version:\s*(?:hysplit\.)?(\S+)")
_DATE = re.compile(r"Last Changed Date:\s*(\S+)")
_END_WITH_PARENT = 1
"""``PR_SET_PDEATHSIG`` of Linux."""
_LOOK_EVERY = 0.1
_GRACE = 5.0
_VERSION_SECONDS = 20.0


@dataclass(frozen=True)
class Program:
    """
    A program that can be run.

    Attributes
    ----------
    exe : Path
        ``hycs_std``.
    tables : Path
        Folder of its ASC tables.
    version : str
        What it says it is, such as ``v5.1.0 (2021-05-13)``.
    """

    exe: Path
    tables: Path
    version: str

    def describe(self) -> str:
        """Say in one line what runs."""
        return f"{self.exe}, HYSPLIT {self.version}, tables in {self.tables}"


@dataclass(frozen=True)
class Ended:
    """
    How a run of the program ended.

    Attributes
    ----------
    code : int
        Exit status; negative: the number of the signal that ended it.
    seconds : float
        How long it took [s].
    cpu_seconds : float
        CPU it took [s]; 0 where the system does not say.
    """

    code: int
    seconds: float
    cpu_seconds: float


# --- finding ------------------------------------------------------------------------------------------


def find_program(config: HysplitConfig | None = None) -> Program:
    """
    Find the program and its tables, and ask it for its version.

    Looked for are ``hysplit.exe`` and ``hysplit.data_dir`` of the configuration, then
    ``PYSTILT_HYSPLIT_DIR``, then PATH. Tables are searched beside the program and where HYSPLIT's own
    folders have them.

    Raises
    ------
    ProgramNotFoundError
        Something is not there, or does not run; one line says what and what to do.
    """
    config = config or HysplitConfig()
    folder = RuntimeSettings.from_env().hysplit_dir
    exe = _find_exe(config.exe, folder)
    tables = _find_tables(config.data_dir, exe, folder)
    stat = exe.stat()
    return Program(exe, tables, _version(str(exe), stat.st_size, stat.st_mtime_ns))


def _find_exe(configured: Path | None, folder: Path | None) -> Path:
    if configured is not None:
        found = _in_folder(configured) if configured.is_dir() else configured
        if found is None or not found.is_file():
            raise ProgramNotFoundError(f"hysplit.exe: there is no program {configured}; {_WHERE}.")
        return found
    if folder is not None:
        found = _in_folder(folder) if folder.is_dir() else None
        if found is None:
            raise ProgramNotFoundError(f"PYSTILT_HYSPLIT_DIR={folder} holds no {NAME}; {_WHERE}.")
        return found
    on_path = shutil.which(NAME)
    if on_path is None:
        raise ProgramNotFoundError(f"engine 'hysplit' needs {NAME}, which is not here: {_WHERE}.")
    return Path(on_path)


def _in_folder(folder: Path) -> Path | None:
    for place in (folder, folder / "exec"):
        for name in (NAME, f"{NAME}.exe"):
            if (place / name).is_file():
                return place / name
    return None


def _find_tables(configured: Path | None, exe: Path, folder: Path | None) -> Path:
    if configured is not None:
        missing = [name for name in TABLES if not (configured / name).is_file()]
        if missing:
            raise ProgramNotFoundError(
                f"hysplit.data_dir: {configured} lacks {', '.join(missing)}; give the folder of HYSPLIT's "
                "ASC tables (bdyfiles)."
            )
        return configured
    beside = [exe.parent, exe.resolve().parent, *([folder] if folder else [])]
    places = [
        place
        for root in beside
        for place in (root, root / "bdyfiles", root.parent / "bdyfiles", root / "data")
    ]
    for place in places:
        if all((place / name).is_file() for name in TABLES):
            return place
    fewest = min(([name for name in TABLES if not (place / name).is_file()] for place in places), key=len)
    raise ProgramNotFoundError(
        f"{', '.join(fewest)} {'is' if len(fewest) == 1 else 'are'} not beside {exe} nor in a bdyfiles "
        "folder near it; name the folder that holds them in hysplit: {data_dir}; engine: native needs none."
    )


@functools.lru_cache(maxsize=8)
def _version(exe: str, size: int, changed: int) -> str:
    """Run the program without input: it says its version and ends. Size and time tell builds apart."""
    with tempfile.TemporaryDirectory(prefix="stilt-hysplit-") as folder:
        try:
            done = subprocess.run(  # noqa: S603 - the user's program
                [exe],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_VERSION_SECONDS,
                check=False,
            )
        except OSError as error:
            raise ProgramNotFoundError(
                f"{exe} does not run here ({error.strerror or error}; {size} bytes); it may be damaged, not "
                f"executable or made for another system: {_WHERE}."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise ProgramNotFoundError(
                f"{exe} does not answer in {_VERSION_SECONDS:g} s when asked for its version, so it is not "
                f"{NAME}; {_WHERE}."
            ) from error
    said = done.stdout.decode("utf-8", "replace")
    version, date = _VERSION.search(said), _DATE.search(said)
    if version is None:
        what = " ".join(said.split())[:80] or f"exit status {done.returncode}"
        raise ProgramNotFoundError(
            f"{exe} does not say which HYSPLIT it is ({what}), so it is not {NAME}; {_WHERE}."
        )
    return f"{version[1]} ({date[1]})" if date else version[1]


# --- running ------------------------------------------------------------------------------------------


def run_program(
    exe: Path,
    folder: Path,
    *,
    deadline: float | None = None,
    limit: float | None = None,
    should_stop: Callable[[], bool] | None = None,
    say: Callable[[str], None] | None = None,
    who: str = "",
) -> Ended:
    """
    Run the program in a folder until it ends, or is ended.

    Parameters
    ----------
    exe : Path
        The program.
    folder : Path
        Where CONTROL lies.
    deadline : float, optional
        ``time.monotonic()`` value after which it is ended.
    limit : float, optional
        The timeout behind the deadline, for the message [s].
    should_stop : callable, optional
        Asked several times a second; True ends the program.
    say : callable, optional
        Given each line the program prints, when it prints it.
    who : str
        Whose run it is, for messages.

    Returns
    -------
    Ended
        Also when it failed; what it printed is in ``LOG_NAME`` in the folder.

    Raises
    ------
    TransportTimeoutError, Interrupted
        When it was ended from here.
    ProgramNotFoundError
        When it could not be started.
    """
    began = time.monotonic()
    cpu = _children_cpu()
    with (folder / LOG_NAME).open("wb") as out, _Tail(folder / LOG_NAME, say) as tail:
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's program
                [str(exe.absolute())],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_worker(),
                # without it a Fortran program keeps its words to itself until it ends
                env={**os.environ, "GFORTRAN_UNBUFFERED_PRECONNECTED": "1"},
            )
        except OSError as error:
            raise ProgramNotFoundError(
                f"{exe} cannot be started ({error.strerror or error}); {_WHERE}."
            ) from error
        try:
            wait = 0.01
            while process.poll() is None:
                tail.read()
                if should_stop is not None and should_stop():
                    raise Interrupted(
                        "stopped while hycs_std was running; run again to continue with this receptor."
                    )
                if deadline is not None and time.monotonic() > deadline:
                    spent = time.monotonic() - began
                    raise TransportTimeoutError(
                        f"{who}: hycs_std was ended after {spent:.0f} s{tail.progress}: the timeout"
                        f"{f' of {limit:g} s' if limit else ''} is over. "
                        "Raise timeout, or use fewer particles or hours."
                    )
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(wait)
                wait = min(_LOOK_EVERY, 2 * wait)
        finally:
            end_group(process)
            tail.read()
    return Ended(process.returncode, time.monotonic() - began, _children_cpu() - cpu)


def _end_with_worker() -> Callable[[], None] | None:
    """
    Return what a child does before it becomes the program, so that it does not outlive a killed worker.

    The system looks at the *thread* that started the program: `run_program` waits in that thread until the
    program has ended, so it cannot end before.
    """
    if sys.platform != "linux":
        return None
    try:
        # PyDLL keeps the interpreter's lock: the child has this one thread, and takes no lock to call
        prctl = ctypes.PyDLL(None).prctl
    except (OSError, AttributeError):  # a C library without it
        return None
    worker, number, gone = os.getpid(), int(signal.SIGKILL), os._exit

    def before() -> None:
        prctl(_END_WITH_PARENT, number, 0, 0, 0)
        if os.getppid() != worker:  # killed in between
            gone(1)

    return before


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all it started: SIGTERM, and SIGKILL for what is left after a few seconds."""
    if process.poll() is not None:
        return  # ended on its own; its number may belong to someone else by now
    if sys.platform == "win32":
        process.kill()
        process.wait()
        return
    _signal_group(process.pid, signal.SIGTERM)
    limit = time.monotonic() + _GRACE
    while _group_exists(process) and time.monotonic() < limit:
        time.sleep(0.02)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _group_exists(process: subprocess.Popen[bytes]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return process.returncode is None
    return True


def _children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


class _Tail:
    """What a file gained since the last look, in lines."""

    def __init__(self, path: Path, say: Callable[[str], None] | None) -> None:
        self._stream = path.open("rb")
        self._say = say
        self._rest = b""
        self.progress = ""

    def __enter__(self) -> _Tail:
        return self

    def __exit__(self, *error: object) -> None:
        self.read()
        if self._rest:
            self._line(self._rest)
            self._rest = b""
        self._stream.close()

    def read(self) -> None:
        new = self._stream.read()
        if not new:
            return
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()
        if text.startswith("Percent complete:"):
            self.progress = f", {text.removeprefix('Percent complete:').strip()} % done"
        if text and self._say is not None:
            self._say(text)
