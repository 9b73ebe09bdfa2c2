"""
CONTROL: where, when, how long, which meteorology.

The lines after the meteorology describe HYSPLIT's own pollutant and concentration grid. STILT mode
needs them to be there and uses only the duration of the release.
"""

from __future__ import annotations

from collections.abc import Sequence

from stilt.config import TransportParams
from stilt.receptors import Receptor


def control_text(
    receptor: Receptor, lines: Sequence[str], params: TransportParams, met_files: Sequence[str]
) -> str:
    """
    Write CONTROL.

    Parameters
    ----------
    receptor : Receptor
        When.
    lines : sequence of str
        Latitude, longitude and height of each release.
    params : TransportParams
        ``n_hours``, ``w_option``, ``z_top`` and ``emisshrs`` stand here.
    met_files : sequence of str
        Names of meteorology files in the folder the program runs in.

    Returns
    -------
    str
    """
    text = [
        f"{receptor.time:%y %m %d %H %M}",
        str(len(lines)),
        *lines,
        str(params.n_hours),
        str(params.w_option),
        f"{params.z_top:.1f}",
        str(len(met_files)),
    ]
    for name in met_files:
        text += ["./", name]
    text += [
        # one pollutant: name, mass per hour, hours of release, start
        "1", "test", "1", f"{params.emisshrs:g}", "00 00 00 00 00",
        # one concentration grid: centre, spacing, span, file, levels, sampling
        "1", "0.0 0.0", "0.5 0.5", "30.0 30.0", "./", "cdump", "1", "100",
        "00 00 00 00 00", "00 00 00 00 00", "00 12 00",
        # its deposition: size, velocity, wet removal, decay, resuspension
        "1", "0.0 0.0 0.0", "0.0 0.0 0.0 0.0 0.0", "0.0 0.0 0.0", "0.0", "0.0",
    ]  # fmt: skip
    return "\n".join(text) + "\n"
