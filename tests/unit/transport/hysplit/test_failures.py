"""The real program, driven into every failure: each ends in its reason, none as a result."""

from __future__ import annotations

import dataclasses
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from stilt.config import HysplitConfig
from stilt.errors import FailureReason, Interrupted, StiltError
from stilt.meteorology import synthetic
from stilt.meteorology.catalog import open_series
from stilt.meteorology.projection import HorizontalGrid
from stilt.receptors import MultiPointReceptor, PointReceptor
from stilt.transport.hysplit import engine as engine_module
from stilt.transport.hysplit import staging
from stilt.transport.hysplit.engine import HysplitEngine

pytestmark = pytest.mark.hysplit

OUT = "PARTICLE_STILT.DAT"


def reason_of(run, *arguments, **settings) -> tuple[FailureReason, str]:
    with pytest.raises(StiltError) as caught:
        run(*arguments, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return caught.value.reason, message


@pytest.fixture
def unchecked_met(monkeypatch):
    """Let the program itself find what is wrong with the meteorology, as when files change after our look."""

    def make(paths):
        def anything(request):
            return open_series(paths[0], name="test")

        monkeypatch.setattr(engine_module, "_series", anything)
        monkeypatch.setattr(
            staging,
            "stage_met",
            lambda folder, series: [
                staging.link(path, folder / staging._name(k)) or staging._name(k)
                for k, path in enumerate(paths)
            ],
        )

    return make


def part(world, path, chosen, forecast=None):
    frames = [world.frames[k] for k in chosen]
    if forecast is not None:
        frames = [dataclasses.replace(frame, forecast_hour=forecast) for frame in frames]
    return dataclasses.replace(world, frames=tuple(frames)).write(path)


def test_forecast_hours_still_to_come(run_hysplit, tmp_path):
    """The unregistered program refuses them; forecasts of the past it takes."""
    start = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT00")
    world = synthetic.uniform(hours=4, start=start)
    path = part(world, tmp_path / "forecast.arl", range(5), forecast=6)
    receptor = PointReceptor(str(world.times[3]), *world.center, 50.0)
    reason, message = reason_of(run_hysplit, path, receptor)
    assert reason == "FORECAST_MET_REFUSED"
    assert "engine: native" in message


def test_forecasts_of_the_past_are_taken(run_hysplit, eight_hours, spot, tmp_path):
    path = part(eight_hours, tmp_path / "forecast.arl", range(8), forecast=6)
    assert len(run_hysplit(path, spot).particles) == 1200


def test_meteorology_that_ends_too_soon(run_hysplit, unchecked_met, eight_hours, spot, tmp_path):
    """The program goes on to 'Complete Hysplit' and status 0 without a word on its standard output."""
    path = part(eight_hours, tmp_path / "short.arl", range(3, 8))
    assert reason_of(run_hysplit, path, spot)[0] == "MET_COVERAGE"  # ours, before it starts
    unchecked_met([path])
    reason, message = reason_of(run_hysplit, path, spot)
    assert reason == "MET_COVERAGE"
    assert "no meteo data at current time" in message


def test_meteorology_that_begins_too_late(run_hysplit, unchecked_met, eight_hours, spot, tmp_path):
    path = part(eight_hours, tmp_path / "late.arl", range(6, 9))
    unchecked_met([path])
    assert reason_of(run_hysplit, path, spot)[0] == "MET_COVERAGE"


def test_a_gap_between_files(run_hysplit, unchecked_met, eight_hours, spot, tmp_path):
    paths = [
        part(eight_hours, tmp_path / "a.arl", range(2)),
        part(eight_hours, tmp_path / "b.arl", range(3, 7)),
    ]
    assert reason_of(run_hysplit, paths, spot, n_hours=-4)[0] == "VARYING_MET_INTERVAL"  # ours
    unchecked_met(paths)
    assert reason_of(run_hysplit, paths, spot, n_hours=-4)[0] == "MET_COVERAGE"


def test_a_gap_inside_a_file(run_hysplit, unchecked_met, eight_hours, spot, tmp_path):
    path = part(eight_hours, tmp_path / "gap.arl", (0, 1, 3, 4, 5))
    unchecked_met([path])
    assert reason_of(run_hysplit, path, spot)[0] == "VARYING_MET_INTERVAL"


def test_missing_files(run_hysplit, unchecked_met, eight_hours, spot, tmp_path):
    path = eight_hours.write(tmp_path / "met.arl")
    assert reason_of(run_hysplit, tmp_path / "none.arl", spot)[0] == "MISSING_MET_FILES"
    unchecked_met([path, tmp_path / "gone.arl"])
    reason, message = reason_of(run_hysplit, path, spot)
    assert reason == "MISSING_MET_FILES"
    assert "met_001.arl" in message


def test_records_marked_missing(run_hysplit, eight_hours, spot, tmp_path):
    path = part(eight_hours, tmp_path / "missing.arl", range(8), forecast=-1)
    assert reason_of(run_hysplit, path, spot)[0] == "MET_CORRUPT"


def test_a_receptor_off_the_grid(run_hysplit, eight_hours, tmp_path):
    path = eight_hours.write(tmp_path / "met.arl")
    reason, message = reason_of(run_hysplit, path, PointReceptor("2020-06-01 04:00", 20.0, 40.0, 50.0))
    assert reason == "RECEPTOR_OFF_GRID"
    assert "202006010400_20_40_50" in message


def test_one_point_of_several_off_the_grid(run_hysplit, eight_hours, tmp_path, centre):
    """The program would drop it and call the rest complete."""
    path = eight_hours.write(tmp_path / "met.arl")
    receptor = MultiPointReceptor("2020-06-01 04:00", [centre[0], 20.0], [centre[1], 40.0], [50.0, 50.0])
    assert reason_of(run_hysplit, path, receptor)[0] == "RECEPTOR_OFF_GRID"


def test_a_height_above_the_model_top(run_hysplit, eight_hours, tmp_path, centre):
    path = eight_hours.write(tmp_path / "met.arl")
    receptor = PointReceptor("2020-06-01 04:00", *centre, 12000.0)
    assert reason_of(run_hysplit, path, receptor, z_top=10000.0)[0] == "RECEPTOR_OFF_GRID"


def test_stars_for_numbers(run_hysplit, eight_hours, spot, tmp_path):
    """A surface pressure of 10^7 hPa overflows the printed fields; the program sees nothing wrong."""
    frames = tuple(
        dataclasses.replace(
            frame, surface={**frame.surface, "PRSS": np.full_like(frame.surface["PRSS"], 1e7)}
        )
        for frame in eight_hours.frames
    )
    path = dataclasses.replace(eight_hours, frames=frames).write(tmp_path / "wild.arl")
    reason, message = reason_of(run_hysplit, path, spot)
    assert reason == "INVALID_OUTPUT"
    assert "****" in message
    assert "column pres" in message


def test_a_timeout_of_a_program_that_hangs(run_hysplit, eight_hours, spot, tmp_path):
    """With a surface pressure of zero the program never ends."""
    frames = tuple(
        dataclasses.replace(frame, surface={**frame.surface, "PRSS": np.zeros_like(frame.surface["PRSS"])})
        for frame in eight_hours.frames
    )
    path = dataclasses.replace(eight_hours, frames=frames).write(tmp_path / "empty.arl")
    reason, message = reason_of(run_hysplit, path, spot, timeout=2.0)
    assert reason == "TIMEOUT"
    assert "timeout of 2 s" in message


def test_a_killed_program(run_hysplit, eight_hours, spot, tmp_path):
    """As the kernel does when memory runs out."""
    path = eight_hours.write(tmp_path / "met.arl")
    ours = []

    def kill(line):
        import psutil

        if line.startswith("Percent complete") and not ours:
            (child,) = (c for c in psutil.Process().children() if c.name() == "hycs_std")
            ours.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)

    reason, message = reason_of(run_hysplit, path, spot, n_hours=-4, numpar=500, say=kill)
    assert reason == "TRUNCATED"
    assert "SIGKILL" in message


def test_an_interrupt_is_none_of_these(run_hysplit, eight_hours, spot, tmp_path):
    path = eight_hours.write(tmp_path / "met.arl")
    with pytest.raises(Interrupted):
        run_hysplit(path, spot, numpar=2000, should_stop=lambda: True)


@pytest.mark.parametrize(
    ("script", "reason", "said"),
    [
        (f'"$REAL"; head -n 300 {OUT} > x; mv x {OUT}', "TRUNCATED", "inside the domain"),
        (f'"$REAL"; head -c 9000 {OUT} > x; mv x {OUT}', "TRUNCATED", "ends inside line"),
        ('"$REAL"; rm PARTICLE_STILT.DAT', "TRUNCATED", "no particles"),
        (f'"$REAL"; head -n 1 {OUT} > x; mv x {OUT}', "TRUNCATED", "single particle"),
        (f'"$REAL"; grep -v " 7\\.  *-" {OUT} > x; mv x {OUT}', "TRUNCATED", "only 9 of 10"),
        ('"$REAL"; sed -i "6s/ 5\\.  *-[0-9.]*/ 5.       NaN/" PARTICLE_STILT.DAT', "INVALID_OUTPUT", "NaN"),
        ('"$REAL" | grep -v Complete', "UNKNOWN", "Percent complete: 100.0"),
        ('"$REAL"; exit 7', "UNKNOWN", "status 7"),
        ('echo "something odd"; exit 3', "UNKNOWN", "something odd"),
        ('echo >> SETUP.CFG; sed -i s/numpar/numbar/ SETUP.CFG; "$REAL"', "FORTRAN_RUNTIME_ERROR", "numbar"),
    ],
)  # fmt: skip
def test_what_looks_like_success_is_looked_at(
    run_hysplit, fake_program, eight_hours, spot, tmp_path, script, reason, said
):
    """The real program with one thing gone wrong around it."""
    path = eight_hours.write(tmp_path / "met.arl")
    found, message = reason_of(run_hysplit, path, spot, engine=fake_program(script))
    assert found == reason
    assert said in message


def test_an_unreadable_binary(run_hysplit, eight_hours, spot, tmp_path, hysplit_dir):
    path = eight_hours.write(tmp_path / "met.arl")
    exe = tmp_path / "hycs_std"
    exe.write_bytes(b"\x7fELF and then nothing")
    exe.chmod(0o755)
    broken = HysplitEngine(HysplitConfig(exe=exe, data_dir=hysplit_dir))
    assert reason_of(run_hysplit, path, spot, engine=broken)[0] == "PROGRAM_MISSING"


def test_leaving_the_domain_is_no_failure(run_hysplit, tmp_path):
    """Particles that reach an edge end there, and are counted there."""
    grid = HorizontalGrid.lambert(40.0, -100.0, 3.0, 40, 40, center_lat=40.0, center_lon=-100.0)
    world = synthetic.uniform(u=0.0, v=20.0, grid=grid, hours=6)
    path = world.write(tmp_path / "small.arl")
    result = run_hysplit(path, PointReceptor("2020-06-01 05:00", *world.center, 200.0), n_hours=-4)
    assert result.exits == {"end of run": 0, "west": 0, "east": 0, "south": 10, "north": 0, "top": 0}


def test_leaving_before_the_first_row_is_no_failure(run_hysplit, tmp_path):
    """Rows every hour: one of two points lies so near the edge that its particles are never printed."""
    grid = HorizontalGrid.lambert(40.0, -100.0, 3.0, 60, 60, center_lat=40.0, center_lon=-100.0)
    world = synthetic.uniform(u=0.0, v=10.0, grid=grid, hours=3)
    path = world.write(tmp_path / "small.arl")
    lon, lat = grid.to_lonlat([30.0, 30.0], [50.0, 5.0])
    receptor = MultiPointReceptor("2020-06-01 02:00", lon, lat, [200.0, 200.0])
    result = run_hysplit(path, receptor, n_hours=-1, numpar=8, outdt=60)
    assert result.exits == {"end of run": 4, "west": 0, "east": 0, "south": 4, "north": 0, "top": 0}
    assert set(result.particles["indx"]) == {1, 2, 3, 4}


def test_reading_is_from_a_folder_of_its_own(run_hysplit, eight_hours, spot, tmp_path):
    """The caller's folder stays as it was."""
    path = eight_hours.write(tmp_path / "met.arl")
    before = set(Path.cwd().iterdir())
    run_hysplit(path, spot)
    assert set(Path.cwd().iterdir()) == before


@pytest.mark.parametrize("cell", [3.0, 250.0])
def test_levels_above_one_spot_are_points_and_no_line(run_hysplit, tmp_path, cell):
    """The program takes points within a ten thousandth of a cell for the ends of a vertical line."""
    grid = HorizontalGrid.lambert(40.0, -100.0, cell, 60, 60, center_lat=40.0, center_lon=-100.0)
    world = synthetic.uniform(grid=grid, hours=3)
    path = world.write(tmp_path / "met.arl")
    lon, lat = world.center
    heights = [50.0, 500.0, 1500.0, 3000.0]
    receptor = MultiPointReceptor("2020-06-01 02:00", [lon] * 4, [lat, lat, lat + 2e-6, lat], heights)
    result = run_hysplit(path, receptor, n_hours=-1, numpar=8)
    first = result.particles[result.particles["time"] == -1]
    assert first["xhgt"].tolist() == np.repeat(heights, 2).tolist()
    np.testing.assert_allclose(first["zagl"], first["xhgt"], atol=25.0)
    np.testing.assert_allclose(first["lati"], first["lati"].iloc[0], atol=0.002 * cell / 111.0)
    assert "points above one spot set apart by up to" in result.log
