"""
Which variable of a dataset is which ARL field, and what its units and direction are.

A variable is found by the name given in the configuration, else by the names of the preset,
else by its CF ``standard_name``. Units are always read from the variable (or given in the
configuration): without them a field is refused, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

from stilt.errors import MetFormatError

GRAVITY_GEOPOTENTIAL = 9.80665
"""Geopotential over geopotential height [m s-2]; ECMWF, WMO."""

_UNITS: dict[str, dict[str, tuple[float, float]]] = {
    "temperature": {"k": (1.0, 0.0), "kelvin": (1.0, 0.0), "degc": (1.0, 273.15), "celsius": (1.0, 273.15)},
    "speed": {"ms-1": (1.0, 0.0), "m/s": (1.0, 0.0)},
    "omega": {"pas-1": (0.01, 0.0), "pa/s": (0.01, 0.0), "hpas-1": (1.0, 0.0), "hpa/s": (1.0, 0.0)},
    "pressure": {
        "pa": (0.01, 0.0), "hpa": (1.0, 0.0), "mb": (1.0, 0.0), "mbar": (1.0, 0.0), "millibar": (1.0, 0.0),
        "millibars": (1.0, 0.0),
    },
    "height": {
        "m": (1.0, 0.0), "gpm": (1.0, 0.0), "meter": (1.0, 0.0), "meters": (1.0, 0.0), "metres": (1.0, 0.0),
        "km": (1000.0, 0.0), "m2s-2": (1.0 / GRAVITY_GEOPOTENTIAL, 0.0),
        "m2/s2": (1.0 / GRAVITY_GEOPOTENTIAL, 0.0),
    },
    "ratio": {
        "kgkg-1": (1.0, 0.0), "kg/kg": (1.0, 0.0), "1": (1.0, 0.0), "gkg-1": (1e-3, 0.0), "g/kg": (1e-3, 0.0),
    },
    "percent": {"%": (1.0, 0.0), "percent": (1.0, 0.0), "1": (100.0, 0.0), "(0-1)": (100.0, 0.0)},
    "flux": {"wm-2": (1.0, 0.0), "w/m2": (1.0, 0.0)},
    "stress": {"nm-2": (1.0, 0.0), "n/m2": (1.0, 0.0), "pa": (1.0, 0.0)},
    "energy": {"jm-2": (1.0, 0.0), "j/m2": (1.0, 0.0)},
}  # fmt: skip
"""By kind and unit, squeezed and in small letters: factor and offset to the unit of ARL files."""


@dataclass(frozen=True)
class FieldKind:
    """
    One ARL field as datasets may carry it.

    Attributes
    ----------
    arl : str
        ARL name.
    kind : str
        Which units it may have.
    upper : bool
        On levels rather than at the surface.
    names : tuple of str
        Variable names by which it goes, most telling first.
    standard_names : tuple of str
        CF names, for fields that they identify.
    down : tuple of str
        Names, of either sort, under which a flux counts positive downward.
    """

    arl: str
    kind: str
    upper: bool
    names: tuple[str, ...]
    standard_names: tuple[str, ...] = ()
    down: tuple[str, ...] = ()


FIELDS: tuple[FieldKind, ...] = (
    FieldKind("SHGT", "height", False, ("orog", "z", "HGT", "topo", "terrain"), ("surface_altitude",)),
    FieldKind("PRSS", "pressure", False, ("sp", "ps", "PSFC"), ("surface_air_pressure",)),
    FieldKind("T02M", "temperature", False, ("t2m", "2t", "T2", "tas")),
    FieldKind("U10M", "speed", False, ("u10", "10u", "U10", "uas")),
    FieldKind("V10M", "speed", False, ("v10", "10v", "V10", "vas")),
    FieldKind("USTR", "speed", False, ("zust", "UST", "ustar")),
    FieldKind(
        "UMOF", "stress", False, ("iews", "avg_iews", "metss", "tauu"), ("surface_downward_eastward_stress",)
    ),
    FieldKind(
        "VMOF", "stress", False, ("inss", "avg_inss", "mntss", "tauv"), ("surface_downward_northward_stress",)
    ),
    FieldKind(
        "SHTF", "flux", False, ("ishf", "sshf", "avg_ishf", "msshf", "HFX", "hfss"),
        ("surface_upward_sensible_heat_flux", "surface_downward_sensible_heat_flux"),
        ("ishf", "sshf", "avg_ishf", "msshf", "surface_downward_sensible_heat_flux"),
    ),
    FieldKind(
        "LTHF", "flux", False, ("slhf", "avg_slhtf", "mslhf", "LH", "hfls"),
        ("surface_upward_latent_heat_flux", "surface_downward_latent_heat_flux"),
        ("slhf", "avg_slhtf", "mslhf", "surface_downward_latent_heat_flux"),
    ),
    FieldKind(
        "DSWF", "flux", False, ("ssrd", "avg_sdswrf", "SWDOWN", "rsds"),
        ("surface_downwelling_shortwave_flux_in_air",),
    ),
    FieldKind("PBLH", "height", False, ("blh", "PBLH", "zmla"), ("atmosphere_boundary_layer_thickness",)),
    FieldKind("RGHS", "height", False, ("fsr", "ZNT", "z0"), ("surface_roughness_length",)),
    FieldKind("TCLD", "percent", False, ("tcc", "clt"), ("cloud_area_fraction",)),
    FieldKind("TEMP", "temperature", True, ("t", "ta"), ("air_temperature",)),
    FieldKind("UWND", "speed", True, ("u", "ua"), ("eastward_wind", "x_wind")),
    FieldKind("VWND", "speed", True, ("v", "va"), ("northward_wind", "y_wind")),
    FieldKind("WWND", "omega", True, ("w", "omega", "wap"), ("lagrangian_tendency_of_air_pressure",)),
    FieldKind("DZDT", "speed", True, ("wa", "dzdt"), ("upward_air_velocity",)),
    FieldKind("SPHU", "ratio", True, ("q", "hus"), ("specific_humidity",)),
    FieldKind("RELH", "percent", True, ("r", "hur"), ("relative_humidity",)),
    FieldKind("HGTS", "height", True, ("z", "zg"), ("geopotential_height", "geopotential")),
    FieldKind("PRES", "pressure", True, ("pres", "p", "pfull"), ("air_pressure",)),
)  # fmt: skip
"""All fields, in the order they are looked for."""

BY_NAME = {field.arl: field for field in FIELDS}


def squeeze(units: str) -> str:
    """
    Write a unit one way: small letters, no blanks, no signs of power.

    >>> [squeeze(text) for text in ("m s**-1", "J m**-2", "m^2 s^-2", "(0 - 1)")]
    ['ms-1', 'jm-2', 'm2s-2', '(0-1)']
    """
    return units.strip().lower().replace("**", "").replace("^", "").replace(" ", "").replace(".", "")


def scale_of(kind: str, units: str | None, what: str) -> tuple[float, float]:
    """
    Return factor and offset from a unit to the one of ARL files.

    Raises
    ------
    MetFormatError
        Without units, or with units that do not belong to this kind of field.
    """
    known = _UNITS[kind]
    if units is None:
        raise MetFormatError(
            f"{what} has no units; add the attribute to the file, or give units in the met's `variables`. "
            f"Understood: {', '.join(known)}."
        )
    found = known.get(squeeze(units))
    if found is None:
        raise MetFormatError(
            f"{what} has units '{units}', which are not those of a {kind}; understood: {', '.join(known)}."
        )
    return found


def is_energy(units: str | None) -> bool:
    """Whether a flux is given as energy accumulated over some hours."""
    return units is not None and squeeze(units) in _UNITS["energy"]


def is_omega(units: str | None) -> bool:
    """Whether a vertical velocity is one of pressure."""
    return units is not None and squeeze(units) in _UNITS["omega"]
