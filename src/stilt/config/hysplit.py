"""Where the program of engine ``hysplit`` is."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from stilt.config.met import Folder
from stilt.sections import Section


class HysplitConfig(Section):
    """
    The user's own HYSPLIT; read under ``engine: hysplit`` only, and never part of a result's settings.

    Examples
    --------
    >>> HysplitConfig(exe="/opt/hysplit/exec/hycs_std").data_dir is None
    True
    """

    exe: Folder | None = Field(
        default=None,
        description="The program hycs_std, or the folder that holds it [path]; none: PYSTILT_HYSPLIT_DIR, "
        "then PATH.",
    )
    data_dir: Folder | None = Field(
        default=None,
        description="Folder of its tables ROUGLEN.ASC, LANDUSE.ASC and TERRAIN.ASC [path]; "
        "none: near the program.",
    )

    def resolved(self, base: str | Path) -> HysplitConfig:
        """
        Return the same section with relative paths made absolute.

        Parameters
        ----------
        base : str or Path
            Folder that relative paths count from, usually the one of the config.
        """
        root = Path(base).absolute()
        changes = {name: root / value for name in ("exe", "data_dir") if (value := getattr(self, name))}
        return self.replace(**changes) if changes else self
