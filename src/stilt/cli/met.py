"""``stilt met``: looking at meteorology and cutting it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stilt.cli.entry import EXIT_FAILED, set_debug

if TYPE_CHECKING:
    from stilt.meteorology.download import Arrival
    from stilt.meteorology.inventory import Inventory

met_app = typer.Typer(
    name="met",
    help="Look at meteorology, cut it, convert it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_LISTED = 6
_AROUND = 300.0
"""Width [degrees] from which a box across the date line is taken for swapped edges."""
Debug = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks.", callback=set_debug, show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", show_default=False)]


@met_app.command("ls")
def ls(
    where: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder of meteorology, or a project with config.yaml.")
    ] = ".",
    file_format: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="PATTERN", help="Begin of the file names, such as %Y%m%d_%H."),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """List the meteorology of a folder, or of a project: grids, times, gaps, damage."""
    from stilt.cli import show
    from stilt.errors import ProjectError
    from stilt.meteorology.inventory import inventory

    folder = Path(where)
    if folder.is_file():
        raise ProjectError(f"{where} is a file; `stilt met info {where}` describes it.")
    found: dict[str, Inventory] = {}
    if file_format is None and (folder / "config.yaml").is_file():
        from stilt.config import ModelConfig

        for name, met in ModelConfig.from_yaml(folder / "config.yaml").every_met.items():
            met = met.resolved(folder)
            if met.directory is not None:
                found[name] = inventory(met.directory, met.file_format, name=name)
        if not found:
            raise ProjectError(f"{folder}/config.yaml names no folder of meteorology; give one.")
    else:
        found[folder.name or "met"] = inventory(folder, file_format or None, name=folder.name or "met")
    if as_json:
        show.as_json({name: each.to_dict() for name, each in found.items()})
    else:
        for name, each in found.items():
            _print_inventory(name, each)
    return EXIT_FAILED if any(each.faults for each in found.values()) else 0


def _print_inventory(name: str, found: Inventory) -> None:
    from stilt.cli.show import size

    print(f"{name}: {found.directory}")
    for kind in found.kinds:
        print(f"  model {kind.model}, {kind.grid}, {kind.levels}")
        files = (
            f"1 file ({size(kind.bytes)}),"
            if kind.n_files == 1
            else f"{kind.n_files} files ({size(kind.bytes)}), such as"
        )
        print(f"    {files} {kind.example}")
        print(
            f"    {kind.n_times} times, {kind.first} to {kind.last} UTC"
            + (f" every {kind.interval_minutes} min" if kind.interval_minutes else "")
        )
        print(f"    particles may be at {kind.box}")
        for before, after in kind.gaps[:_LISTED]:
            print(f"    gap: {before} is followed by {after}")
        if kind.n_gaps > _LISTED:
            print(f"    and {kind.n_gaps - _LISTED} more gaps")
        if kind.duplicates:
            print(
                f"    {kind.duplicates} times are in more than one file: the shorter forecast is used, "
                "then the first in order"
            )
    if found.links:
        print(f"  {found.links} names are links to files counted already")
    if found.others:
        print(f"  {found.others} other files")
    for fault in found.faults[:_LISTED]:
        print(f"  damaged: {fault}")
    if len(found.faults) > _LISTED:
        print(f"  and {len(found.faults) - _LISTED} more damaged files (--json lists them)")


@met_app.command("info")
def info(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Meteorology files.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Read everything and check the sums.", show_default=False)
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what meteorology files hold: grid, levels, variables, times."""
    from stilt.cli import show
    from stilt.meteorology.arl.file import open_arl
    from stilt.meteorology.inventory import file_facts

    facts = []
    for path in files:
        file = open_arl(path)
        if verify:
            file.verify()
        facts.append({**file_facts(file), **({"verified": True} if verify else {})})
    if as_json:
        show.as_json(facts[0] if len(facts) == 1 else facts)
        return
    for each in facts:
        _print_facts(each)


def _print_facts(facts: Mapping[str, Any]) -> None:
    from stilt.cli.show import size

    grid, levels, variables = facts["grid"], facts["levels"], facts["variables"]
    print(f"{facts['path']} ({size(facts['size'])})" + (", verified" if facts.get("verified") else ""))
    print(f"  model      {facts['model']}")
    print(f"  grid       {grid['description']}")
    print(f"             corners {_corner(grid['south_west'])} and {_corner(grid['north_east'])}")
    print(f"             particles may be at {grid['particles_may_be_at']}")
    heights = " ".join(f"{height:g}" for height in levels["heights"][1:])
    print(f"  levels     {levels['count']} {levels['kind']}: {heights}")
    print(f"  surface    {' '.join(variables['surface'])}")
    print(f"  above      {' '.join(variables['upper'])}")
    every = {tuple(names) for names in variables["by_level"][1:]}
    if len(every) > 1:
        print("             (not every level has all of them; --json lists them)")
    times: Sequence[str] = facts["times"]
    hours = facts["forecast_hours"]
    steps = ", ".join(str(step) for step in facts["interval_minutes"])
    print(
        f"  times      {len(times)}: {times[0]} to {times[-1]} UTC" + (f" every {steps} min" if steps else "")
    )
    if any(hours):
        print(f"  forecast   hours {min(hours)} to {max(hours)}")


def _corner(position: Sequence[float]) -> str:
    return f"{position[0]:g} E {position[1]:g} N"


@met_app.command("crop")
def crop(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="ARL files.")],
    bounds: Annotated[
        tuple[float, float, float, float],
        typer.Option("--bounds", metavar="WEST EAST SOUTH NORTH", help="Box to keep [degrees]."),
    ],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder for the cut files.")],
    buffer: Annotated[
        float,
        typer.Option("--buffer", metavar="DEGREES", min=0.0, help="Margin around the box; default: 0.2."),
    ] = 0.2,
    levels: Annotated[
        int | None,
        typer.Option("--levels", metavar="N", min=1, help="Levels to keep above the surface; default: all."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Cut ARL files to a box; values inside stay the same, bit for bit."""
    from stilt.cli.show import size
    from stilt.errors import ProjectError
    from stilt.meteorology.arl.file import open_arl
    from stilt.meteorology.crop import Cut, crop_arl
    from stilt.meteorology.inventory import describe_grid
    from stilt.spatial import Bounds

    west, east, south, north = bounds
    if west > east and (east - west) % 360.0 > _AROUND:
        raise ProjectError(
            f"from {west:g} eastward to {east:g} it is {(east - west) % 360.0:g} degrees around the globe; "
            "--bounds wants WEST EAST SOUTH NORTH."
        )
    cut = Cut(Bounds(xmin=west, xmax=east, ymin=south, ymax=north), buffer, levels)
    for path in files:
        source = open_arl(path)
        target = Path(out, source.name)
        if target.exists():
            raise ProjectError(f"{target} is there already; remove it or choose another folder.")
        smaller = open_arl(crop_arl(source, cut, target))
        print(
            f"{target}: {describe_grid(smaller.grid)}, {smaller.levels.n_upper} levels, "
            f"{size(source.size)} cut to {size(smaller.size)}"
        )


@met_app.command("download")
def download(
    project: Annotated[str, typer.Argument(metavar="[PROJECT]", help="Folder with config.yaml.")] = ".",
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Check the files that are here, and replace damaged ones.", show_default=False
        ),
    ] = False,
    output_dir: Annotated[
        str | None,
        typer.Option("--output-dir", metavar="DIR", help="Where outputs live; default: the project."),
    ] = None,
    debug: Debug = False,
) -> int:
    """Download what the receptors of a project need, so that runs need no network."""
    from stilt.cli.show import size
    from stilt.model import Model

    def told(arrival: Arrival) -> None:
        if arrival.fetched:
            print(f"{arrival.wanted.path} ({size(arrival.wanted.path.stat().st_size)})", flush=True)

    done = Model(project, output_dir=output_dir).download_met(verify=verify, told=told)
    failed = 0
    for name, arrivals in done.items():
        fetched = sum(arrival.fetched for arrival in arrivals)
        problems = list(dict.fromkeys(arrival.problem for arrival in arrivals if arrival.problem))
        missing = sum(bool(arrival.problem) for arrival in arrivals)
        print(
            f"met '{name}': {len(arrivals)} files needed, {fetched} downloaded, "
            f"{len(arrivals) - fetched - missing} were here, {missing} missing"
        )
        for problem in problems[:_LISTED]:
            print(f"  {problem}")
        failed += missing
    return EXIT_FAILED if failed else 0


@met_app.command("convert")
def convert(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="NetCDF or GRIB files, Zarr stores.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="File to write.")],
    preset: Annotated[
        str, typer.Option("--preset", metavar="NAME", help="era5, wrf or cf, whose conventions they follow.")
    ] = "cf",
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="NAME", help="xarray's engine; default: guessed.")
    ] = None,
    variable: Annotated[
        list[str] | None,
        typer.Option("--variable", metavar="ARL=NAME", help="A variable that is not found by itself."),
    ] = None,
    winds: Annotated[
        str | None,
        typer.Option(
            "--winds", metavar="grid|earth", help="Where winds of projected data point, if they do not say."
        ),
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="Format to write; arl.")] = "arl",
    debug: Debug = False,
) -> None:
    """Convert gridded data to an ARL file."""
    from stilt.cli.show import size
    from stilt.config import MetConfig
    from stilt.errors import ProjectError
    from stilt.meteorology.arl.file import open_arl
    from stilt.meteorology.convert import convert_to_arl
    from stilt.meteorology.gridded.file import open_gridded
    from stilt.meteorology.inventory import describe_grid

    if to != "arl":
        raise ProjectError(f"'{to}' cannot be written; only arl can.")
    if Path(out).exists():
        raise ProjectError(f"{out} is there already; remove it or choose another name.")
    pairs = [text.partition("=") for text in variable or []]
    for name, sign, other in pairs:
        if not (name and sign and other):
            raise ProjectError(f"--variable wants ARL=NAME, such as TEMP=t, not '{name}{sign}{other}'.")
    met = MetConfig.from_mapping(
        {
            "source": "xarray",
            "path": paths,
            "engine": engine,
            "preset": preset,
            "winds": winds,
            "variables": {name: other for name, _, other in pairs},
        },
        source="stilt met convert",
    )
    written = open_arl(convert_to_arl(open_gridded(met.resolved(Path.cwd()), Path(out).stem), out))
    print(
        f"{out}: {describe_grid(written.grid)}, {written.levels.n_upper} {written.levels.kind} levels, "
        f"{len(written.times)} times, {size(written.size)}"
    )
