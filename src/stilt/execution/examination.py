"""
Everything that would stop a run or some of its simulations, for ``stilt check``.

A receptor outside the meteorology stops only itself; `examine` reports it and goes on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stilt.errors import StiltError, StoreError
from stilt.execution.met_examination import examine_chain, examine_met
from stilt.execution.preflight import check_engine, check_would_write, describe_engine
from stilt.execution.problems import Problem, Report, about
from stilt.execution.registry import get_backend
from stilt.execution.worker import WorkContext
from stilt.outputs import check_settings
from stilt.receptors import Receptor
from stilt.storage import Store

if TYPE_CHECKING:
    from stilt.config import ModelConfig


def examine(config: ModelConfig, receptors: Sequence[Receptor], store: Store) -> Report:
    """
    Look for everything that would stop a run or some of its simulations. Nothing is changed.

    Parameters
    ----------
    config : ModelConfig
        The settings, with absolute folders.
    receptors : sequence of Receptor
        Where and when.
    store : Store
        The output root.

    Returns
    -------
    Report
        What is there and what is wrong.
    """
    report = Report(len(receptors), len(receptors) * len(config.run_mets))
    with contextlib.suppress(StiltError):  # check_engine reports what is wrong
        report.engine = describe_engine(config)
    if not receptors:
        report.problems.append(Problem("no_receptors", "there are no receptors; list them in receptors.csv."))
    for kind, check in (
        ("execution", lambda: get_backend(config.execution, WorkContext(store, config)).check()),
        ("setting", lambda: check_engine(config)),
        ("receptor_setting", lambda: _check_releases(config, receptors)),
    ):
        _note(report, kind, check)
    for name in config.run_mets:
        chain = config.met_chain(name)
        if len(chain) > 1:
            examine_chain(report, chain, config, receptors)
        else:
            examine_met(report, name, chain[0][1], config, receptors)
    _examine_grids(report, config, receptors)
    try:
        stale = check_settings(store, config)
        if stale:
            report.problems.append(Problem("stale_outputs", stale.message))
    except StiltError as error:
        report.problems.append(Problem("outputs", str(error)))
    try:
        check_would_write(store)
    except StoreError as error:
        report.problems.append(Problem("output_dir", str(error)))
    # one met may help several
    report.problems = list(dict.fromkeys(report.problems))
    return report


def _note(report: Report, kind: str, check: Any) -> None:
    try:
        check()
    except StiltError as error:
        report.problems.append(Problem(kind, str(error)))


def _check_releases(config: ModelConfig, receptors: Sequence[Receptor]) -> None:
    """Raise for the first receptor that the settings or the engine cannot release."""
    from stilt.transport.protocol import ReceptorEngine
    from stilt.transport.registry import get_engine

    params = config.transport_params()
    for reference in {receptor.altitude_ref for receptor in receptors}:
        params.kmsl_for(reference)
    points = max(
        receptors, key=lambda receptor: len(receptor) if receptor.kind == "multipoint" else 1, default=None
    )
    if points is not None:
        points.release_points(params.numpar)
    engine = get_engine(config.engine, config.engine_section)
    if isinstance(engine, ReceptorEngine):
        for receptor in receptors:
            engine.check_receptor(receptor, params)


def _examine_grids(report: Report, config: ModelConfig, receptors: Sequence[Receptor]) -> None:
    for name in config.footprints:
        grid = config.footprint_grid(name)
        outside = [
            receptor
            for receptor in receptors
            if not any(
                grid.contains(lon, lat)
                for lon, lat in zip(receptor.longitudes, receptor.latitudes, strict=True)
            )
        ]
        if outside:
            message = (
                f"{len(outside)} of {len(receptors)} receptors lie outside the grid of footprint '{name}' "
                f"({grid.xmin:g} to {grid.xmax:g} E, {grid.ymin:g} to {grid.ymax:g} N), "
                f"such as {outside[0].id}; their footprints would lack what lies near them."
            )
            report.problems.append(about("receptor_outside_footprint_grid", message, outside))
