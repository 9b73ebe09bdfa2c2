"""Which settings the native engine implements; everything else is refused by name, never ignored."""

from __future__ import annotations

from stilt.config import TransportParams
from stilt.errors import UnsupportedSettingError

IMPLEMENTED = frozenset(
    {
        # the run
        "n_hours", "numpar", "maxpar", "seed", "random", "release_terrain", "hnf_plume", "hnf_mode",
        "rm_dat", "timeout", "varsiwant",
        # physics
        "veght", "tlfrac", "hscale", "kmix0", "kmixd", "kbls", "k10m", "z_top", "outdt", "nturb",
        "ziscale", "zicontroltf", "kmsl", "kzmix", "tvmix", "vscales", "vscaleu", "tkern", "tkerd",
        "w_option", "emisshrs",
        # errors
        "siguverr", "tluverr", "zcoruverr", "horcoruverr", "sigzierr", "tlzierr", "horcorzierr",
    }
)  # fmt: skip

WITHOUT_EFFECT = frozenset({"delt", "tratio", "vscale"})
"""Keys that change nothing in the STILT mode of ``hycs_std`` either: its step is always one minute."""

PARTLY = {
    "kmixd": lambda value: value in (0, 1, 2, 3) or value >= 10,
    "kbls": lambda value: value in (1, 2),
    "outdt": lambda value: value == int(value),
    "kzmix": lambda value: value in (0, 1, 2, 3),
    "w_option": lambda value: value in (0, 4),
}
"""Keys of which some values are implemented."""

PARTLY_NAMES = {
    "kmixd": ("0", "1", "2", "3", "10 and more"),
    "kbls": ("1", "2"),
    "outdt": ("whole minutes",),
    "kzmix": ("0", "1", "2", "3"),
    "w_option": ("0", "4"),
}

COLUMNS = (
    "time", "indx", "long", "lati", "zagl", "sigw", "tlgr", "zsfc", "temp", "samt", "foot", "shtf",
    "dens", "rhfr", "sphu", "wout", "mlht", "pres", "temz", "whtf", "tcld", "lcld", "dswf", "icdx", "zloc",
    "rain", "crai", "dmas",
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
                    f"{key}: {value} is not implemented by engine 'native'; "
                    f"use {' or '.join(PARTLY_NAMES[key])}, or leave {key} out."
                )
        elif key not in IMPLEMENTED and key not in WITHOUT_EFFECT:
            raise UnsupportedSettingError(
                f"{key}: {value!r} is not implemented by engine 'native'; leave {key} out."
            )
    for name in params.varsiwant:
        if name not in COLUMNS:
            raise UnsupportedSettingError(
                f"varsiwant: column '{name}' is not written by engine 'native'; remove it. "
                f"Written: {' '.join(COLUMNS)}."
            )
    if "dmas" in params.varsiwant and params.w_option == 4:
        # the program keeps counting the vertical motion of the file that it does not move particles with
        raise UnsupportedSettingError(
            "varsiwant: column 'dmas' is not written by engine 'native' with w_option: 4; leave one out."
        )
