"""config.yaml: every form of it, and one line for every mistake."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from stilt.config import (
    DaskExecution,
    FootprintConfig,
    Grid,
    KubernetesExecution,
    LocalExecution,
    MetConfig,
    ModelConfig,
    SlurmExecution,
)
from stilt.errors import ConfigError

MET = "mets: {hrrr: {directory: /data/hrrr, file_format: '%Y%m%d_%H', file_tres: 1h}}\n"
GRID = "{xmin: -113, xmax: -111, ymin: 40, ymax: 42, xres: 0.01, yres: 0.01}"
SLV = Grid(xmin=-113, xmax=-111, ymin=40, ymax=42, xres=0.01, yres=0.01)

FULL = f"""
# a project
mets:
  hrrr:
    directory: met
    file_format: "%Y%m%d_%H"
    file_tres: 6h
    n_min: 2
    subgrid_enable: true
    subgrid_bounds: {{xmin: -114, xmax: -110, ymin: 39, ymax: 43}}
    subgrid_levels: 20
  gdas: {{source: gdas1}}
grids:
  slv: {GRID}
footprints:
  default: {{grid: slv, smooth_factor: 0.5, time_integrate: true}}
  utm:
    xmin: -113
    xmax: -111
    ymin: 40
    ymax: 42
    xres: 1000
    yres: 1000
    projection: EPSG:32612
    error: true
    transforms:
      - {{kind: first_order_lifetime, lifetime_hours: 4}}
      - {{kind: vertical_operator, mode: ak, levels: [0, 1000], values: [1, 0.5]}}
      - my_package.weights:by_height
execution: {{backend: local, n_workers: 2}}
engine: native
skip_existing: false
n_hours: -12
ziscale: [0.8, 0.9]
siguverr: 2
tluverr: 60
zcoruverr: 100
horcoruverr: 5
"""


def read(text: str) -> ModelConfig:
    return ModelConfig.from_yaml_text(text)


def test_the_python_form_of_the_documentation():
    """A met and nothing else is a config: trajectories only."""
    met = MetConfig(directory="/data/hrrr", file_format="%Y%m%d_%H", file_tres="1h")
    config = ModelConfig(mets={"hrrr": met})
    assert config == read(MET)
    assert config.met("hrrr").directory == Path("/data/hrrr")
    assert config.footprints == {}
    assert (config.engine, config.skip_existing, config.execution) == (
        "native",
        True,
        LocalExecution(n_workers=1),
    )
    assert config.n_hours == -24


def test_everything_a_file_may_say():
    """Sections, nested sections and flat keys."""
    config = read(FULL)
    assert list(config.mets) == ["hrrr", "gdas"]
    assert config.mets["hrrr"].file_interval == timedelta(hours=6)
    assert config.mets["hrrr"].subgrid_bounds.east == -110
    assert config.mets["gdas"].is_download
    assert config.footprint_grid("default") == SLV
    assert not config.footprint_grid("utm").is_longlat
    assert config.footprint("default").grid == SLV
    kinds = [transform.kind for transform in config.footprints["utm"].transforms]
    assert kinds == ["first_order_lifetime", "vertical_operator", "my_package.weights:by_height"]
    assert config.execution == LocalExecution(n_workers=2)
    assert not config.skip_existing
    assert config.ziscale == (0.8, 0.9)
    params = config.transport_params()
    assert (params.n_hours, params.has_wind_error, params.ziscale) == (-12, True, (0.8, 0.9))


@pytest.mark.parametrize(
    "text", [MET, FULL, MET + "execution: {backend: slurm, time: 1:00:00, partition: on}\n"]
)
def test_a_written_config_reads_back_equal(tmp_path, text):
    """Through a file, through text and through another process."""
    config = read(text)
    path = tmp_path / "config.yaml"
    written = config.to_yaml(path)
    assert ModelConfig.from_yaml(path) == config
    assert read(written) == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert yaml.safe_load(written).keys() >= {"mets"}


def test_a_footprint_may_hold_its_grid():
    """Inline keys, a nested grid and a name are three spellings."""
    inline = read(MET + f"footprints: {{slv: {GRID}}}\n")
    nested = read(MET + f"footprints: {{slv: {{grid: {GRID}}}}}\n")
    named = read(MET + f"grids: {{g: {GRID}}}\nfootprints: {{slv: {{grid: g}}}}\n")
    assert inline == nested
    assert inline.footprint_grid("slv") == named.footprint_grid("slv") == SLV
    assert FootprintConfig(grid=SLV).own_grid() == SLV
    with pytest.raises(ConfigError, match="grid 'g' is a name"):
        named.footprints["slv"].own_grid()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{n_workers: 3}", LocalExecution),
        (
            "{backend: slurm, cpus-per-task: 2, array_parallelism: 10, setup: [module load stilt]}",
            SlurmExecution,
        ),
        ("{backend: kubernetes, image: stilt:1, mode: pull}", KubernetesExecution),
        ("{backend: dask, address: 'tcp://host:8786'}", DaskExecution),
    ],
)
def test_each_backend_has_its_own_section(text, kind):
    """A union on ``backend``; local when it is not said."""
    config = read(MET + f"execution: {text}\n")
    assert type(config.execution) is kind
    assert read(config.to_yaml()) == config


def test_a_time_limit_is_not_a_number():
    """YAML 1.1 reads 1:00:00 as 3600, which Slurm would take for minutes."""
    assert read(MET + "execution: {backend: slurm, time: 1:00:00}").execution.time == "1:00:00"


def test_numbers_may_be_written_with_an_exponent():
    """YAML 1.1 reads 1e4 as text."""
    assert read(MET + "hscale: 1e4\nkmix0: 0100\n").hscale == 10000
    assert read(MET + "kmix0: 0100\n").kmix0 == 100


def test_relative_folders_count_from_the_config(tmp_path):
    """They are kept as written until they are resolved, so a project can be moved."""
    config = read(MET.replace("/data/hrrr", "met"))
    assert config.mets["hrrr"].directory == Path("met")
    assert config.resolved(tmp_path).mets["hrrr"].directory == tmp_path / "met"
    assert read(MET).resolved(tmp_path) == read(MET)


@pytest.mark.parametrize("text", ["execution:", "footprints:", "grids:"])
def test_a_section_with_nothing_in_it_is_absent(text):
    """As when all its lines are commented out."""
    assert read(MET + text) == read(MET)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config.yaml is empty"),
        ("- a", "holds a list"),
        ("a: b: c", "config.yaml, line 1, column 5: mapping values are not allowed here"),
        ("mets:\n\thrrr: 1", "line 2, column 1: .*indent with spaces"),
        ("mets: {hrrr: {file_format: %Y}}", "line 1, column 28: .*put the value in quotes"),
        (MET + "numpar: 1\nnumpar: 2", "line 3, column 1: key 'numpar' is already given in line 2"),
        ("mets: {hrrr: {n_min: 1, n_min: 1}}", "key 'n_min' is already given in line 1"),
        ("{[1]: 2}", "a key must be a word or a number"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("numpar: 3", "'mets' missing; add it"),
        ("mets: {}", "no meteorology is configured"),
        ("mets:", "mets: should hold names with values"),
        ("mets: {HRRR: {source: hrrr}}", "met name 'HRRR' cannot be used"),
        ("mets: {1: {source: hrrr}}", "mets: name 1 is not text; put it in quotes"),
        ("mets: {hrrr: met}", r"mets.hrrr: should hold keys with values \(got 'met'\)"),
        ("mets: {hrrr: {}}", r"mets.hrrr: no meteorology: give directory \(and file_format\)"),
        ("mets: {h: {directory: m, file_format: ['%Y', '']}}", "mets.h.file_format: '' is no begin"),
        ("mets: {hrrr: {directory: '', file_format: '%Y'}}", "mets.hrrr.directory: an empty path"),
        (
            "mets: {h: {directory: m, file_format: a/%Y}}",
            "mets.h.file_format: 'a/%Y' is no begin of a file name",
        ),
        (
            "mets: {h: {directory: m, file_format: '%Y', file_tres: often}}",
            "file_tres: 'often' is no length of time",
        ),
        ("mets: {h: {directory: m, file_format: '%Y', file_tres: 1}}", "file_tres: 1 is no length of time"),
        ("mets: {h: {directory: m, source: hrrr, file_format: '%Y'}}", "both directory and source 'hrrr'"),
        ("mets: {h: {source: hrrr, file_format: '%Y'}}", "file_format belongs to directory"),
        ("mets: {h: {source: hrr}}", "mets.h.source: unknown source 'hrr', did you mean 'hrrr'"),
        ("mets: {h: {source: hrrr, subgrid_enable: true}}", "subgrid_enable needs subgrid_bounds"),
        (
            "mets: {h: {source: hrrr, subgrid_bounds: {xmin: 1}}}",
            "mets.h.subgrid_bounds: 'xmax', 'ymin', 'ymax' missing",
        ),
        (
            "mets: {h: {source: hrrr, file_formt: 1}}",
            "mets.h: unknown key 'file_formt', did you mean 'file_format'",
        ),
        (MET + "n_hour: -3", "config.yaml: unknown key 'n_hour', did you mean 'n_hours'"),
        (MET + "xyzzy: 3", "unknown key 'xyzzy', valid names: .*n_hours"),
        (MET + "1: 3", "key 1 is not text; put it in quotes"),
        (MET + "engine: hysplt", "engine: should be 'native' or 'hysplit'"),
        (MET + "execution: {backend: slum}", "execution: unknown backend 'slum', did you mean 'slurm'"),
        (MET + "execution: {n_worker: 2}", "execution: unknown key 'n_worker', did you mean 'n_workers'"),
        (MET + "execution: {n_workers: 0}", "execution.n_workers: should be greater than or equal to 1"),
        (MET + "execution: {backend: slurm, partitio: a}", "key 'partitio', did you mean 'partition'"),
        (MET + "execution: local", "execution: should"),
        (
            MET + f"grids: {{slv: {GRID}}}\nfootprints: {{a: {{grid: slw}}}}",
            "footprints.a.grid: unknown grid 'slw', did you",
        ),
        (MET + "footprints: {a: {grid: slw}}", "unknown grid 'slw', no names are defined"),
        (MET + "footprints: {a: {smooth_factor: 1}}", "footprints.a: 'grid' missing"),
        (
            MET + f"grids: {{g: {GRID}}}\nfootprints: {{a: {{grid: g, xmin: 3}}}}",
            "both grid and xmin are given",
        ),
        (
            MET + "footprints: {a: {xmin: 3}}",
            "footprints.a.grid: 'xmax', 'ymin', 'ymax', 'xres', 'yres' missing",
        ),
        (MET + f"footprints: {{A: {GRID}}}", "footprint name 'A' cannot be used"),
        (MET + f"footprints: {{a_error: {GRID}}}", "the ending '_error'"),
        (
            MET + f"footprints: {{a: {{grid: {GRID}, smoothfactor: 1}}}}",
            "footprints.a: unknown key 'smoothfactor', did you",
        ),
        (
            MET + f"footprints: {{a: {{grid: {GRID}, error: true}}}}",
            "footprints.a.error: there is no error trajectory",
        ),
        (
            MET + f"footprints: {{a: {{grid: {GRID}, smooth_factor: -1}}}}",
            "footprints.a.smooth_factor: should be",
        ),
        (
            MET + f"footprints: {{a: {{grid: {GRID}, transforms: [{{kind: first_order_lifetim}}]}}}}",
            r"footprints.a.transforms\[0\].kind: unknown transform 'first_order_lifetim', did you mean",
        ),
        (
            MET + f"footprints: {{a: {{grid: {GRID}, transforms: [{{kind: first_order_lifetime}}]}}}}",
            r"footprints.a.transforms\[0\]: 'lifetime_hours' missing",
        ),
        (MET + "footprints: [a]", "footprints: should hold names with values"),
        (
            MET + "varsiwant: [time, indx, long, lati, foot]",
            r"hnf_plume\) needs samt, sigw, tlgr, mlht, dens",
        ),
        (MET + "siguverr: 1", "siguverr given without"),
        (
            MET + "n_hours: abc\nnumpar: x",
            r"n_hours: should be a whole number \(got 'abc'\) \(and 1 more problem\)",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_it(text, message):
    """File, key, value and remedy; never several lines."""
    with pytest.raises(ConfigError, match=message) as caught:
        read(text)
    assert str(caught.value).startswith("config.yaml")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    """Missing, a folder, not text."""
    with pytest.raises(ConfigError, match=r"no such file.*stilt init"):
        ModelConfig.from_yaml(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        ModelConfig.from_yaml(tmp_path)
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    with pytest.raises(ConfigError, match="cannot be read as UTF-8"):
        ModelConfig.from_yaml(tmp_path / "latin")


def test_five_columns_are_enough_without_the_near_field_correction():
    """The correction reads the others."""
    config = read(MET + "varsiwant: [time, indx, long, lati, foot]\nhnf_plume: false\n")
    assert len(config.varsiwant) == 5


def test_unknown_names_list_the_known_ones():
    """For footprints and mets asked for by name."""
    config = read(FULL)
    with pytest.raises(KeyError, match="no footprint named 'utn'; configured: default, utm"):
        config.footprint_grid("utn")
    with pytest.raises(ConfigError, match="no met named 'x'; configured: hrrr, gdas"):
        config.met("x")


def test_every_field_of_every_section_is_described():
    """The reference page is made from these sentences."""
    sections = (
        ModelConfig,
        MetConfig,
        FootprintConfig,
        Grid,
        LocalExecution,
        SlurmExecution,
        KubernetesExecution,
        DaskExecution,
    )
    for section in sections:
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
