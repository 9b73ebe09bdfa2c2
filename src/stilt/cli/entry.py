"""
Where the command begins and ends: whatever goes wrong becomes one line and an exit code.

::

    0  done, everything complete        2  usage, configuration, or known to be impossible
    1  some failed, or check found something                            3  interrupted
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

EXIT_FAILED = 1
EXIT_IMPOSSIBLE = 2
EXIT_INTERRUPTED = 3
EXIT_BROKEN_PIPE = 141
_TYPERS_INTERRUPT = 130
"""What newer versions of typer make of Ctrl-C."""

_debug = False


def set_debug(wanted: bool) -> bool:
    """Remember that tracebacks are wanted."""
    global _debug
    _debug = _debug or wanted
    return wanted


def debug_is_on() -> bool:
    """Whether tracebacks are wanted."""
    return _debug


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; default: those of the process.

    Returns
    -------
    int
        Exit code.
    """
    global _debug
    _debug = False
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    # known before parsing, so that also parsing can be debugged
    set_debug("--debug" in arguments)
    _print_anything()
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        warnings.simplefilter("default", UserWarning)
        try:
            code = _run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:
            _silence_stdout()
            code = EXIT_BROKEN_PIPE
        except OSError as error:
            _silence_stdout()
            code = _complain(error)
    return code


def _run(arguments: list[str]) -> int:
    # looking for plugins of pydantic reads what every installed package says of itself
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    import typer

    from stilt.cli.app import command

    try:
        result: Any = command().main(arguments, prog_name="stilt", standalone_mode=False)
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:
        raise
    except Exception as error:
        # typer brings click under its own name or another, so its errors are known by what they can do
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())  # type: ignore[attr-defined]
            return 0
        if hasattr(error, "format_message"):
            context = getattr(error, "ctx", None)
            where = context.command_path if context is not None else "stilt"
            return _say(f"{error.format_message().rstrip('.')}. Try '{where} --help'.")
        return _complain(error)
    if result == _TYPERS_INTERRUPT:
        return _interrupted()
    return result if isinstance(result, int) else 0


def _interrupted() -> int:
    _say("interrupted; what is finished is kept.")
    return EXIT_INTERRUPTED


def _complain(error: Exception) -> int:
    from stilt.errors import Interrupted, StiltError

    if _debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, Interrupted):
        _say(str(error))
        return EXIT_INTERRUPTED
    if isinstance(error, StiltError):
        return _say(str(error))
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return _say(f"{where}{error.strerror}.")
    try:
        from pydantic import ValidationError
    except ImportError:
        pass
    else:
        if isinstance(error, ValidationError):
            from stilt.sections import describe

            return _say(describe(error, error.title))
    return _say(f"unexpected {type(error).__name__}: {error} (--debug shows where; please report it)")


def _say(text: str) -> int:
    """Print an error as one line; exit code 2."""
    with contextlib.suppress(OSError):
        print(f"stilt: {' '.join(text.split())}", file=sys.stderr, flush=True)
    return EXIT_IMPOSSIBLE


def _print_anything() -> None:
    """Let names and messages that the terminal's encoding lacks be printed as escapes."""
    if getattr(sys.stdout, "errors", "") == "strict":
        with contextlib.suppress(AttributeError, OSError):
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    with contextlib.suppress(OSError):
        print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


def _silence_stdout() -> None:
    """Keep Python from complaining about stdout once more when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
