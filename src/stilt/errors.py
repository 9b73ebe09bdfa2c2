"""
Everything that can go wrong, as one tree.

::

    StiltError
    ├── ConfigError (ValueError)              a setting that cannot be used
    │   ├── UnsupportedSettingError           a setting the chosen engine does not implement
    │   └── ProgramNotFoundError (FileNotFoundError)  the program an engine runs is not there or does not run
    ├── ReceptorError (ValueError)            a receptor that cannot be built or read
    ├── ProjectError (ValueError)             a project folder that cannot be used as asked
    │   ├── StaleOutputsError                 outputs were made with other settings
    │   ├── ManifestError                     the manifest cannot be read
    │   ├── UnknownFootprintError (KeyError)  no footprint of that name is configured
    │   └── NoQueueError                      a queue was asked for and none is configured
    ├── QueueError (ConnectionError)          the work queue cannot be reached or used
    ├── StoreError (OSError)                  reading or writing an output failed
    │   ├── StoreFullError                    no space left
    │   ├── StoreUnavailableError             bucket gone, access refused or out of reach
    │   └── MissingObjectError (FileNotFoundError)
    ├── MetError                              meteorology that cannot carry the run
    │   ├── MetNotFoundError (FileNotFoundError)
    │   ├── MetDownloadError (ConnectionError)  an archive that cannot be reached or sends damaged files
    │   ├── MetCoverageError (ValueError)     the times do not cover the run
    │   ├── MetIntervalError (ValueError)     a gap or an uneven interval
    │   ├── MetFormatError (ValueError)       a truncated or corrupt file
    │   ├── MetVariableError (KeyError)       a required variable is missing
    │   ├── ForecastMetError (ValueError)     the engine takes no forecast meteorology
    │   └── ReceptorOffGridError (ValueError) the receptor lies outside the met grid
    ├── TransportError (RuntimeError)         the engine could not finish
    │   ├── TransportTimeoutError (TimeoutError)
    │   ├── TruncatedRunError                 the particles end before the run does
    │   ├── InvalidOutputError (ValueError)   numbers that are none (NaN, ****) among the particles
    │   ├── ProgramCrashedError               the program stopped with an error of its language
    │   └── ProgramFailedError                the program failed and did not say why
    ├── FootprintError (ValueError)           particles that cannot be gridded
    ├── MissingExtraError (ImportError)       an optional package is not installed
    └── Interrupted                           SIGINT or SIGTERM

Each class also derives from the builtin it resembles, so ordinary ``except``
clauses work. ``reason`` is the short stable name that ``stilt status`` counts.
Messages are one line: what happened, with the values, then what to do.
"""

from __future__ import annotations

from enum import StrEnum


class FailureReason(StrEnum):
    """Why a simulation failed, in words that scripts may rely on."""

    MISSING_MET_FILES = "MISSING_MET_FILES"
    MET_DOWNLOAD = "MET_DOWNLOAD"
    MET_COVERAGE = "MET_COVERAGE"
    VARYING_MET_INTERVAL = "VARYING_MET_INTERVAL"
    FORECAST_MET_REFUSED = "FORECAST_MET_REFUSED"
    MET_CORRUPT = "MET_CORRUPT"
    MET_VARIABLE_MISSING = "MET_VARIABLE_MISSING"
    RECEPTOR_OFF_GRID = "RECEPTOR_OFF_GRID"
    UNSUPPORTED_SETTING = "UNSUPPORTED_SETTING"
    INVALID_SETTING = "INVALID_SETTING"
    TIMEOUT = "TIMEOUT"
    TRUNCATED = "TRUNCATED"
    INVALID_OUTPUT = "INVALID_OUTPUT"
    FORTRAN_RUNTIME_ERROR = "FORTRAN_RUNTIME_ERROR"
    PROGRAM_MISSING = "PROGRAM_MISSING"
    WORKER_DIED = "WORKER_DIED"
    STORE_FULL = "STORE_FULL"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    STORE = "STORE"
    QUEUE = "QUEUE"
    NOT_REGISTERED = "NOT_REGISTERED"
    FOOTPRINT = "FOOTPRINT"
    TRANSPORT = "TRANSPORT"
    INTERRUPTED = "INTERRUPTED"
    UNKNOWN = "UNKNOWN"


class StiltError(Exception):
    """Root of all errors raised on purpose by stilt."""

    reason: FailureReason = FailureReason.UNKNOWN

    def __str__(self) -> str:
        # KeyError would show its message in quotes
        return str(self.args[0]) if self.args else type(self).__name__


class ConfigError(StiltError, ValueError):
    """A setting that cannot be used."""

    reason = FailureReason.INVALID_SETTING


class UnsupportedSettingError(ConfigError):
    """A setting the chosen engine does not implement, named in the message."""

    reason = FailureReason.UNSUPPORTED_SETTING


class ProgramNotFoundError(ConfigError, FileNotFoundError):
    """The program that an engine runs is not there, or does not run on this machine."""

    reason = FailureReason.PROGRAM_MISSING


class ReceptorError(StiltError, ValueError):
    """A receptor that cannot be built or read."""

    reason = FailureReason.INVALID_SETTING


class ProjectError(StiltError, ValueError):
    """A project folder that cannot be used as asked."""


class StaleOutputsError(ProjectError):
    """Existing outputs were made with other settings than the config now holds."""


class ManifestError(ProjectError):
    """The manifest cannot be read."""


class UnknownFootprintError(ProjectError, KeyError):
    """No footprint of that name is configured; the message lists the names."""


class NoQueueError(ProjectError):
    """A work queue was asked for and none is configured."""


class QueueError(StiltError, ConnectionError):
    """The work queue cannot be reached or used."""

    reason = FailureReason.QUEUE


class StoreError(StiltError, OSError):
    """Reading or writing an output failed."""

    reason = FailureReason.STORE


class StoreFullError(StoreError):
    """No space is left where outputs go."""

    reason = FailureReason.STORE_FULL


class StoreUnavailableError(StoreError):
    """The whole place where outputs go cannot be used: it is gone, refuses access or is out of reach."""

    reason = FailureReason.STORE_UNAVAILABLE


class MissingObjectError(StoreError, FileNotFoundError):
    """Nothing is stored under this key."""


class MetError(StiltError):
    """Meteorology that cannot carry the run."""


class MetNotFoundError(MetError, FileNotFoundError):
    """No meteorology file matches."""

    reason = FailureReason.MISSING_MET_FILES


class MetDownloadError(MetError, ConnectionError):
    """An archive of meteorology cannot be reached, or what it sends cannot be used."""

    reason = FailureReason.MET_DOWNLOAD


class MetCoverageError(MetError, ValueError):
    """The times in the meteorology do not cover the run."""

    reason = FailureReason.MET_COVERAGE


class MetIntervalError(MetError, ValueError):
    """The meteorology has a gap or an uneven interval."""

    reason = FailureReason.VARYING_MET_INTERVAL


class MetFormatError(MetError, ValueError):
    """A meteorology file is truncated or corrupt."""

    reason = FailureReason.MET_CORRUPT


class MetVariableError(MetError, KeyError):
    """A variable the run needs is not in the meteorology."""

    reason = FailureReason.MET_VARIABLE_MISSING


class ReceptorOffGridError(MetError, ValueError):
    """The receptor lies outside the meteorology grid."""

    reason = FailureReason.RECEPTOR_OFF_GRID


class ForecastMetError(MetError, ValueError):
    """The engine takes no meteorology from a forecast."""

    reason = FailureReason.FORECAST_MET_REFUSED


class TransportError(StiltError, RuntimeError):
    """The transport engine could not finish."""

    reason = FailureReason.TRANSPORT


class TransportTimeoutError(TransportError, TimeoutError):
    """The run took longer than its ``timeout``."""

    reason = FailureReason.TIMEOUT


class TruncatedRunError(TransportError):
    """A run ended before its particles did."""

    reason = FailureReason.TRUNCATED


class InvalidOutputError(TransportError, ValueError):
    """Particles hold what is no number."""

    reason = FailureReason.INVALID_OUTPUT


class ProgramCrashedError(TransportError):
    """The program stopped with a runtime error of its language."""

    reason = FailureReason.FORTRAN_RUNTIME_ERROR


class ProgramFailedError(TransportError):
    """The program failed without a cause that we know; the message holds its last lines."""

    reason = FailureReason.UNKNOWN


class FootprintError(StiltError, ValueError):
    """Particles that cannot be gridded."""

    reason = FailureReason.FOOTPRINT


class MissingExtraError(StiltError, ImportError):
    """An optional package is needed for what was asked and is not installed."""


class Interrupted(StiltError):  # a fact, not a fault, so no Error in its name
    """The run was asked to stop (SIGINT or SIGTERM)."""

    reason = FailureReason.INTERRUPTED
