"""What a run would do: which simulations are left, where they would go. Looking changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stilt.completion import Survey, expected_artifacts, expected_footprints, survey
from stilt.config import LocalExecution
from stilt.errors import ConfigError, StaleOutputsError
from stilt.execution.tasks import TaskList, in_running_order
from stilt.manifest import Manifest
from stilt.outputs import check_settings
from stilt.storage import MemoryStore

if TYPE_CHECKING:
    from stilt.config import ModelConfig
    from stilt.receptors import Receptor
    from stilt.storage import Store


def execution_of(executor: Any, config: ModelConfig) -> Any:
    """
    Return the execution section that was asked for.

    Parameters
    ----------
    executor : optional
        A section, a mapping like one, the name of a backend, a number of local workers; None as configured.
    config : ModelConfig
        The settings; keys of its section hold where the same backend is named.

    Raises
    ------
    ConfigError
        It is none of these.
    """
    if executor is None:
        return config.execution
    if isinstance(executor, bool):
        raise ConfigError(
            f"executor {executor!r} is no backend; give a name, a number of workers or a section."
        )
    if isinstance(executor, int):
        return LocalExecution(n_workers=executor)
    if isinstance(executor, str):
        executor = {"backend": executor}
    if isinstance(executor, Mapping):
        if executor.get("backend", "local") == config.execution.backend:
            executor = {**config.execution.model_dump(exclude_unset=True), **executor}
        return config.replace(execution=dict(executor)).execution
    return executor


def bring_up_to_date(manifest: Manifest, config: ModelConfig) -> list[str]:
    """Give rows that differ the configured footprints; return the simulations that can run."""
    table = manifest.load()
    footprints = expected_footprints(config)
    runnable = table.select(mets=config.run_mets)
    known = set(runnable)
    behind = [sim_id for sim_id in table.differing(footprints, config.run_mets) if sim_id in known]
    if behind:
        manifest.register(replace(row, footprints=footprints) for row in table.rows(behind))
    return runnable


def survey_of(store: Store, manifest: Manifest, config: ModelConfig, sim_ids: Iterable[str]) -> Survey:
    """
    Find the state of registered simulations from their outputs.

    Parameters
    ----------
    store : Store
        The output root.
    manifest : Manifest
        What each of them is asked for.
    config : ModelConfig
        The settings.
    sim_ids : iterable of str
        Which ones.
    """
    is_error = config.transport_params().is_error
    groups = manifest.load().by_footprints(sim_ids)
    return survey(
        store, {expected_artifacts(names, error_trajectory=is_error): ids for names, ids in groups.items()}
    )


def tasks_left(
    store: Store, manifest: Manifest, config: ModelConfig, receptors: list[Receptor], *, skip_existing: bool
) -> TaskList:
    """
    Return the tasks a run would have now, without registering anything.

    Parameters
    ----------
    store : Store
        The output root.
    manifest : Manifest
        What was registered before.
    config : ModelConfig
        The settings.
    receptors : list of Receptor
        What a run would register first.
    skip_existing : bool
        Leave out complete simulations.

    Raises
    ------
    StaleOutputsError
        Outputs were made with other settings.
    """
    stale = check_settings(store, config)
    if stale:
        raise StaleOutputsError(stale.message)
    # the manifest as it would be, kept in memory
    shadow = MemoryStore()
    manifest.copy_to(shadow)
    planned = Manifest(shadow)
    if receptors:
        planned.register_receptors(
            receptors, config.run_mets, scene=None, footprints=expected_footprints(config)
        )
    wanted = bring_up_to_date(planned, config)
    if skip_existing:
        complete = survey_of(store, planned, config, wanted).complete
        wanted = [sim_id for sim_id in wanted if sim_id not in complete]
    is_error = config.transport_params().is_error
    return TaskList(planned.load(), in_running_order(wanted), error_trajectory=is_error)
