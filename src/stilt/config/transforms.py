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
    """Weight particles by an instrument's averaging kernel, pressure weights, or both."""

    kind: Literal["vertical_operator"] = Field(description="Kind of transform [name].")
    mode: Literal["ak", "pwf", "ak_pwf", "integration", "uniform", "none"] = Field(
        default="ak_pwf", description="Which weights apply [name]."
    )
    coordinate: Literal["xhgt", "pres"] = Field(
        default="xhgt", description="What levels are given in: release height or pressure [name]."
    )
    levels: tuple[Float, ...] = Field(default=(), description="Levels of the weights [m AGL or hPa].")
    values: tuple[Float, ...] = Field(default=(), description="Weight at each level [1].")

    @model_validator(mode="after")
    def _one_value_each(self) -> Self:
        if len(self.levels) != len(self.values):
            raise ValueError(
                f"{len(self.levels)} levels and {len(self.values)} values; give one value for each level"
            )
        return self


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
