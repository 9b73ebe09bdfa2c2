"""
The base of every settings section: frozen, strict about names, brief about errors.

A settings file is written by hand, so most mistakes are spelling. Pydantic reports
them over several lines and without the name that was meant; this module turns every
validation problem into one :class:`~stilt.errors.ConfigError` line that says which
file, which key, which value, and what the nearest valid name is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from stilt.errors import ConfigError
from stilt.spelling import did_you_mean


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "should be a number")
    return value


Int = Annotated[int, BeforeValidator(_refuse_bool)]
"""An integer; unlike a plain ``int`` it does not take ``true`` for 1."""

Float = Annotated[float, BeforeValidator(_refuse_bool)]
"""A finite number; unlike a plain ``float`` it does not take ``true`` for 1."""


_PLAIN_WORDS = {
    "model_type": "should hold keys with values",
    "model_attributes_type": "should hold keys with values",
    "dict_type": "should hold names with values",
    "tuple_type": "should be a list",
    "string_type": "should be text",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
}
"""Pydantic's problems in the words of a settings file."""


class Section(BaseModel):
    """A frozen settings section that refuses unknown keys and raises one-line errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        hide_input_in_errors=True,
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(describe(error, type(self).__name__)) from error

    # Tells pydantic that this constructor adds nothing to validation, so that nested sections
    # are validated in place and their problems keep their full path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, source: str | Path = "") -> Self:
        """
        Build the section from a mapping, as it was read from a file.

        Parameters
        ----------
        values : mapping
            Keys and values.
        source : str or Path
            Where the values came from, for messages.

        Returns
        -------
        Section
            The validated section.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(describe(error, str(source) or cls.__name__)) from error

    def replace(self, **changes: Any) -> Self:
        """
        Return a copy with some fields changed, validated like a new one.

        Parameters
        ----------
        **changes
            Fields and their new values.

        Returns
        -------
        Section
            The changed copy.
        """
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**values, **changes})

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        known = cls._key_names()
        unknown = [key for key in values if key not in known]
        if not unknown:
            return values
        complaints = []
        for key in unknown:
            if not isinstance(key, str):
                complaints.append(f"key {key!r} is not text; put it in quotes")
            else:
                complaints.append(f"unknown key '{key}', {did_you_mean(key, known)}")
        raise PydanticCustomError("unknown_key", "{problem}", {"problem": "; ".join(complaints)})

    @classmethod
    def _key_names(cls) -> frozenset[str]:
        """Names that may be written in this section."""
        return frozenset(cls.model_fields)


def describe(error: ValidationError, source: str) -> str:
    """
    Say in one line what pydantic found wrong.

    Parameters
    ----------
    error : ValidationError
        The problem, possibly several.
    source : str
        File or class the values were given to.

    Returns
    -------
    str
        One line: source, key, problem, value, and how many more problems there are.
    """
    problems = error.errors(include_url=False, include_context=False)
    # a misspelt key is often the cause of the others
    first = next((p for p in problems if p["type"] == "unknown_key"), problems[0])
    if first["type"] == "missing":
        same = [p for p in problems if p["type"] == "missing" and p["loc"][:-1] == first["loc"][:-1]]
        parent = _path(first["loc"][:-1])
        names = ", ".join(f"'{p['loc'][-1]}'" for p in same)
        said = f"{parent + ': ' if parent else ''}{names} missing; add {'it' if len(same) == 1 else 'them'}"
        more = len(problems) - len(same)
    else:
        said = _one_problem(first)
        more = len(problems) - 1
    rest = f" (and {more} more problem{'s' if more > 1 else ''})" if more else ""
    return " ".join(f"{source}: {said}{rest}".split())


def _one_problem(problem: ErrorDetails) -> str:
    where = _path(problem["loc"])
    message = problem["msg"].removeprefix("Value error, ").rstrip()
    kind = problem["type"]
    prefix = f"{where}: " if where else ""
    if kind in ("unknown_key", "value_error", "assertion_error"):
        return prefix + message
    if kind == "string_type" and problem["loc"][-1:] == ("[key]",):
        return f"{_path(problem['loc'][:-2])}: name {problem['input']!r} is not text; put it in quotes"
    message = _PLAIN_WORDS.get(kind, message.removeprefix("Input "))
    return f"{prefix}{message} (got {_shorten(problem['input'])})"


def _path(loc: tuple[int | str, ...]) -> str:
    """Write a location like ``mets.hrrr.n_min`` or ``varsiwant[2]``, without pydantic's union tags."""
    path = ""
    previous: int | str = ""
    for part in loc:
        is_tag = isinstance(part, str) and (part.startswith("<") or previous == "execution")
        previous = part
        if is_tag or part == "[key]":
            continue
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def _shorten(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
