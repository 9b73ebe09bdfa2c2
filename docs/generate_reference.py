"""
Write the reference pages that can be read off the code: settings, commands, public names.

::

    python docs/generate_reference.py            write docs/reference/*.md
    python docs/generate_reference.py --check    exit 1 when a page is out of date
"""

from __future__ import annotations

import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from stilt import config
from stilt.sections import Section

PAGES = Path(__file__).parent / "reference"
_NOTE = "<!-- Written by docs/generate_reference.py from the code; edit the descriptions there. -->\n"

SECTIONS: tuple[tuple[str, str, tuple[type[Section], ...]], ...] = (
    (
        "Meteorology",
        "Each entry of `mets` is a `MetConfig`. Names are `a-z` and `0-9`. Entries of its `variables` are "
        "`GriddedVariable`, or a name alone.",
        (config.MetConfig, config.GriddedVariable),
    ),
    (
        "Grids and bounds",
        "Entries of `grids` are `Grid`; `subgrid_bounds` is `Bounds`. Edges are degrees also for projected grids. "
        "`xmax` may exceed 180 or lie below `xmin`: the grid then crosses the date line.",
        (config.Grid, config.Bounds),
    ),
    (
        "Footprints",
        "Each entry of `footprints` is one of these. Names begin with a letter or digit, hold `a-z 0-9 _ -` and do not "
        "end in `_error`. The keys of a grid may stand in the footprint itself instead of `grid`.",
        (config.FootprintConfig,),
    ),
    (
        "Transforms",
        "Entries of a footprint's `transforms`, applied to the particles in order before gridding. A function of your "
        "own is named by its import path.",
        (
            config.VerticalOperatorTransform,
            config.FirstOrderLifetimeTransform,
            config.ImportedTransform,
        ),
    ),
    (
        "Program of engine hysplit",
        "`hysplit` is one of these; it is read under `engine: hysplit` only ([how to](../how-to/hysplit.md)).",
        (config.HysplitConfig,),
    ),
    ("Run", "Flat keys at the top level.", (config.RunParams,)),
    (
        "Transport",
        "Flat keys at the top level, with HYSPLIT's names. The native engine refuses, by name, what it does not "
        "implement ([which](../../design/2026-11-22-refused-settings.md)).",
        (config.PhysicsParams,),
    ),
    (
        "Transport errors",
        "Flat keys at the top level; each group all or none. Either makes an error trajectory beside the main one.",
        (config.ErrorParams,),
    ),
    (
        "Execution",
        "`execution` is one of these, chosen by `backend`. Packages can bring others (entry points "
        "`stilt.backends`, see `stilt.execution.registry`).",
        (
            config.LocalExecution,
            config.SlurmExecution,
            config.KubernetesExecution,
            config.Volume,
            config.DaskExecution,
        ),
    ),
)


def config_page() -> str:
    """Return the page of all settings."""
    top = [
        name for name in config.ModelConfig.model_fields if name not in config.TransportParams.model_fields
    ]
    lines = [
        "# Settings",
        "",
        _NOTE,
        "`config.yaml`, or `stilt.ModelConfig(...)` with the same names. Unknown keys are refused with the nearest valid "
        "name. Relative folders count from the file. Units are in brackets; `[1]` is a plain number.",
        "",
        "```yaml",
        "mets:",
        "  hrrr:",
        "    directory: met",
        '    file_format: "%Y%m%d_%H"',
        "grids:",
        "  slv: {xmin: -113, xmax: -111, ymin: 40, ymax: 42, xres: 0.01, yres: 0.01}",
        "footprints:",
        "  default:",
        "    grid: slv",
        "n_hours: -24",
        "numpar: 200",
        "execution:",
        "  backend: local",
        "  n_workers: 2",
        "```",
        "",
        "## Top level",
        "",
        *_table({name: config.ModelConfig.model_fields[name] for name in top}),
    ]
    for title, text, sections in SECTIONS:
        lines += ["", f"## {title}", "", text]
        for section in sections:
            if len(sections) > 1:
                lines += ["", f"### {section.__name__}", "", _first_sentence(section)]
            lines += ["", *_table(section.model_fields)]
    lines += [
        "",
        "## Environment",
        "",
        "Settings of the machine, apart from the science (`stilt.RuntimeSettings.from_env()`).",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in config.RuntimeSettings.model_fields.items():
        default = "the user's cache" if name == "cache_dir" else _default(field)
        lines.append(f"| `PYSTILT_{name.upper()}` | {default} | {field.description} |")
    lines += [
        "",
        "## Columns",
        "",
        f"Names that `varsiwant` may hold: {_words(config.OUTPUT_COLUMNS)}. What they mean, and which the native engine "
        "writes, is in [Files](files.md#trajectories).",
    ]
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Return the page of all commands."""
    from stilt.cli.app import command

    group: Any = command()
    lines = [
        "# Commands",
        "",
        _NOTE,
        "`stilt COMMAND`, or `python -m stilt COMMAND`. `PROJECT` is a folder with `config.yaml` and `receptors.csv`; "
        "default: the current folder where it may be left out. Times are UTC. Results go to stdout, progress, warnings "
        "and errors to stderr.",
        "",
        "| exit code | meaning |",
        "|---|---|",
        "| 0 | done; after `run`: everything complete; after `check`: nothing would stop a run |",
        "| 1 | some simulations failed; `check` found something |",
        "| 2 | usage or configuration, or known to be impossible before the first simulation; one line says why |",
        "| 3 | interrupted; what was finished is kept, the same command continues |",
    ]
    lines += ["", "## stilt", "", *_options(group)]
    commands: list[tuple[str, Any]] = []
    for name, sub in group.commands.items():
        below = getattr(sub, "commands", None)
        commands += [(f"{name} {each}", one) for each, one in below.items()] if below else [(name, sub)]
    for name, sub in commands:
        arguments = " ".join(
            (_metavar(parameter) if parameter.required else f"[{_metavar(parameter)}]")
            for parameter in sub.params
            if parameter.param_type_name == "argument"
        )
        lines += ["", f"## stilt {name}", "", f"`stilt {name} {arguments}`".replace(" `", "`"), ""]
        lines += [(sub.help or "").strip(), "", *_options(sub)]
    return "\n".join(lines) + "\n"


def python_page() -> str:
    """Return the page of public names."""
    import stilt

    lines = [
        "# Python names",
        "",
        _NOTE,
        "`import stilt` loads nothing but names; each is fetched when first used. `help(stilt.Model)` and so on have "
        "the details. Everything not listed here may change without notice.",
    ]
    names = [name for name in stilt.__all__ if not name.startswith("_")]
    objects = {name: getattr(stilt, name) for name in names}
    errors = [
        name for name in names if isinstance(objects[name], type) and issubclass(objects[name], Exception)
    ]
    for title, members in (
        ("Classes", [n for n in names if isinstance(objects[n], type) and n not in errors]),
        ("Functions", [n for n in names if not isinstance(objects[n], type)]),
    ):
        lines += ["", f"## {title}", "", "| name | |", "|---|---|"]
        lines += [f"| `stilt.{name}` | {_escape(_first_sentence(objects[name]))} |" for name in members]
    lines += [
        "",
        "`stilt.execution.push_simulations(model, sim_ids, n_cores=1)` runs given simulations; "
        "`stilt.execution.pull_simulations(model)` asks a queue for them (not in this version).",
        "",
        "## Errors",
        "",
        "Each also derives from the builtin it resembles. `error.reason` is the word `stilt status --failures` counts.",
        "",
        "| name | is a | reason | |",
        "|---|---|---|---|",
    ]
    for name in errors:
        error = objects[name]
        parents = ", ".join(base.__name__ for base in error.__bases__)
        lines.append(f"| `stilt.{name}` | {parents} | `{error.reason}` | {_escape(_first_sentence(error))} |")
    return "\n".join(lines) + "\n"


def _options(command: Any) -> list[str]:
    rows = []
    for parameter in command.params:
        if parameter.param_type_name != "option":
            continue
        names = ", ".join(f"`{text}`" for text in (*parameter.opts, *parameter.secondary_opts))
        if not (parameter.is_flag or parameter.secondary_opts):
            names += f" {_metavar(parameter)}"
        rows.append(f"| {names} | {parameter.help} |")
    return ["| option | meaning |", "|---|---|", *rows]


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper()).strip("[]").replace("_", "-")


def _table(fields: dict[str, FieldInfo]) -> list[str]:
    rows = [
        f"| `{name}` | {_type(field)} | {_default(field)} | {_escape(str(field.description))} |"
        for name, field in fields.items()
    ]
    return ["| key | type | default | meaning |", "|---|---|---|---|", *rows]


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.default
    if value is PydanticUndefined or field.default_factory is not None:
        factory = typing.cast(Any, field.default_factory)
        value = factory() if factory in (dict, list) else getattr(factory, "__name__", "")
        if isinstance(value, str):
            return {"LocalExecution": "`backend: local`"}.get(value, "")
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{' '.join(map(str, value))}]`"
    if value == "":
        return "`''`"
    return f"`{value}`"


def _type(field: FieldInfo) -> str:
    names = list(dict.fromkeys(_names(field.annotation)))
    return " or ".join(name for name in names if name != "none") or "any"


def _names(annotation: Any) -> Iterator[str]:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        yield from _names(arguments[0])
    elif origin in (typing.Union, types.UnionType):
        for argument in arguments:
            yield from _names(argument)
    elif origin is typing.Literal:
        yield from (f"`{argument}`" for argument in arguments)
    elif origin is tuple:
        yield "list of " + " or ".join(dict.fromkeys(_names(arguments[0])))
    elif origin is dict:
        yield "names to " + " or ".join(dict.fromkeys(_names(arguments[1])))
    elif annotation is type(None):
        yield "none"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield f"[{annotation.__name__}](#{_anchor(annotation)})"
    else:
        plain = {int: "integer", float: "number", str: "text", bool: "true/false", Path: "path"}
        yield plain.get(annotation, getattr(annotation, "__name__", "text").lower())


def _anchor(section: type[BaseModel]) -> str:
    for title, _, sections in SECTIONS:
        if section in sections:
            return section.__name__.lower() if len(sections) > 1 else title.lower().replace(" ", "-")
    return "top-level"


def _first_sentence(thing: Any) -> str:
    return " ".join(re.split(r"\n\s*\n", (thing.__doc__ or "").strip())[0].split())


def _words(names: tuple[str, ...]) -> str:
    return " ".join(f"`{name}`" for name in names)


def main(arguments: list[str]) -> int:
    """Write or check the pages; return the exit code."""
    pages = {"config.md": config_page(), "cli.md": cli_page(), "python.md": python_page()}
    stale = []
    for name, text in pages.items():
        path = PAGES / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8", newline="\n")
    if stale and "--check" in arguments:
        print(f"out of date: {', '.join(stale)}; run python docs/generate_reference.py", file=sys.stderr)
        return 1
    print(f"written: {', '.join(stale)}" if stale else "up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
