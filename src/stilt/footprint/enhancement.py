r"""
Footprint times flux: the change in mole fraction at the receptor.

.. math:: \Delta c = \sum_t \sum_{cells} F(t, cell) \, E(t, cell)

with the flux E in umol m-2 s-1 and the result in ppm. Everything that could make this number silently
wrong is refused: a flux without units or in mass units, cells that do not match, influence where the flux
is unknown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stilt.errors import FootprintError
from stilt.footprint.cells import (
    CellAxes,
    axis_names,
    check_projection,
    is_plain_degrees,
    named_projection,
)
from stilt.footprint.regrid import make_regridder
from stilt.footprint.time_bins import TimeBins

if TYPE_CHECKING:
    from stilt.footprint.product import Footprint

FloatArray = NDArray[np.float64]
Regrid = Literal["conservative"]

WANTED_UNITS = "umol m-2 s-1"
_AMOUNTS = {"mol": 1e6, "mmol": 1e3, "umol": 1.0, "nmol": 1e-3, "pmol": 1e-6}
_WORDS = {
    "mole": "mol", "moles": "mol", "millimol": "mmol", "millimole": "mmol", "millimoles": "mmol",
    "micromol": "umol", "micromole": "umol", "micromoles": "umol", "nanomol": "nmol", "nanomole": "nmol",
    "nanomoles": "nmol", "meter": "m", "meters": "m", "metre": "m", "metres": "m", "sec": "s", "second": "s",
    "seconds": "s",
}  # fmt: skip
_TOKEN = re.compile(r"(/)?\s*([A-Za-z]+)\s*(?:\^|\*\*)?\s*\{?([-+]?[0-9]+)?\}?|([/.*·()\s]+)|(.)")

_SPECIES = re.compile(r"\(?\b(?:CO2|CH4|CO|N2O|SF6)\b\)?")  # a mole of it is a mole
_PLAIN = str.maketrans({"µ": "u", "μ": "u", "⁻": "-", "−": "-", "¹": "1", "²": "2"})

_SHARE_THAT_COUNTS = 1e-9
"""Share of the influence that may lie where the flux is unknown, for rounding at edges."""


def flux_factor(flux: xr.DataArray) -> float:
    """
    Return what a flux has to be multiplied with to be in umol m-2 s-1.

    Parameters
    ----------
    flux : DataArray
        With the attribute ``units``.

    Returns
    -------
    float
    """
    units = flux.attrs.get("units")
    if not isinstance(units, str) or not units.strip():
        raise FootprintError(
            f"the flux has no units; say what it is in, such as flux.attrs['units'] = '{WANTED_UNITS}'."
        )
    powers: dict[str, int] = {}
    divided = False
    text = _SPECIES.sub(" ", units.translate(_PLAIN))
    for slash, word, power, filler, other in _TOKEN.findall(text):
        if other:
            powers["?"] = 1
        if filler:
            divided = divided or "/" in filler
            continue
        if word:
            divided = divided or bool(slash)
            name = _WORDS.get(word.lower(), word)
            size = int(power or 1)
            powers[name] = powers.get(name, 0) + (-size if divided else size)
    amounts = [name for name, power in powers.items() if name in _AMOUNTS and power == 1]
    if len(amounts) == 1 and {k: v for k, v in powers.items() if k != amounts[0]} == {"m": -2, "s": -1}:
        return _AMOUNTS[amounts[0]]
    raise FootprintError(
        f"the flux is in {units!r}, not in moles per square metre and second; convert it to {WANTED_UNITS}."
    )


def enhancement_of(
    footprint: Footprint,
    flux: xr.DataArray,
    *,
    regrid: Regrid | None = None,
    missing: Literal["error", "zero"] = "error",
) -> float:
    """
    Multiply a footprint with a flux; see :meth:`stilt.Footprint.enhancement`.

    Parameters
    ----------
    footprint : Footprint
        Sensitivity.
    flux, regrid, missing
        As there.

    Returns
    -------
    float
        Change in mole fraction [ppm].
    """
    if missing not in ("error", "zero"):
        raise FootprintError(f"missing = {missing!r} is unknown; use error or zero.")
    if regrid not in (None, "conservative"):
        raise FootprintError(
            f"regrid = {regrid!r} is unknown; use 'conservative', or None for cells that match."
        )
    factor = flux_factor(flux)
    x_name, y_name = axis_names(flux)
    extra = [str(name) for name in flux.dims if name not in (x_name, y_name, "time")]
    if extra or not {x_name, y_name} <= set(flux.dims):
        held = ", ".join(map(str, flux.dims))
        raise FootprintError(
            f"the flux has dimensions {held}; it needs lat and lon, and time where it changes."
        )
    has_time = "time" in flux.dims
    if footprint.is_empty:
        return 0.0
    if has_time and footprint.time_integrate:
        raise FootprintError(
            "this footprint is integrated over time and the flux changes with time; make the "
            "footprint hourly, or "
            "give a mean flux without the dimension time."
        )
    flux = flux.transpose("time", y_name, x_name) if has_time else flux.transpose(y_name, x_name)
    intervals = footprint.intervals
    covered, layers = flux.to_numpy()[None], np.ones((1, len(intervals)))
    if has_time:
        bins = flux_intervals(flux)
        shares = bins.shares(intervals)
        used = shares.any(axis=1)
        covered, layers = flux.to_numpy()[used], shares[used]
    total = float(footprint.data.to_numpy().sum(dtype=np.float64))
    # the footprint goes to the hours of the flux, then to its cells
    split = np.tensordot(layers, footprint.data.to_numpy(), axes=(1, 0))
    cells = CellAxes.of_grid(footprint.grid)
    if regrid is None:
        columns, rows = match_axes(flux, cells)
        is_held = (columns >= 0)[None, :] & (rows >= 0)[:, None]
        chosen = covered[:, rows[:, None].clip(0), columns[None, :].clip(0)]
        field = np.where(is_held, chosen, np.nan)
    else:
        target = CellAxes.of_array(flux.isel(time=0) if has_time else flux)
        check_projection(flux, target, what="cells of the flux, by their names,")
        split = make_regridder(cells, target).apply(split)
        field = covered
    known = np.isfinite(field)
    reached = float(split[known].sum())
    lost = 1.0 - reached / total if total > 0.0 else 0.0
    if lost > _SHARE_THAT_COUNTS and missing == "error":
        raise FootprintError(
            f"{lost:.3%} of the influence lies where the flux is unknown (outside its cells or hours, "
            f"or NaN); give a "
            "flux that covers it, or missing='zero' to count it as no flux."
        )
    return float((split[known] * field[known].astype(np.float64)).sum() * factor)


def flux_intervals(flux: xr.DataArray) -> TimeBins:
    """
    Return the intervals that the times of a flux stand for.

    Parameters
    ----------
    flux : DataArray
        ``time`` is the start of each interval [UTC]; it lasts until ``time_end`` where there is such a
        coordinate, else until the next time, the last one as long as the one before (months and years: to
        the next). Uneven steps are refused: an hour that is missing is no reason to let the one before
        last longer.

    Returns
    -------
    TimeBins
    """
    starts = flux["time"].to_numpy()
    if starts.dtype.kind != "M":
        raise FootprintError(
            f"the times of the flux are {starts.dtype}; decode them to dates (xarray: decode_times)."
        )
    starts = starts.astype("datetime64[ns]")
    if "time_end" in flux.coords:
        return TimeBins(starts, flux["time_end"].to_numpy().astype("datetime64[ns]"))
    if starts.size < 2:
        raise FootprintError(
            "the flux has one time, which says nothing of its length; drop time or add time_end."
        )
    steps = np.diff(starts)
    if not (steps > np.timedelta64(0, "ns")).all():
        raise FootprintError("the times of the flux do not ascend; sort them (flux.sortby('time')).")
    last = starts[-1] + steps[-1]
    if (steps != steps[0]).any():
        months = starts.astype("datetime64[M]")
        into = starts - months.astype("datetime64[ns]")
        counts = np.diff(months.astype(np.int64))
        if (into != into[0]).any() or (counts != counts[0]).any():
            lengths, times = np.unique(steps, return_counts=True)
            usual = lengths[times.argmax()]
            odd = np.flatnonzero(steps != usual)
            gaps = ", ".join(f"{_minute(starts[k])} to {_minute(starts[k + 1])}" for k in odd[:3])
            more = f" and {odd.size - 3} more" if odd.size > 3 else ""
            raise FootprintError(
                f"the times of the flux are uneven: they are {_hours(usual)} h apart, but not from {gaps}"
                f"{more} UTC. Fill what is missing (as NaN where it is unknown), or add a time_end "
                "coordinate (from time_bnds, where the file has them) that says where each interval ends."
            )
        last = (months[-1] + counts[-1]).astype("datetime64[ns]") + into[-1]
    return TimeBins(starts, np.append(starts[1:], last))


def _minute(when: np.datetime64) -> str:
    return str(np.datetime_as_string(when, "m")).replace("T", " ")


def _hours(step: np.timedelta64) -> str:
    return f"{step / np.timedelta64(1, 'h'):g}"


def match_axes(flux: xr.DataArray, cells: CellAxes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Find the column and row of the flux for each column and row of our cells; -1 where there is none.

    Parameters
    ----------
    flux : DataArray
        With coordinates of cell centres.
    cells : CellAxes
        Those of the footprint, or of what it was summed over.

    Returns
    -------
    columns, rows : ndarray of int64, shape (nx,) and (ny,)
    """
    x_name, y_name = axis_names(flux)
    said = named_projection(flux)
    is_degrees = x_name != "x" or (said is not None and is_plain_degrees(said))
    if is_degrees != cells.is_longlat:
        ours = "degrees" if cells.is_longlat else cells.projection
        raise FootprintError(
            f"the flux is on {x_name}, {y_name} and the footprint in {ours}; use regrid='conservative'."
        )
    check_projection(flux, cells, what="footprint")
    found = []
    for name, centers, edges, is_cyclic in (
        (x_name, cells.x_centers, cells.x, cells.is_longlat),
        (y_name, cells.y_centers, cells.y, False),
    ):
        axis = flux[name].to_numpy().astype(np.float64)
        if axis.ndim != 1 or not axis.size:
            raise FootprintError(f"coordinate {name} of the flux is not one-dimensional.")
        widths = edges[:, 1] - edges[:, 0]
        size = float(np.median(widths))
        difference = centers[:, None] - axis[None, :]
        if is_cyclic:
            difference -= 360.0 * np.round(difference / 360.0)
        nearest = np.abs(difference).argmin(axis=1)
        near = np.abs(difference[np.arange(centers.size), nearest])
        same = near < 0.01 * widths
        # the spacing has to be the same too: every fifth centre of finer cells fits as well
        step = np.abs(np.diff(axis))
        if np.allclose(widths, size, rtol=1e-3):
            is_spaced = not step.size or np.isclose(np.median(step), size, rtol=1e-3)
        else:  # neighbours have to be neighbours in uneven axes
            pairs = same[1:] & same[:-1]
            jumps = np.abs(np.diff(nearest))[pairs]
            is_spaced = bool(((jumps == 1) | (is_cyclic & (jumps == axis.size - 1))).all())
        if not same.any() or not is_spaced:
            raise FootprintError(
                f"the cells of the flux along {name} are not those of the footprint ({size:g} wide from "
                f"{centers[0]:g}); use regrid='conservative', which sums the footprint over the cells "
                f"of the flux."
            )
        if not same.all() and near[~same].min() < 0.99 * size:
            raise FootprintError(
                f"the cells of the flux along {name} are shifted against those of the footprint; use "
                "regrid='conservative'."
            )
        found.append(np.where(same, nearest, -1))
    return found[0], found[1]
