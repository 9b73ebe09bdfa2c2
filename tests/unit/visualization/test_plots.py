"""Plots drawn from a handful of particles, and what is on them."""

from __future__ import annotations

import builtins
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib")

from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.text import Text

from stilt.accessors import PLOTS, plots_of
from stilt.errors import ConfigError, FootprintError, MissingExtraError, MissingObjectError
from stilt.footprint import Footprint
from stilt.footprint.arrays import data_array
from stilt.footprint.axes import GridAxes
from stilt.footprint.empties import EmptyReason
from stilt.receptors import ColumnReceptor, MultiPointReceptor, PointReceptor
from stilt.spatial import Grid
from stilt.trajectory import Trajectories
from stilt.visualization import style
from stilt.visualization.cells import share_level

WHEN = datetime(2024, 7, 11, 21)
HOURS = 6
CITY = Grid(xmin=-3, xmax=3, ymin=49, ymax=53, xres=0.1, yres=0.1)


def plume(grid=CITY, lon=0.5, lat=51.0, width=0.3, name="default"):
    """A puff that drifts west and grows; coordinates and width in units of the grid's projection."""
    axes = GridAxes.of(grid)
    receptor = PointReceptor(WHEN, (lon + 180.0) % 360.0 - 180.0, lat, 10)
    x0, y0 = (float(np.ravel(each)[0]) for each in axes.project(np.array([lon]), np.array([lat])))
    x, y = np.meshgrid(axes.x_centers(), axes.y_centers())
    layers = []
    for k in range(HOURS):
        away = x - (x0 - k * width)
        if grid.is_global:
            away = (away + 180.0) % 360.0 - 180.0
        size = width * (0.4 + 0.3 * k)
        layer = 0.01 * np.exp(-0.5 * (away**2 + (y - y0) ** 2) / size**2) * (width / size) ** 2
        layers.append(np.where(layer < 1e-8, 0.0, layer))
    times = np.datetime64(WHEN, "ns") - np.arange(HOURS, 0, -1) * np.timedelta64(3600, "s")
    return Footprint(
        data=data_array(np.array(layers[::-1]), times, axes),
        grid=grid,
        receptor=receptor,
        name=name,
        time_range=(WHEN - timedelta(hours=HOURS), WHEN),
    )


def walk(receptor=None, n=30, steps=120, drop=()):
    """Particles that drift and rise, backward in time."""
    random = np.random.default_rng(3)
    receptor = receptor or PointReceptor(WHEN, 0.5, 51.0, 10)
    minutes = -np.arange(1, steps + 1, dtype=float)
    time, indx = (each.ravel() for each in np.meshgrid(minutes, np.arange(1, n + 1), indexing="ij"))
    frame = pd.DataFrame(
        {
            "time": time,
            "indx": indx,
            "long": receptor.longitudes[0] + 0.01 * time + 0.02 * random.normal(size=time.size),
            "lati": receptor.latitudes[0] + 0.02 * random.normal(size=time.size),
            "zagl": np.abs(10.0 - 5.0 * time + 40.0 * random.normal(size=time.size)),
            "foot": np.full(time.size, 1e-3),
            "mlht": 900.0 + 2.0 * time,
        }
    ).drop(columns=list(drop))
    return Trajectories.from_particles(frame, receptor)


def with_gid(ax, gid):
    return [artist for artist in ax.get_children() if artist.get_gid() == gid]


def mesh_of(ax):
    return next(c for c in ax.collections if type(c).__name__ == "QuadMesh")


def texts(figure):
    return " | ".join(text.get_text() for text in figure.findobj(Text))


def pixels(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


# --- footprints -------------------------------------------------------------------------------------


def test_footprint_map_is_logarithmic_with_units_and_outlines():
    """Norm, label, title with hours, one line for each share, a star, coasts."""
    footprint = plume()
    ax = footprint.plot.map()
    assert isinstance(ax, Axes)
    norm = mesh_of(ax).norm
    assert isinstance(norm, LogNorm)
    assert norm.vmax >= footprint.integrate_over_time().max()
    words = texts(ax.figure)
    assert "ppm / (µmol m$^{-2}$ s$^{-1}$)" in words
    assert "2024-07-11 15:00–21:00 UTC" in words
    assert "10 m AGL" in words
    assert all(len(with_gid(ax, f"stilt-outline-{share}")) == 1 for share in (50, 90))
    assert "50 % of the sensitivity" in words
    assert len(with_gid(ax, "stilt-receptor")) == 1
    assert with_gid(ax, "stilt-coast")
    assert pixels(ax.figure).std() > 10


def test_the_colour_scale_holds_nearly_all_of_the_sum():
    """Cells with a colour hold 99 % of it, and the others are blank."""
    footprint = plume()
    values = footprint.integrate_over_time().values
    drawn = mesh_of(footprint.plot.map(full=True))
    coloured = ~np.ma.getmaskarray(drawn.get_array()).ravel()
    assert coloured.size == values.size
    assert 0.99 <= values.ravel()[coloured].sum() / values.sum() < 1.0


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_share_level_encloses_the_smallest_area(share):
    """The cells at or above hold the share, and without the last of them they do not."""
    values = np.random.default_rng(1).lognormal(size=(40, 50))
    level = share_level(values, share)
    assert values[values >= level].sum() >= share * values.sum() * (1 - 1e-9)
    assert values[values > level].sum() < share * values.sum()
    assert share_level(np.zeros((3, 3)), share) == np.inf


def test_the_map_is_cropped_to_the_footprint_unless_full():
    """And stays within the grid."""
    footprint = plume(lon=2.0, width=0.1)
    x0, x1 = footprint.plot.map().get_xlim()
    assert footprint.plot.map(full=True).get_xlim() == (-3.0, 3.0)
    assert -3.0 < x0 < 2.0 < x1 <= 3.0


def test_outlines_run_around_the_plume_not_around_single_particles():
    """A field of isolated cells is averaged before it is outlined."""
    footprint = plume()
    speckled = footprint.data * (np.random.default_rng(2).random(footprint.data.shape[1:]) > 0.7)
    ax = replace(footprint, data=speckled).plot.map()
    pieces = [
        len(path.to_polygons(closed_only=False))
        for share in (50, 90)
        for line in with_gid(ax, f"stilt-outline-{share}")
        for path in line.get_paths()
    ]
    assert max(pieces) <= 10


def test_a_grid_across_the_date_line_has_one_piece_and_its_coasts():
    """Ticks count on beyond 180 in words of east and west; Fiji is there."""
    ax = plume(
        Grid(xmin=165, xmax=-165, ymin=-30, ymax=0, xres=0.25, yres=0.25), 182.0, -17.5, 1.0
    ).plot.map()
    x0, x1 = ax.get_xlim()
    assert 165.0 <= x0 < 178.0
    assert 180.0 < x1 <= 195.0
    star = with_gid(ax, "stilt-receptor")[0].get_offsets()
    assert star[0, 0] == pytest.approx(182.0)
    lines = np.concatenate(with_gid(ax, "stilt-coast")[0].get_segments())
    assert ((lines[:, 0] > x0) & (lines[:, 0] < x1)).any()
    pixels(ax.figure)
    labels = [tick.get_text() for tick in ax.get_xticklabels()]
    assert any(label.endswith("° E") for label in labels)


def test_a_global_footprint_is_turned_so_that_the_seam_does_not_cut_it():
    """The sum stays, and the map is narrower than the globe."""
    footprint = plume(Grid(xmin=-180, xmax=180, ymin=-90, ymax=90, xres=2, yres=2), -179.0, 50.0, 5.0)
    ax = footprint.plot.map()
    x0, x1 = ax.get_xlim()
    assert x1 - x0 < 180.0
    assert float(np.ma.sum(mesh_of(ax).get_array())) > 0.98 * float(footprint.data.sum())
    assert footprint.plot.map(full=True).get_xlim() == (-180.0, 180.0)


def test_a_projected_grid_has_axes_in_kilometres_and_projected_coasts():
    """20 km cells of EPSG:3035."""
    grid = Grid(xmin=-5, xmax=20, ymin=40, ymax=58, xres=20_000, yres=20_000, projection="EPSG:3035")
    ax = plume(grid, 5.0, 50.0, 60_000.0).plot.map(full=True)
    assert "[km]" in ax.get_xlabel()
    assert 2500 < ax.get_xlim()[0] < ax.get_xlim()[1] < 6000
    assert ax.get_aspect() == 1.0
    lines = np.concatenate(with_gid(ax, "stilt-coast")[0].get_segments())
    assert ((lines[:, 0] > ax.get_xlim()[0]) & (lines[:, 0] < ax.get_xlim()[1])).mean() > 0.9
    assert with_gid(ax, "stilt-graticule")
    assert pixels(ax.figure).std() > 10


def test_axes_of_the_user_are_used_and_nothing_of_the_user_changes():
    """Also the settings of matplotlib."""
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figure = Figure()
    axes = figure.subplots(1, 2)
    assert plume().plot.map(ax=axes[1], colorbar=False, outlines=()) is axes[1]
    assert not axes[0].collections
    assert dict(mpl.rcParams) == before


def test_no_figure_is_registered_and_a_notebook_sees_a_picture():
    """Without pyplot, even where matplotlib is."""
    ax = plume().plot.map()
    assert ax._repr_png_().startswith(b"\x89PNG")
    code = (
        "import sys; from stilt.receptors import PointReceptor; "
        "PointReceptor('2024-07-11 21:00', 0.5, 51.0, 10).plot.map(); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_plots_are_the_same_from_several_threads():
    """Nothing is shared."""
    footprint = plume()
    with ThreadPoolExecutor(3) as pool:
        pictures = list(pool.map(lambda _: pixels(footprint.plot.map().figure), range(3)))
    assert all((picture == pictures[0]).all() for picture in pictures)


def test_an_empty_footprint_says_why():
    """And still shows where."""
    footprint = plume()
    empty = replace(
        footprint,
        data=footprint.data[:0],
        time_range=None,
        empty_reason=EmptyReason.ABOVE_PBL,
        empty_message="the plume stayed above the mixed layer",
    )
    for figure in (empty.plot.map().figure, empty.plot.facet()):
        assert "stayed above" in texts(figure).replace("\n", " ")
        pixels(figure)


def test_chosen_hours_are_summed_and_named():
    """The title says which."""
    ax = plume().plot.map(start="2024-07-11T19:00")
    assert "2024-07-11 19:00–21:00 UTC" in texts(ax.figure)


def test_a_scale_that_is_not_logarithmic_is_refused():
    """With what to do."""
    with pytest.raises(FootprintError, match="0 < vmin < vmax"):
        plume().plot.map(vmin=0.0)


def maps_in(figure):
    return [ax for ax in figure.axes if with_gid(ax, "stilt-receptor")]


@pytest.mark.parametrize(("hours", "n"), [(None, 6), (2, 3), ([0, 1, 3, 6], 3), ([0, 3], 1)])
def test_facets_share_one_scale(hours, n):
    """One map for each group, the nearest to the receptor time first, one colour bar."""
    figure = plume().plot.facet(hours)
    assert isinstance(figure, Figure)
    maps = maps_in(figure)
    assert len(maps) == n
    assert len({(mesh_of(ax).norm.vmin, mesh_of(ax).norm.vmax) for ax in maps}) == 1
    assert maps[0].get_title(loc="left").startswith("0–")
    assert "h before" in maps[0].get_title(loc="left")
    assert len(figure.axes) == n + 1
    assert "ppm / (" in texts(figure)
    pixels(figure)


def test_facets_hold_all_of_the_sum():
    """Shares in the titles add up."""
    titles = [ax.get_title(loc="left") for ax in maps_in(plume().plot.facet(2))]
    assert sum(int(title.split("·")[1].strip(" %")) for title in titles) == pytest.approx(100, abs=2)


@pytest.mark.parametrize("hours", [0, [3, 1], [5], [10, 20]])
def test_groups_that_cannot_be_are_refused(hours):
    """Instead of an empty figure."""
    with pytest.raises(FootprintError):
        plume().plot.facet(hours)


# --- trajectories -----------------------------------------------------------------------------------


def test_trajectory_map_colours_a_subsample_by_time():
    """Every call draws the same points; the star is where the receptor is."""
    trajectories = walk()
    ax = trajectories.plot.map(max_points=500)
    points = with_gid(ax, "stilt-particles")[0]
    assert 400 <= len(points.get_offsets()) <= 500
    assert 0.0 < points.get_array().max() <= 2.0
    again = with_gid(trajectories.plot.map(max_points=500), "stilt-particles")[0]
    assert (points.get_offsets() == again.get_offsets()).all()
    assert "Hours before the receptor time" in texts(ax.figure)
    assert "Trajectories of 30 particles" in texts(ax.figure)
    assert with_gid(ax, "stilt-mean-path")
    assert pixels(ax.figure).std() > 5


def test_trajectories_across_the_date_line_stay_together():
    """Longitudes are counted around the receptor."""
    ax = walk(PointReceptor(WHEN, -179.8, -17.0, 10)).plot.map()
    x0, x1 = ax.get_xlim()
    assert x1 - x0 < 10.0


def test_trajectory_map_in_a_projection():
    """Kilometres, near the pole."""
    ax = walk(PointReceptor(WHEN, 10.0, 85.0, 10)).plot.map(projection="+proj=stere +lat_0=90")
    assert "[km]" in ax.get_xlabel()
    with pytest.raises(ConfigError, match="PROJ"):
        walk().plot.map(projection="+proj=nonsense")


def test_section_shows_heights_and_the_mixed_layer():
    """Bands, lines and units."""
    ax = walk().plot.section()
    words = texts(ax.figure)
    assert "Height above ground [m]" in words
    assert "mixed-layer height" in words
    assert "Hours from 2024-07-11 21:00 UTC" in words
    assert ax.get_xlim()[1] == 0.0
    assert ax.get_ylim()[0] == 0.0
    assert pixels(ax.figure).std() > 5


def test_section_needs_heights_and_does_without_the_mixed_layer():
    """An absent column is an error only where it is used, and is named."""
    assert "mixed-layer" not in texts(walk(drop=["mlht"]).plot.section().figure)
    with pytest.raises(FootprintError, match="zagl"):
        walk(drop=["zagl"]).plot.section()


def test_section_of_a_column_draws_the_column():
    """From bottom to top at time zero."""
    ax = walk(ColumnReceptor(WHEN, 0.5, 51.0, 0, 500)).plot.section()
    assert any(list(line.get_ydata()) == [0, 500] for line in ax.lines)


# --- receptors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "receptor",
    [
        PointReceptor(WHEN, -111.85, 40.77, 5.0),
        ColumnReceptor(WHEN, 4.9, 52.3, 0, 2000),
        MultiPointReceptor(WHEN, [4.8, 5.0, 5.3], [52.0, 52.2, 52.3], [50, 500, 2500]),
        PointReceptor(WHEN, 179.9, -89.0, 5.0, altitude_ref="msl"),
    ],
)
def test_receptor_map_marks_the_place(receptor):
    """In the middle of a map with coasts, heights in the title."""
    ax = receptor.plot.map(width=3000)
    x0, x1 = ax.get_xlim()
    star = with_gid(ax, "stilt-receptor")[0].get_offsets()
    assert len(star) == (len(receptor) if receptor.kind == "multipoint" else 1)
    assert x0 < star[0, 0] < x1
    assert f"m {receptor.altitude_ref.upper()}" in texts(ax.figure)
    pixels(ax.figure)


# --- projects ---------------------------------------------------------------------------------------


class FakeSimulations:
    """Ids by state, as a survey gives them."""

    def __init__(self, complete, failed, pending):
        self.groups = SimpleNamespace(
            complete=frozenset(complete), failed=frozenset(failed), pending=frozenset(pending)
        )

    def survey(self):
        return self.groups


def ids(met, days, place="-111.85_40.77_5"):
    return [f"{met}_202407{day:02d}1200_{place}" for day in days]


def availability(*groups, **options):
    return plots_of("model", SimpleNamespace(simulations=FakeSimulations(*groups))).availability(**options)


def test_availability_divides_cells_by_state():
    """One row for each meteorology; counts in words."""
    ax = availability(ids("hrrr", range(1, 8)), ids("hrrr", [8]), ids("gfs", range(1, 9)))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["gfs", "hrrr"]
    boxes = {
        state: len(with_gid(ax, f"stilt-{state}")[0].get_paths())
        for state in ("complete", "failed", "pending")
    }
    assert boxes == {"complete": 7, "failed": 1, "pending": 8}
    words = texts(ax.figure)
    assert "7 of 16 simulations complete" in words
    assert "failed (1)" in words
    assert "0 / 8" in words
    pixels(ax.figure)


def test_availability_by_location():
    """One row for each place."""
    ax = availability(ids("hrrr", [1]) + ids("hrrr", [1], "5_52_10"), [], [], by="location")
    assert len(ax.get_yticklabels()) == 2
    with pytest.raises(ConfigError, match="'met' or 'location'"):
        availability([], [], [], by="colour")


def test_availability_of_nothing():
    """A new project has no simulations."""
    ax = availability([], [], [])
    assert "No simulations" in texts(ax.figure)
    pixels(ax.figure)


def test_simulation_draws_what_it_has():
    """The footprint, else the particles, else an error that says so."""

    def simulation(footprint, trajectories):
        names = ("default",)
        return SimpleNamespace(
            id="x", status="pending", footprint_names=names, trajectories=trajectories,
            get_footprint=lambda name: footprint,
        )  # fmt: skip

    both = plots_of("simulation", simulation(plume(), walk()))
    assert "Footprint" in texts(both.map().figure)
    assert len(maps_in(both.facet(3))) == 2
    assert "Height" in texts(both.section().figure)
    assert "Trajectories" in texts(plots_of("simulation", simulation(None, walk())).map().figure)
    with pytest.raises(MissingObjectError, match="no trajectories to draw"):
        plots_of("simulation", simulation(None, None)).map()
    with pytest.raises(MissingObjectError, match="footprint 'default'"):
        plots_of("simulation", simulation(None, walk())).map(footprint="default")


# --- accessors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(PLOTS))
def test_every_kind_of_object_has_a_plotting_class(kind):
    """Names are strings, so they are looked up here."""
    assert type(plots_of(kind, object())).__name__ == PLOTS[kind].split(":")[1]


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    """Everything else of the object works."""
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError("no matplotlib")
        return real(name, *args, **kwargs)

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(builtins, "__import__", refuse)
    receptor = PointReceptor(WHEN, 0.5, 51.0, 10)
    assert receptor.longitude == 0.5
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[plot\]'"):
        receptor.plot.map()


def test_words_for_places():
    """As a map has them."""
    assert (
        style.where(MultiPointReceptor(WHEN, [4.8, 5.0], [52.0, 52.2], [50, 500])) == "2 points, 50–500 m AGL"
    )
    assert style.where(PointReceptor(WHEN, -111.5, 41.0, 10)) == "41° N, 111.5° W, 10 m AGL"
    assert style.hours_between(WHEN, WHEN + timedelta(hours=12)) == "2024-07-11 21:00 to 07-12 09:00 UTC"
