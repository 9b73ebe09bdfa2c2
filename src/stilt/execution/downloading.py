"""Downloading what receptors need before a run, so that the run needs no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stilt.errors import ProjectError
from stilt.meteorology.archive import merged, wanted_files
from stilt.meteorology.download import Arrival, forget_failures, get_all
from stilt.receptors import Receptor

if TYPE_CHECKING:
    from stilt.config import ModelConfig


def download_met(
    config: ModelConfig,
    receptors: Sequence[Receptor],
    *,
    verify: bool = False,
    told: Callable[[Arrival], object] = lambda arrival: None,
) -> dict[str, list[Arrival]]:
    """
    Have everything here that runs of these receptors need of archives.

    Parameters
    ----------
    config : ModelConfig
        The settings, with absolute folders.
    receptors : sequence of Receptor
        Where and when.
    verify : bool
        Also compare files that are here with their checksums.
    told : callable
        Called with each file as it is done.

    Returns
    -------
    dict of str to list of Arrival
        What became of each file, by meteorology.

    Raises
    ------
    ProjectError
        When no meteorology comes from an archive, or there are no receptors.
    MetCoverageError, MissingExtraError
    """
    mets = {name: met for name, met in config.every_met.items() if met.is_download}
    if not mets:
        raise ProjectError(
            f"no meteorology of this project is downloaded ({', '.join(config.mets)}); give one a source."
        )
    if not receptors:
        raise ProjectError("there are no receptors to download for; list them in receptors.csv.")
    forget_failures()
    starts = np.array(sorted({receptor.time for receptor in receptors}), dtype="datetime64[s]")
    spans = merged(zip(starts, starts + np.timedelta64(config.n_hours, "h"), strict=True))
    done = {}
    for name, met in mets.items():
        files = {wanted.path: wanted for span in spans for wanted in wanted_files(met, name, *span)}
        done[name] = get_all(met, name, list(files.values()), verify=verify, told=told)
    return done
