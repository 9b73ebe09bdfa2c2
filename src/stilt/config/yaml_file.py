"""
Reading and writing YAML with the mistakes of hand-written files in mind.

YAML keeps the last of two equal keys without a word, and reports problems over several
lines; here a repeated key is an error, and every error is one line with its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from stilt.errors import ConfigError

# YAML 1.1 reads 1:00:00 as 3600, 1e3 as text, `on` as true and a date as an object. Settings mean
# what is written: numbers as in YAML 1.2, true and false, and everything else is text.
_RESOLVERS = (
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN"),
    ("tag:yaml.org,2002:merge", r"<<", "<"),
)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    table: dict[str, list[tuple[str, re.Pattern[str]]]] = {"": [(_RESOLVERS[3][0], re.compile("^$"))]}
    for tag, pattern, first_letters in _RESOLVERS:
        for letter in first_letters:
            table.setdefault(letter, []).append((tag, re.compile(rf"^(?:{pattern})$")))
    return table


class _StrictLoader(yaml.SafeLoader):
    """Safe loader that refuses repeated keys."""

    yaml_implicit_resolvers = _resolvers()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            try:
                first = seen.get(key)
            except TypeError:
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a word or a number", key_node.start_mark
                ) from None
            if first is not None:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key}' is already given in line {first}; keep one", key_node.start_mark
                )
            seen[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Safe dumper that writes short lists on one line, and quotes what the loader would not read as text."""

    yaml_implicit_resolvers = _resolvers()


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))  # decimal also with leading zeros, not octal


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def _represent_list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.SequenceNode:
    is_flat = all(isinstance(value, (str, int, float, bool)) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=is_flat)


_Dumper.add_representer(list, _represent_list)


def read_yaml(path: str | Path) -> dict[Any, Any]:
    """
    Read a YAML file that holds keys and values.

    Parameters
    ----------
    path : str or Path
        File to read, UTF-8.

    Returns
    -------
    dict
        Its content.

    Raises
    ------
    ConfigError
        One line naming the file and, for a syntax error, the line and column.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: no such file; write one or create a project with `stilt init`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read as UTF-8 text ({error})") from error
    return parse_yaml(text, file)


def parse_yaml(text: str, source: str | Path) -> dict[Any, Any]:
    """
    Read YAML text that holds keys and values.

    Parameters
    ----------
    text : str
        The text.
    source : str or Path
        Where it came from, for messages.

    Returns
    -------
    dict
        Its content.
    """
    try:
        content = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - derived from SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join((error.problem or str(error)).split())
        if "%" in problem or "@" in problem or "`" in problem:
            problem += "; put the value in quotes"
        elif "\\t" in problem:
            problem += "; indent with spaces"
        raise ConfigError(f"{source}{where}: {problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: {' '.join(str(error).split())}") from error
    if content is None:
        raise ConfigError(f"{source} is empty; it needs at least the section mets")
    if not isinstance(content, Mapping):
        raise ConfigError(
            f"{source} holds a {type(content).__name__}, not keys with values; write 'key: value' lines"
        )
    return dict(content)


def dump_yaml(values: Mapping[str, Any]) -> str:
    """
    Write keys and values as YAML text.

    Parameters
    ----------
    values : mapping
        Plain values: text, numbers, lists and mappings of them.

    Returns
    -------
    str
        Text that :func:`parse_yaml` reads back to equal values.
    """
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
