"""What a run does without when a meteorology file lacks a variable, in words."""

from __future__ import annotations

from collections.abc import Collection

from stilt.config import TransportParams

_COLUMNS = {
    "shtf": ("SHTF",),
    "whtf": ("LTHF", "WHTF"),
    "tcld": ("TCLD",),
    "lcld": ("LCLD",),
    "dswf": ("DSWF",),
}
"""Columns of ``varsiwant`` that repeat a field of the file."""


def met_notes(surface: Collection[str], upper: Collection[str], params: TransportParams) -> list[str]:
    """
    Say what is done without the variables a file lacks.

    Parameters
    ----------
    surface, upper : collection of str
        ARL names of the fields at the surface and above.
    params : TransportParams
        The settings.

    Returns
    -------
    list of str
        One phrase for each missing variable that the settings would use.
    """
    notes = []
    if not {"WWND", "DZDT"} & set(upper):
        notes.append("no WWND or DZDT: no mean vertical motion")
    if not {"SPHU", "RELH"} & set(upper):
        notes.append("no SPHU or RELH: dry air")
    if "PRSS" not in surface:
        notes.append("no PRSS: surface pressure from the first level")
    if params.k10m == 1:
        lacking = [name for name in ("T02M", "U10M", "V10M") if name not in surface]
        if lacking:
            notes.append(f"no {' '.join(lacking)}: derived from the first level")
    if params.kbls == 1:
        stress = "USTR" in surface or {"UMOF", "VMOF"} <= set(surface) or "EXCO" in surface
        heat = "SHTF" in surface or "TSTR" in surface
        if not (stress and heat):
            lacking = (["USTR, UMOF VMOF or EXCO"] if not stress else []) + (
                ["SHTF or TSTR"] if not heat else []
            )
            notes.append(f"no {', no '.join(lacking)}: stability from the profiles of wind and temperature")
    if "RGHS" not in surface:
        notes.append("no RGHS: roughness from a 1-degree map")
    for column in params.varsiwant:
        names = _COLUMNS.get(column)
        if names and not set(names) & set(surface):
            notes.append(f"no {' or '.join(names)}: column {column} is -99")
    return notes
