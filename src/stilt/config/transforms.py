"""
What may happen to particles between transport and gridding.

``transforms`` in a footprint is a list; each entry names a kind with its own keys, or is
the import path (``package.module:function``) of a user's own.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from stilt.sections import Float, Section
from stilt.spelling import did_you_mean

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*[:.][A-Za-z_]\w*")
KINDS = ("vertical_operator", "first_order_lifetime")


class VerticalOperatorTransform(Section):
    """
    Weight particles of a column by an instrument's averaging kernel, by the air they stand for, or by both.

    Examples
    --------
    >>> operator = VerticalOperatorTransform(
    ...     kind="vertical_operator", coordinate="pres", levels=[1000, 500, 0], values=[1, 0.9, 0.5]
    ... )
    >>> operator.values[1]
    0.9
    """

    kind: Literal["vertical_operator"] = Field(description="Kind of transform [name].")
    mode: Literal["ak", "pwf", "ak_pwf", "integration", "uniform", "none"] = Field(
        default="ak_pwf",
        description="Weight of a particle: averaging kernel (ak), its share of the air of the whole "
        "atmosphere (pwf), both (ak_pwf), its share of the air of the column released (integration), "
        "the same for all (uniform), untouched (none) [name].",
    )
    coordinate: Literal["xhgt", "pres"] = Field(
        default="xhgt", description="What levels are given in: release height or pressure [name]."
    )
    levels: tuple[Float, ...] = Field(default=(), description="Levels of the weights [m AGL or hPa].")
    values: tuple[Float, ...] = Field(
        default=(), description="Averaging kernel at each level [1]; in mode pwf the pressure weights."
    )
    pressure_weights: tuple[Float, ...] = Field(
        default=(),
        description="Pressure weight of each level where the retrieval gives it [1]; none computes them.",
    )
    surface_pressure: Float | None = Field(
        default=None,
        gt=0,
        description="Surface pressure of the retrieval [hPa]; none is that of the particles.",
    )
    surface_height: Float | None = Field(
        default=None,
        description="Surface height of the retrieval [m MSL]; none is the ground of the particles.",
    )
    dry_column: Float | None = Field(
        default=None, gt=0, description="Dry air of the whole column [mol m-2]; none is computed."
    )

    @model_validator(mode="after")
    def _one_value_each(self) -> Self:
        for name in ("values", "pressure_weights"):
            given = getattr(self, name)
            if (name == "values" or given) and len(self.levels) != len(given):
                if name == "values" and not given and self.pressure_weights and self.mode == "pwf":
                    continue
                raise ValueError(
                    f"{len(self.levels)} levels and {len(given)} {name}; give one value for each level"
                )
        if self.mode in ("ak", "ak_pwf") and not self.levels:
            raise ValueError(f"mode {self.mode} needs the averaging kernel; give levels and values")
        if self.mode == "pwf" and self.values and self.pressure_weights:
            raise ValueError("mode pwf has pressure weights both in values and in pressure_weights; keep one")
        if len(set(self.levels)) < len(self.levels):
            raise ValueError("a level is listed more than once; list it once")
        return self

    @property
    def needs_pressure(self) -> bool:
        """Whether the columns ``pres`` and ``zagl`` of the particles are read."""
        return self.mode in ("pwf", "ak_pwf", "integration") or (
            self.mode == "ak" and self.coordinate == "pres"
        )

    @property
    def retrieval_weights(self) -> tuple[float, ...]:
        """Pressure weights of the levels, where the retrieval gives them."""
        return self.values if self.mode == "pwf" and self.values else self.pressure_weights


class FirstOrderLifetimeTransform(Section):
    """Let the influence decay with transport age."""

    kind: Literal["first_order_lifetime"] = Field(description="Kind of transform [name].")
    lifetime_hours: Float = Field(gt=0, description="e-folding lifetime of the tracer [h].")


class ImportedTransform(Section):
    """A user's own function, found by its import path."""

    kind: str = Field(description="Import path, package.module:function.")
    options: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments it is called with.")

    @field_validator("kind")
    @classmethod
    def _is_an_import_path(cls, value: str) -> str:
        if not _IMPORT_PATH.fullmatch(value):
            raise ValueError(
                f"unknown transform '{value}', {did_you_mean(value, KINDS)} "
                "A transform of your own is named by its import path, package.module:function"
            )
        return value


def _tag(value: Any) -> str:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", "")
    return f"<{kind}>" if kind in KINDS else "<import>"


TransformConfig = Annotated[
    Annotated[
        Annotated[VerticalOperatorTransform, Tag("<vertical_operator>")]
        | Annotated[FirstOrderLifetimeTransform, Tag("<first_order_lifetime>")]
        | Annotated[ImportedTransform, Tag("<import>")],
        Discriminator(_tag),
    ],
    BeforeValidator(lambda value: {"kind": value} if isinstance(value, str) else value),
]
"""One entry of ``transforms``."""
