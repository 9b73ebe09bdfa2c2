"""
What columns are made of, found once per meteorology: which variables a file has and how they are read.

Meteorology files differ in what they carry. One :class:`ColumnSource` holds the
choices made for a series (which moisture, which vertical motion, where stability
comes from) and turns a decoded frame into the arrays the column kernel takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stilt.config import TransportParams
from stilt.errors import MetFormatError, MetVariableError
from stilt.kernels import columns, stability, vertical
from stilt.kernels.columns import Recipe
from stilt.kernels.layout import Levels
from stilt.meteorology.frame import Box, MetFrame
from stilt.meteorology.series import MetSeries
from stilt.transport.native.levels import internal_levels
from stilt.transport.native.program_grid import program_spacing
from stilt.transport.native.roughness import roughness_at

_PBL_PREFIXES = ("PBL", "HPB", "MXH")
_NO_VERTICAL_MOTION = 4
"""``w_option``: no motion through the terrain-following levels."""
_SURFACE_WIND_AND_TEMPERATURE = ("T02M", "U10M", "V10M")
SMALLEST_ROUGHNESS = np.float32(1.0e-4)
"""Roughness length of lakes that the file gives none, as in the program [m]."""
_HEAT_NEGATED_MODELS = (" ETA", "EDAS")
"""Models whose files count SHTF positive downward."""


@dataclass(frozen=True)
class ColumnSource:
    """
    How the columns of one series are made.

    Attributes
    ----------
    series : MetSeries
        The meteorology.
    levels : Levels
        Internal levels.
    recipe : Recipe
        What the kernel needs to know (``ziscale`` is set per time).
    surface_names, upper_names : tuple of str
        Variables to decode, in file names.
    heights : ndarray of float32, shape (n_data,)
        Header heights of the upper levels.
    """

    series: MetSeries
    levels: Levels
    recipe: Recipe
    surface_names: tuple[str, ...]
    upper_names: tuple[str, ...]
    heights: np.ndarray
    surface_rows: tuple[tuple[int, str], ...]
    upper_rows: tuple[tuple[int, str], ...]
    heat_sign: float

    def arrays(self, frame: MetFrame) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray, np.ndarray]:
        """
        Arrange a decoded frame as the column kernel takes it.

        Parameters
        ----------
        frame : MetFrame
            One time over one box.

        Returns
        -------
        upper : tuple of 8 ndarray of float32, shape (n_data, ny, nx)
            Fields of the frame, not copied; of size 0 where the recipe has none.
        surface : ndarray of float32, shape (16, ny, nx)
        gx, gy : ndarray of float32, shape (ny, nx)
            Grid spacing [m].
        """
        ny, nx = frame.box.shape
        names = dict(self.upper_rows)
        absent = np.empty((0, 0, 0), dtype=np.float32)
        upper = tuple(
            np.ascontiguousarray(frame.upper[names[row]], dtype=np.float32) if row in names else absent
            for row in range(columns.N_UPPER)
        )
        surface = np.full((columns.N_SURFACE, ny, nx), np.nan, dtype=np.float32)
        for row, name in self.surface_rows:
            surface[row] = frame.surface[name]
        if self.heat_sign < 0:
            surface[columns.SHTF] = -surface[columns.SHTF]
        surface[columns.H1] = surface[columns.H1] * np.float32(self.heat_sign)
        x, y = np.meshgrid(
            np.arange(frame.box.x0 + 1, frame.box.x1 + 1, dtype=float),
            np.arange(frame.box.y0 + 1, frame.box.y1 + 1, dtype=float),
        )
        if not any(row == columns.RGHS for row, _ in self.surface_rows):
            lon, lat = self.series.grid.to_lonlat(x, y)
            surface[columns.RGHS] = roughness_at(lon, lat)
        surface[columns.RGHS] = np.maximum(surface[columns.RGHS], SMALLEST_ROUGHNESS)
        gx, gy = program_spacing(self.series.grid, x, y)
        return upper, surface, gx, gy

    def why_unusable(self, frame: MetFrame, column: int) -> str:
        """
        Say why a column of a decoded frame gives no numbers.

        Parameters
        ----------
        frame : MetFrame
            One time over one box.
        column : int
            Which, counted along x, then y.
        """
        j, i = divmod(column, frame.box.shape[1])
        lacking = [name for name in self.surface_names if not np.isfinite(frame.surface[name][j, i])]
        for name in self.upper_names:
            levels = np.flatnonzero(~np.isfinite(frame.upper[name][:, j, i])) + 1
            if levels.size:
                some = ", ".join(map(str, levels[:5])) + (", ..." if levels.size > 5 else "")
                lacking.append(f"{name} (level {some})")
        what = f"no value of {'; '.join(lacking)}" if lacking else "values out of all range"
        lon, lat = self.series.grid.to_lonlat(
            np.array([frame.box.x0 + i + 1.0]), np.array([frame.box.y0 + j + 1.0])
        )
        return (
            f"met '{self.series.name}' has {what} at {lat[0]:.2f} N {lon[0]:.2f} E at {frame.time} UTC, "
            "marked missing in the file or damaged; get the file again or leave that hour out."
        )

    def key(self) -> tuple:
        """Everything beside the stored bytes that the prepared columns depend on."""
        level_numbers = (self.levels.sigma.tobytes().hex(), float(self.levels.top), self.levels.surface_index)
        plain = tuple(float(number) for number in self.recipe)
        return (*level_numbers, plain, self.surface_names, self.upper_names)

    def box_of_tile(self, tile_y: int, tile_x: int, tile_ny: int, tile_nx: int) -> Box:
        """Return the cells of one tile; tiles at the far edges may be narrower."""
        grid = self.series.grid
        x0, y0 = tile_x * tile_nx, tile_y * tile_ny
        return Box(x0, min(x0 + tile_nx, grid.nx), y0, min(y0 + tile_ny, grid.ny))


def column_source(series: MetSeries, params: TransportParams) -> ColumnSource:
    """
    Choose how the columns of a series are made.

    Raises
    ------
    MetVariableError
        A variable the run cannot do without is missing; the message lists what is there.
    MetFormatError
        The winds are staggered.
    """
    have_surface, have_upper = set(series.surface_names), set(series.upper_names)
    where = f"met '{series.name}' ({series.files[0].name})"

    def need(ok: bool, what: str) -> None:
        if not ok:
            raise MetVariableError(
                f"{where} has no {what}, which transport needs; it has {' '.join(series.surface_names)} "
                f"at the surface and {' '.join(series.upper_names)} above. "
                "Add it to the files or use another met."
            )

    if series.model_id[1:4] == "WRF":
        raise MetFormatError(
            f"{where} has the staggered winds of WRF (model id '{series.model_id}'), which engine 'native' "
            "does not read. Use meteorology whose winds lie on the grid points."
        )
    for name, text in (("UWND", "wind UWND"), ("VWND", "wind VWND"), ("TEMP", "temperature TEMP")):
        need(name in have_upper, text)
    need("SHGT" in have_surface, "terrain height SHGT")
    if series.levels.flag == vertical.PRESSURE_LEVELS:
        need("HGTS" in have_upper, "geopotential height HGTS")
    if series.levels.flag == vertical.TERRAIN_LEVELS:
        need("PRES" in have_upper, "pressure PRES")

    surface: list[tuple[int, str]] = [(columns.SHGT, "SHGT")]
    upper: list[tuple[int, str]] = [
        (columns.TEMP, "TEMP"),
        (columns.UWND, "UWND"),
        (columns.VWND, "VWND"),
    ]
    for row, name in ((columns.HGTS, "HGTS"), (columns.PRES, "PRES")):
        if name in have_upper:
            upper.append((row, name))
    moisture = vertical.NO_MOISTURE
    if "SPHU" in have_upper:
        moisture = vertical.SPECIFIC_HUMIDITY
        upper.append((columns.MOISTURE, "SPHU"))
    elif "RELH" in have_upper:
        moisture = vertical.RELATIVE_HUMIDITY
        upper.append((columns.MOISTURE, "RELH"))
    if params.kmixd == stability.PBL_FROM_TKE:
        need("TKEN" in have_upper, "turbulent kinetic energy TKEN, asked for by kmixd: 2")
        upper.append((columns.TKEN, "TKEN"))
    motion = vertical.OMEGA
    if params.w_option == _NO_VERTICAL_MOTION:
        motion = vertical.NO_MOTION
    elif "WWND" in have_upper:
        upper.append((columns.WWND, "WWND"))
    elif "DZDT" in have_upper:
        motion = vertical.VERTICAL_VELOCITY
        upper.append((columns.WWND, "DZDT"))

    simple = {
        "PRSS": columns.PRSS, "RGHS": columns.RGHS, "SHTF": columns.SHTF,
        "LHTF": columns.WHTF, "TCLD": columns.TCLD, "LCLD": columns.LCLD,
    }  # fmt: skip
    if params.k10m == 1:
        simple |= {"T02M": columns.T02M, "U10M": columns.U10M, "V10M": columns.V10M}
    for name, row in simple.items():
        if name in have_surface:
            surface.append((row, name))
    for name in series.surface_names:
        if name.startswith(_PBL_PREFIXES):
            surface.append((columns.PBLH, name))
            break
    need(
        params.kmixd != stability.PBL_FROM_FILE
        or any(row == columns.PBLH for row, _ in surface)
        or "kmixd" not in params.changed_from_default(),
        "PBL height (names beginning PBL, HPB or MXH), asked for by kmixd: 0",
    )

    if {"rain", "crai"} & set(params.varsiwant):
        for prefix, row in (("TPP", columns.RAIN), ("CPP", columns.CRAI)):
            surface += [(row, name) for name in series.surface_names if name.startswith(prefix)][:1]

    momentum = stability.FROM_PROFILE
    if "USTR" in have_surface:
        momentum = stability.FROM_USTAR
        surface.append((columns.M1, "USTR"))
    elif {"UMOF", "VMOF"} <= have_surface:
        momentum = stability.FROM_STRESS
        surface += [(columns.M1, "UMOF"), (columns.M2, "VMOF")]
    elif "EXCO" in have_surface:
        momentum = stability.FROM_EXCHANGE
        surface.append((columns.M1, "EXCO"))
    heat = stability.NO_HEAT
    heat_sign = 1.0
    if "SHTF" in have_surface:
        heat = stability.FROM_HEAT_FLUX
        surface.append((columns.H1, "SHTF"))
        heat_sign = -1.0 if series.model_id in _HEAT_NEGATED_MODELS else 1.0
    elif "TSTR" in have_surface:
        heat = stability.FROM_TSTAR
        surface.append((columns.H1, "TSTR"))

    prescribed = params.vscales > 0
    recipe = Recipe(
        flag=series.levels.flag,
        offset=np.float32(series.levels.offset),
        moisture=moisture,
        motion=motion,
        momentum=momentum,
        heat=heat,
        kbls=params.kbls,
        kmixd=params.kmixd,
        kmix0=np.float32(max(params.kmix0, 0)),
        ziscale=np.float32(1.0),
        kzmix=params.kzmix,
        tvmix=np.float32(params.tvmix),
        tl_stable=np.float32(params.vscales if prescribed else 0.0),
        tl_unstable=np.float32(params.vscaleu if prescribed else 0.0),
        more_at_night=params.tkern > params.tkerd,
    )
    return ColumnSource(
        series=series,
        levels=internal_levels(series.levels, params.z_top)._replace(prescribed_tl=prescribed),
        recipe=recipe,
        surface_names=tuple(sorted({name for _, name in surface})),
        upper_names=tuple(sorted({name for _, name in upper})),
        heights=np.array(series.levels.heights[1:], dtype=np.float32),
        surface_rows=tuple(surface),
        upper_rows=tuple(upper),
        heat_sign=heat_sign,
    )
