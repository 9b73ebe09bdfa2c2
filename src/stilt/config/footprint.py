"""How one named footprint is made from a trajectory."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from stilt.config.transforms import TransformConfig
from stilt.errors import ConfigError
from stilt.sections import Float, Section
from stilt.spatial import Grid

_GRID_KEYS = frozenset(Grid.model_fields)


def _grid_tag(value: Any) -> str:
    return "<name>" if isinstance(value, str) else "<inline>"


class FootprintConfig(Section):
    """
    One named footprint: its grid and how particles are smoothed and summed.

    The six grid keys (and ``projection``) may stand in the footprint itself instead of ``grid``.

    Examples
    --------
    >>> FootprintConfig(xmin=-113, xmax=-111, ymin=40, ymax=42, xres=0.01, yres=0.01).grid.shape
    (200, 200)
    """

    grid: Annotated[
        Annotated[Grid, Tag("<inline>")] | Annotated[str, Tag("<name>")], Discriminator(_grid_tag)
    ] = Field(description="A name from grids, or the grid itself.")
    smooth_factor: Float = Field(
        default=1.0, ge=0, description="Factor on the smoothing bandwidth [1]; 0 is none."
    )
    time_integrate: bool = Field(default=False, description="Sum over all hours into one layer [true/false].")
    smoothing: Literal["rstilt", "consistent"] = Field(
        default="rstilt",
        description="Bandwidth as STILT-R computes it, in units of the grid, or in kilometres "
        "whatever the grid [name].",
    )
    align: Literal["receptor", "clock"] = Field(
        default="receptor",
        description="What hours are counted from: the receptor time or the full hour at or before it [name].",
    )
    time_bins: tuple[Float, ...] | None = Field(
        default=None,
        description="Edges of the layers, ascending [h from the receptor time, negative earlier]; "
        "none means hours.",
    )
    error: bool = Field(
        default=False, description="Also make a footprint of the error trajectory [true/false]."
    )
    transforms: tuple[TransformConfig, ...] = Field(
        default=(), description="Changes to the particles before gridding, in order [list]."
    )

    @model_validator(mode="before")
    @classmethod
    def _fold_inline_grid(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        inline = {key: value for key, value in values.items() if key in _GRID_KEYS}
        if not inline:
            return values
        if values.get("grid") is not None:
            raise PydanticCustomError(
                "value_error",
                "both grid and {keys} are given; keep grid or the six keys",
                {"keys": ", ".join(inline)},
            )
        rest = {key: value for key, value in values.items() if key not in _GRID_KEYS}
        return {**rest, "grid": inline}

    @model_validator(mode="after")
    def _layers_make_sense(self) -> Self:
        edges = self.time_bins
        if edges is not None and (len(edges) < 2 or any(low >= high for low, high in pairwise(edges))):
            raise ValueError("time_bins needs at least two edges, ascending, such as [-24, -12, -6, 0]")
        if self.time_integrate and (edges is not None or self.align == "clock"):
            other = "time_bins" if edges is not None else "align: clock"
            raise ValueError(f"time_integrate makes one layer and {other} several; keep one of the two")
        return self

    @classmethod
    def _key_names(cls) -> frozenset[str]:
        return frozenset(cls.model_fields) | _GRID_KEYS

    def own_grid(self) -> Grid:
        """
        Return the grid that stands in the footprint itself.

        Returns
        -------
        Grid
            The inline grid; a name can only be looked up by ``ModelConfig.footprint_grid``.
        """
        if isinstance(self.grid, Grid):
            return self.grid
        raise ConfigError(
            f"grid '{self.grid}' is a name that only a ModelConfig can look up; give the grid itself, "
            "or use config.footprint_grid(name)"
        )
