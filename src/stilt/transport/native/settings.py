"""Which settings the native engine implements; everything else is refused by name, never ignored."""

from __future__ import annotations

from stilt.config import TransportParams
from stilt.errors import UnsupportedSettingError

IMPLEMENTED = frozenset(
    {
        # the run
        "n_hours", "numpar", "maxpar", "seed", "hnf_plume", "hnf_mode", "rm_dat", "timeout", "varsiwant",
        # physics
        "veght", "tlfrac", "hscale", "kmix0", "kmixd", "kbls", "k10m", "z_top", "outdt", "nturb",
        "ziscale", "zicontroltf", "kmsl",
        # errors
        "siguverr", "tluverr", "zcoruverr", "horcoruverr", "sigzierr", "tlzierr", "horcorzierr",
    }
)  # fmt: skip

WITHOUT_EFFECT = frozenset(
    {
        # hycs_std's own time step is one minute in this mode, whatever these say
        "delt", "tratio",
        # its random numbers: ours are counter-based (seed decides)
        "krand",
        # HYSPLIT's concentration grid, files and memory, which do not touch the particles
        "cmass", "cpack", "conage", "dxf", "dyf", "dzf", "kagl", "khmax", "mgmin", "mhrs", "nver", "tout",
        # puffs and particle merging, off for 3-D particles
        "frhmax", "frhs", "frme", "frmr", "frts", "frvs", "kpuff", "krnd", "kspl", "splitf", "tkerd", "tkern",
    }
)  # fmt: skip
"""Keys whose value changes nothing in the STILT mode of the program itself; accepted, so that configs can be kept."""

PARTLY = {
    "kmixd": lambda value: value in (0, 1, 3) or value >= 10,
    "kbls": lambda value: value in (1, 2),
    "outdt": lambda value: value == int(value),
}
"""Keys of which some values are implemented."""

COLUMNS = (
    "time", "indx", "long", "lati", "zagl", "sigw", "tlgr", "zsfc", "temp", "samt", "foot", "shtf", "tcld",
    "dens", "rhfr", "sphu", "lcld", "wout", "mlht", "pres", "whtf", "temz", "dswf",
)  # fmt: skip
"""Names of ``varsiwant`` the engine writes."""


def check_settings(params: TransportParams) -> None:
    """
    Refuse what the native engine does not implement.

    Raises
    ------
    UnsupportedSettingError
        Names the key, its value and what to do.
    """
    for key, value in params.changed_from_default().items():
        if key in PARTLY:
            if not PARTLY[key](value):
                raise UnsupportedSettingError(
                    f"{key}: {value} is not implemented by engine 'native'; use its default or engine 'hysplit'."
                )
        elif key not in IMPLEMENTED and key not in WITHOUT_EFFECT:
            raise UnsupportedSettingError(
                f"{key}: {value!r} is not implemented by engine 'native'; leave {key} out or use engine 'hysplit'."
            )
    for name in params.varsiwant:
        if name not in COLUMNS:
            raise UnsupportedSettingError(
                f"varsiwant: column '{name}' is not written by engine 'native'; remove it. Written: {' '.join(COLUMNS)}."
            )
