"""Results as text for people, or as JSON."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stilt.completion import StatusCounts, Survey, expected_footprints
from stilt.errors import ProjectError
from stilt.ids import SimID
from stilt.service import QueueCounts, Watched
from stilt.storage import Store
from stilt.storage.copies import FOLDER as COPIES_FOLDER
from stilt.storage.failures import FailureRecord, read_failure

if TYPE_CHECKING:
    from stilt.execution.chain_report import ChainReport
    from stilt.execution.detached import JobStatus
    from stilt.execution.estimate import Estimate
    from stilt.execution.handle import JobHandle
    from stilt.execution.met_report import MetReport
    from stilt.execution.problems import Report
    from stilt.execution.rebuilding import RebuildReport
    from stilt.manifest import Restored
    from stilt.meteorology.download import Plan
    from stilt.model import Model
    from stilt.receptors import Receptor
    from stilt.transport.compare import ReceptorComparison

_STATES = ("total", "completed", "running", "pending", "failed")
_MAX_LISTED = 20
_CACHES = {
    "prepared meteorology": "columns",
    "meteorology cut to boxes": "met-crop",
    "meteorology put together": "met-joined",
    "downloaded meteorology": "met-download",
    "copies of remote objects": COPIES_FOLDER,
}


@dataclass
class Summary:
    """
    What ``stilt status`` says.

    Parameters
    ----------
    output_dir : str
        Where outputs live.
    counts : StatusCounts
        All simulations, or those of one scene.
    scenes : dict of StatusCounts, optional
        By scene; empty string for simulations without one.
    differing : list of str
        Rows that would be registered with other footprints or for another meteorology now.
    failures : dict of FailureRecord
        Why the last attempts failed, by simulation.
    queue : QueueCounts, optional
        Rows of the work queue by status; None without one.
    workers : sequence of Watched
        What is being worked on.
    """

    output_dir: str
    counts: StatusCounts
    scene_id: str | None = None
    scenes: Mapping[str | None, StatusCounts] | None = None
    differing: Sequence[str] = ()
    failures: Mapping[str, FailureRecord] | None = None
    footprints: Sequence[str] = ()
    caches: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    stale: str = ""
    queue: QueueCounts | None = None
    workers: Sequence[Watched] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    jobs: Sequence[JobStatus] = ()

    def to_dict(self) -> dict[str, Any]:
        """The summary in words JSON knows."""
        out: dict[str, Any] = {"output_dir": self.output_dir, **self.counts.to_dict()}
        if self.scene_id is not None:
            out["scene_id"] = self.scene_id
        out["footprints"] = list(self.footprints)
        out["differing"] = list(self.differing)
        out["stale"] = self.stale
        out["jobs"] = [job.to_dict() for job in self.jobs]
        out["caches"] = {what: {"path": path, "bytes": used} for what, (path, used) in self.caches.items()}
        if self.queue is not None:
            out["queue"] = asdict(self.queue)
            out["running_now"] = [
                {
                    "sim_id": row.sim_id,
                    "worker": row.worker,
                    "seconds": round(row.seconds or 0.0, 1),
                    "attempt": row.attempts,
                }
                for row in self.workers
            ]
        if self.scenes is not None:
            out["scenes"] = [{"scene_id": scene, **counts.to_dict()} for scene, counts in self.scenes.items()]
        if self.failures is not None:
            out["failures"] = [
                {
                    "sim_id": sim_id,
                    "reason": record.reason,
                    "message": record.message,
                    "time": record.time,
                    "attempt": record.attempt,
                }
                for sim_id, record in self.failures.items()
            ]
        return out


def summarise(
    model: Model, *, scene_id: str | None = None, by_scene: bool = False, failures: bool = False
) -> Summary:
    """
    Look at a project.

    Parameters
    ----------
    model : Model
        The project.
    scene_id : str, optional
        Only this scene.
    by_scene, failures : bool
        Also count by scene, also read the failure records.
    """
    from stilt.execution.rebuilding import heed_queue
    from stilt.outputs import check_settings

    simulations = model.simulations
    if scene_id is not None:
        simulations = simulations.select(scene_id=scene_id)
    table = simulations.table()
    if not len(table):
        model.manifest.must_not_be_lost()
    survey = heed_queue(simulations.survey(table), model.queue)
    if scene_id is not None and not len(survey):
        known = [scene for scene in table.by_scene() if scene is not None]
        listed = ", ".join(known[:10]) or "none"
        raise ProjectError(f"no simulation is registered with scene '{scene_id}'; scenes: {listed}.")
    watched = [] if model.queue is None else model.queue.watched()
    running = [row for row in watched if row.status == "running"]
    fallen = {row.sim_id: row for row in watched if row.status == "failed"}
    jobs, in_jobs = _jobs(model)
    queued = {"running": [*(row.sim_id for row in running), *in_jobs], "failed": list(fallen)}
    scenes = None
    if by_scene:
        scenes = {
            scene: survey.counts(ids, **queued)
            for scene, ids in table.by_scene().items()
            if scene_id is None or scene == scene_id
        }
    footprints = expected_footprints(model.config)
    records = None
    if failures:
        records = _failures(model.store, survey, fallen)
    stale = check_settings(model.store, model.config)
    return Summary(
        output_dir=model.output_dir,
        counts=survey.counts(**queued),
        scene_id=scene_id,
        scenes=scenes,
        differing=table.differing(footprints, model.config.run_mets) if len(table) else [],
        failures=records,
        footprints=footprints,
        caches=_caches(model),
        stale=stale.message if stale else "",
        queue=None if model.queue is None else model.queue.counts(scene_id, settings=_settings(model)),
        workers=[row for row in running if scene_id is None or row.sim_id in survey],
        jobs=jobs,
    )


def _failures(store: Store, survey: Survey, fallen: Mapping[str, Watched]) -> dict[str, FailureRecord]:
    """Why simulations failed: what they left behind, or what the queue knows of those that could not."""
    records = {}
    for sim_id in sorted(survey.failed | (survey.pending & fallen.keys())):
        record = read_failure(store, sim_id)
        if record is None and sim_id in fallen:
            row = fallen[sim_id]
            record = FailureRecord(row.reason, row.message, attempt=row.attempts)
        if record is not None:
            records[sim_id] = record
    return records


def _settings(model: Model) -> str:
    from stilt.outputs import Fingerprint

    return Fingerprint.of(model.config).hash


def as_json(values: Any) -> None:
    """Print JSON."""
    print(json.dumps(values, indent=1, default=str))


def status(summary: Summary, *, failures: bool = False) -> None:
    """Print what ``stilt status`` says."""
    counts(summary.counts)
    if summary.scenes is not None:
        rows = [(scene or "(no scene)", *_numbers(each)) for scene, each in summary.scenes.items()]
        print()
        table(("scene", *_STATES), rows)
    for job in summary.jobs:
        print(f"\n{job.record.backend} job {job.record.name}, since {job.record.submitted}: {job.said}")
    if summary.differing:
        listed = ", ".join(summary.differing[:3])
        print(
            f"\n{len(summary.differing)} simulations were registered for other footprints or "
            f"meteorology than the config has now, such as {listed}; `stilt run` brings footprints up to "
            "date, and meteorology that is gone, or is now a fallback only, has to be put back under mets"
        )
    if summary.stale:
        print(f"\n{summary.stale}")
    if summary.failures is not None:
        print()
        reasons: dict[str, int] = {}
        for record in summary.failures.values():
            reasons[record.reason] = reasons.get(record.reason, 0) + 1
        if reasons:
            table(("reason", "count"), sorted(reasons.items(), key=lambda item: -item[1]))
            print()
        for sim_id, record in summary.failures.items():
            again = f" (attempt {record.attempt})" if record.attempt > 1 else ""
            print(f"{sim_id}  {record.reason}{again}: {record.message}")
        if not summary.failures:
            print("no failures")
    elif summary.counts.failed:
        print("\n--failures lists what failed and why")
    if summary.queue is not None:
        _queue(summary.queue, summary.workers)
    kept = [f"{what}: {size(used)} in {path}" for what, (path, used) in summary.caches.items() if used]
    if kept:
        print("\n" + "\n".join(kept))


def _queue(rows: QueueCounts, workers: Sequence[Watched]) -> None:
    print(
        f"\nwork queue: {rows.pending} pending, {rows.running} running, {rows.done} done, "
        f"{rows.failed} failed"
    )
    if rows.other_settings:
        print(
            f"{rows.other_settings} pending rows were asked for under other settings, so no worker takes "
            "them; stilt run, register or rebuild brings them up to date"
        )
    for row in workers[:_MAX_LISTED]:
        again = f", attempt {row.attempts}" if row.attempts > 1 else ""
        print(f"  {row.sim_id} by {row.worker} for {row.seconds or 0.0:.0f} s{again}")
    if len(workers) > _MAX_LISTED:
        print(f"  and {len(workers) - _MAX_LISTED} more (--json lists them)")


def rebuilt(found: RebuildReport) -> None:
    """Print what became of the queue."""
    print(f"{found.queued} rows became pending, {found.recorded} done")
    if found.unknown:
        what = "removed" if found.pruned else "--prune removes them"
        print(f"{len(found.unknown)} rows are not in the manifest, such as {found.unknown[0]}; {what}")
    _queue(found.counts, ())


def counts(each: StatusCounts) -> None:
    """Print counts by state."""
    table(_STATES, [_numbers(each)])


def restored(done: Restored) -> None:
    """Say what came of putting the manifest together again; nothing where nothing was wrong."""
    for place in done.unreadable:
        print(f"warning: {place} is damaged; register again what it asked for", file=sys.stderr)
    if done.rows:
        kept = f"; the damaged one is kept as {done.kept}" if done.kept else ""
        print(
            f"manifest put together again: {done.rows} simulations of {done.registrations} "
            f"registrations{kept}"
        )


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print columns: text to the left, numbers to the right."""
    cells = [list(header), *([in_one_line(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        parts = [
            cell.ljust(width) if column == 0 and len(header) != len(_STATES) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(parts).rstrip())


def in_one_line(text: str) -> str:
    """Write line breaks and other signs a terminal would act on as escapes; scenes may hold any."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def run_summary(model: Model, handle: JobHandle, where: str) -> StatusCounts:
    """Print how a run ended, recounted from the outputs, and where to look; return the counts."""
    print()
    work_summary(handle)
    counted = model.status()
    counts(counted)
    if counted.failed < len(handle.failed) and _were_complete(model, handle):
        print("some that failed now were complete before; their earlier outputs were kept")
    left = without_met(model)
    if left:
        names = sorted({SimID(sim_id).met for sim_id in left})
        helping = [name for name in names if name in model.config.mets]
        gone = ", ".join(name for name in names if name not in helping)
        print(f"{len(left)} registered simulations were not run:")
        if gone:
            print(
                f"  they belong to meteorology that the config no longer has ({gone}); put it back under "
                "mets to run them"
            )
        if helping:
            print(
                f"  {', '.join(helping)} only serves as a fallback now; give it standalone: true to run them"
            )
    print(f"outputs: {model.output_dir}/simulations/by-id")
    if handle.failed:
        print(f"failures: stilt status {where} --failures; stilt.log beside each has the details")
    if handle.interrupted or handle.stopped_because:
        print(f"to continue: stilt run {where}")
    return counted


def _were_complete(model: Model, handle: JobHandle) -> bool:
    """Whether simulations that failed now are complete, from before; a dead worker leaves no failure."""
    complete = model.simulations.survey().complete
    return any(result.sim_id in complete for result in handle.failed)


def submitted(model: Model, handle: JobHandle, where: str) -> None:
    """Say what goes on without this process, and how to ask about it."""
    print()
    counts(model.status())
    print(f"job {handle.job_id} goes on: stilt status {where}; stilt cancel {where}")


def without_met(model: Model) -> list[str]:
    """Return registered simulations whose meteorology receptors do not run with any more."""
    table = model.manifest.load()
    with_met = set(table.select(mets=model.config.run_mets))
    return [sim_id for sim_id in table.sim_ids if sim_id not in with_met]


def work_summary(handle: JobHandle) -> None:
    """Print what this run did, and why simulations failed."""
    made = sum(result.ok and not result.skipped for result in handle.results)
    there = handle.skipped + sum(result.skipped for result in handle.results)
    said = [f"{made} run"]
    if there:
        said.append(f"{there} complete before")
    if handle.failed:
        said.append(f"{len(handle.failed)} failed")
    if handle.elsewhere:
        said.append(f"{len(handle.elsewhere)} running elsewhere")
    print(f"{'interrupted: ' if handle.interrupted else ''}{', '.join(said)}")
    for reason, count in handle.reasons.items():
        example = next(result for result in handle.failed if result.reason == reason)
        print(f"  {reason} {count}, such as {example.sim_id}: {example.message}")
    if handle.stopped_because:
        is_shown = any(result.message == handle.stopped_because for result in handle.failed)
        why = ", because no other simulation could have been written either"
        print(f"stopped early{why if is_shown else f': {handle.stopped_because}'}")


def report(found: Report) -> None:
    """Print what ``stilt check`` found."""
    print(f"{found.receptors} receptors, {found.simulations} simulations")
    if found.engine:
        print(f"engine {found.engine}")
    for met in found.mets:
        print(
            f"met '{met.name}': {met.files} files, {met.first} to {met.last} UTC every "
            f"{met.interval_minutes} min, model {met.model}, {met.levels} levels, "
            f"particles may be at {met.box}"
        )
    for plan in found.downloads:
        _plan(plan)
    for each in found.coverage:
        _met_report(each)
    for chain in found.chains:
        _chain_report(chain)
    if found.ok:
        print("nothing would stop a run")
        return
    print(f"{len(found.problems)} problem{'s' if len(found.problems) > 1 else ''}:")
    for problem in found.problems[:_MAX_LISTED]:
        print(f"  {problem.kind}: {problem.message}")
    if len(found.problems) > _MAX_LISTED:
        print(f"  and {len(found.problems) - _MAX_LISTED} more (--json lists them)")


def spread_over(receptors: Sequence[Receptor], count: int) -> list[Receptor]:
    """Choose a few receptors, evenly through the list."""
    if not receptors:
        raise ProjectError("there are no receptors to compare on; list them in receptors.csv.")
    count = min(count, len(receptors))
    return [receptors[(k * len(receptors)) // count] for k in range(count)]


def comparison(found: ReceptorComparison) -> None:
    """Print what two engines made of one receptor."""
    print(f"{found.met}, receptor {found.receptor}")
    if found.problem:
        print(f"  not compared: {found.problem}\n")
        return
    if found.paths is not None:
        print("  without turbulence, by hour: distance of the same particles [km], difference in height [m]")
        rows = [
            (hour, int(row.particles), f"{row.mean_km:.3f}", f"{row.largest_km:.3f}", f"{row.largest_m:.2f}")
            for hour, row in found.paths.iterrows()
        ]
        table(("hour", "particles", "mean", "largest", "height"), rows)
    else:
        groups = []
        for group in found.runs[0].groups:
            each = [run.groups[group] for run in found.runs if group in run.groups]
            worst = max(
                (item for item in found.runs[0].statistics if item.group == group),
                key=lambda item: item.ratio,
                default=None,
            )
            example = (
                ""
                if worst is None
                else f"{worst.name}: {worst.candidate:.4g} / {worst.reference:.4g} {worst.unit}"
            )
            mean = (sum(ratio**2 for ratio, _, _ in each) / len(each)) ** 0.5
            groups.append((group, f"{mean:.2f}", f"{each[0][1]:.2f} - {each[0][2]:.2f}", example))
        table(("statistic", "ratio", "by chance", "worst of the first run: native / hysplit"), groups)
        alike = "cannot be told from another seed" if found.is_alike else "DIFFERS from another seed"
        print(f"score {found.score:.2f} (1: like another seed of hysplit): native {alike} of hysplit")
    print(
        f"CPU of one run: native {found.cpu['native']:.2f} s, hysplit {found.cpu['hysplit']:.2f} s; "
        f"per particle and minute native is {found.speed_ratio:.1f} times faster\n"
    )


def comparisons(found: Sequence[ReceptorComparison]) -> None:
    """Print what all comparisons come to."""
    done = [each for each in found if not each.problem]
    if not done:
        return
    scores = [each.score for each in done if each.runs]
    ratios = sorted(each.speed_ratio for each in done)
    said = f"{len(done)} of {len(found)} receptors compared"
    if scores:
        alike = sum(each.is_alike for each in done)
        said += f", {alike} cannot be told from another seed, mean score {sum(scores) / len(scores):.2f}"
    print(f"{said}, native {ratios[0]:.1f} to {ratios[-1]:.1f} times faster")


def _met_report(found: MetReport) -> None:
    """Print what a meteorology means for the receptors."""
    print(f"met '{found.name}' for the receptors:")
    lacking = found.hours_missing > 0
    needed = sorted({int(found.hours_needed.min()), int(found.hours_needed.max())})
    analyses = " to ".join(str(count) for count in needed)
    if lacking.any():
        missing = found.hours_missing[lacking]
        print(
            f"  hours: {analyses} analyses each; {int(lacking.sum())} receptors lack {missing.min()} to "
            f"{missing.max()} of them, such as {found.receptors[int(lacking.argmax())]}"
        )
    else:
        print(f"  hours: {analyses} analyses each, all there")
    nearest = int(found.km_to_edge.argmin())
    if math.isinf(found.km_to_edge[nearest]):
        print("  edge: none, the grid is the globe")
    else:
        print(
            f"  edge: {found.km_to_edge[nearest]:.0f} to {found.km_to_edge.max():.0f} km from where "
            f"particles end; nearest is {found.receptors[nearest]}"
        )
    if not found.error:
        seen = (
            f"deepest mixed layer {found.deepest:.0f} m in {found.looked_at} hours looked at"
            if found.looked_at
            else f"no mixed-layer height in the files, {found.deepest:.0f} m assumed"
        )
        print(
            f"  levels: {seen}; {found.levels_above} levels above it, the highest at about {found.top:.0f} m"
        )
    for note in found.notes:
        print(f"  {note}")
    if not found.error:
        print(
            f"  to read: at most {size(found.bytes)} in {found.analyses} analyses, for all receptors together"
        )


def _chain_report(found: ChainReport) -> None:
    """Print what meteorologies mean together for the receptors."""
    print(f"{' -> '.join(found.mets)}: particles go on where the first ends")
    for number, name in enumerate(found.mets):
        hours, begins = found.hours[number], int((found.begins_in == number).sum())
        print(
            f"  in '{name}': {hours.min():g} to {hours.max():g} hours of each run, "
            f"{begins} receptors begin there"
        )
    missing = found.hours_missing
    if (missing > 0).any():
        print(f"  in none: up to {missing.max():g} hours, such as {found.receptors[int(missing.argmax())]}")


def _plan(found: Plan) -> None:
    """Print what would be downloaded."""
    if not found.error:
        print(
            f"met '{found.name}' from {found.archive}: {len(found.here)} files are here "
            f"({size(found.bytes_here)}), {len(found.to_get)} would be downloaded ({size(found.bytes_to_get)}"
            f"{', of which a cut is kept' if found.cuts else ''}) to {found.folder}"
        )


def cost(found: Estimate | None) -> None:
    """Print what a run will cost."""
    if found is None:
        print("nothing to estimate: every simulation is complete")
        return
    low, high = found.cpu_seconds_range
    workers = f"{found.n_workers} worker{'s' if found.n_workers > 1 else ''}"
    rows = [
        ("simulations", f"{found.simulations}"),
        (
            "processor time of one",
            f"{found.cpu_seconds:.2f} s ({found.sample} sampled: {low:.2f} to {high:.2f})",
        ),
        ("processor time of all", f"{found.cpu_hours:.2f} h"),
        (f"time with {workers}", f"{found.hours:.2f} h, and {found.start_seconds:.0f} s for each to start"),
        ("meteorology to read", f"{size(found.met_bytes)} in {found.met_files} files"),
        ("memory of a worker", size(found.memory_bytes)),
        ("outputs", size(found.output_bytes)),
    ]
    print()
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name.ljust(width)}  {value}")
    if found.failed:
        print(f"{found.failed} of the sampled simulations failed; stilt check says why some would")


def _numbers(each: StatusCounts) -> tuple[int, ...]:
    values = each.to_dict()
    return tuple(values[name] for name in _STATES)


def _jobs(model: Model) -> tuple[Sequence[JobStatus], set[str]]:
    """Return detached jobs that are not over, and the simulations in the hands of their workers."""
    from stilt.execution.jobs import read_records

    if not read_records(model.store, active=True):
        return (), set()
    from stilt.execution.detached import job_statuses, running_ids

    found = job_statuses(model.store)
    return found, running_ids(model.store, found)


def _caches(model: Model) -> dict[str, tuple[str, int]]:
    """Folder and bytes of what is kept to save time, by what it is."""
    root = Path(model.runtime.cache_dir)
    return {what: (str(root / folder), _bytes_below(root / folder)) for what, folder in _CACHES.items()}


def _bytes_below(folder: str | os.PathLike[str]) -> int:
    """Add up the sizes of all files; what vanishes meanwhile counts nothing."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    total += _bytes_below(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def size(count: int) -> str:
    """Write a number of bytes for people."""
    number = float(count)
    for unit in ("B", "kB", "MB"):
        if number < 1000.0:
            return f"{number:.0f} {unit}"
        number /= 1000.0
    return f"{number:.1f} GB"
