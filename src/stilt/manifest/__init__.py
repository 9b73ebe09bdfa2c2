"""
What was asked for: one row per simulation, in ``.stilt/manifest.parquet``.

The manifest holds only what cannot be read off the outputs. Registering is an
upsert that may be repeated and may run in many processes at once: each one reads,
merges and writes the whole table under the store's protection against lost
updates. Tables stay Arrow columns throughout, so a hundred thousand rows cost
milliseconds; the file is read into memory, never mapped, because it is replaced
while others read it.

::

    sim_id      string   met x receptor
    met         string   key of the meteorology
    receptor    string   JSON of Receptor.to_dict
    scene       string   label given at registration, or null
    footprints  string   JSON list of the footprints to make, error footprints as <name>_error

Each registration is also published by itself, see `stilt.manifest.published`, so that a
lost or damaged manifest can be put together again.
"""

from __future__ import annotations

from stilt.manifest.published import Restored
from stilt.manifest.registry import Manifest, Registration
from stilt.manifest.table import ManifestRow, ManifestTable

__all__ = ["Manifest", "ManifestRow", "ManifestTable", "Registration", "Restored"]
