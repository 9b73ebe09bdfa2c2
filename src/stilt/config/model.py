"""
The whole configuration of a project: ``config.yaml``.

::

    mets:
      hrrr:
        directory: met
        file_format: "%Y%m%d_%H"
        file_tres: 1h
    grids:
      slv: {xmin: -113, xmax: -111, ymin: 40, ymax: 42, xres: 0.01, yres: 0.01}
    footprints:
      slv:
        grid: slv
    n_hours: -24
    numpar: 200

Reading it reads one file and nothing else: no folder is searched and nothing is downloaded.
The file belongs to the user and is never rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from stilt.config.chain import chain_section, met_chain
from stilt.config.execution import ExecutionConfig, LocalExecution
from stilt.config.footprint import FootprintConfig
from stilt.config.hysplit import HysplitConfig
from stilt.config.met import MetConfig
from stilt.config.transforms import VerticalOperatorTransform
from stilt.config.transport import NEAR_FIELD_COLUMNS, TransportParams
from stilt.config.yaml_file import dump_yaml, parse_yaml, read_yaml
from stilt.errors import ConfigError, UnknownFootprintError
from stilt.ids import check_footprint_name, check_met_key
from stilt.sections import Section
from stilt.spatial import Grid
from stilt.spelling import did_you_mean

_SECTIONS = ("mets", "grids", "footprints", "engine", "hysplit", "skip_existing", "execution")


class ModelConfig(TransportParams):
    """
    Everything ``config.yaml`` may say.

    The run, transport and error keys stand flat at the top level;
    :meth:`transport_params` gathers them for an engine.

    Examples
    --------
    >>> met = MetConfig(directory="/data/hrrr", file_format="%Y%m%d_%H")
    >>> config = ModelConfig(mets={"hrrr": met}, n_hours=-6)
    >>> config.transport_params().n_hours
    -6
    """

    mets: dict[str, MetConfig] = Field(
        description="Meteorologies by name; each receptor runs with each of them, but for those that only "
        "serve as the fallback of another. A list under one name is a met and its fallbacks."
    )
    grids: dict[str, Grid] = Field(default_factory=dict, description="Named grids that footprints refer to.")
    footprints: dict[str, FootprintConfig] = Field(
        default_factory=dict, description="Footprints by name; none runs trajectories only."
    )
    engine: Literal["native", "hysplit"] = Field(
        default="native", description="What computes trajectories [name]."
    )
    hysplit: HysplitConfig = Field(
        default_factory=HysplitConfig, description="The program that engine hysplit runs: exe, data_dir."
    )
    skip_existing: bool = Field(default=True, description="Leave complete simulations alone [true/false].")
    execution: ExecutionConfig = Field(
        default_factory=LocalExecution, description="Where simulations run; a union on backend."
    )

    @field_validator("mets", mode="before")
    @classmethod
    def _lists_are_chains(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: chain_section(name, met) for name, met in value.items()}

    @field_validator("mets")
    @classmethod
    def _met_names(cls, value: dict[str, MetConfig]) -> dict[str, MetConfig]:
        if not value:
            raise ValueError("no meteorology is configured; add at least one under mets")
        for name in value:
            check_met_key(name)
        for name in value:
            met_chain(value, name)
        return value

    @field_validator("footprints")
    @classmethod
    def _footprint_names(cls, value: dict[str, FootprintConfig]) -> dict[str, FootprintConfig]:
        for name in value:
            check_footprint_name(name)
        return value

    @field_validator("footprints", "grids", "execution", "hysplit", mode="before")
    @classmethod
    def _empty_section(cls, value: Any) -> Any:
        # a section whose entries are all commented out reads as None
        return {} if value is None else value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name, footprint in self.footprints.items():
            if isinstance(footprint.grid, str) and footprint.grid not in self.grids:
                raise ValueError(
                    f"footprints.{name}.grid: unknown grid '{footprint.grid}', "
                    f"{did_you_mean(footprint.grid, self.grids)}"
                )
            if footprint.error and not self.is_error:
                raise ValueError(
                    f"footprints.{name}.error: there is no error trajectory; set siguverr, ... "
                    "or sigzierr, ..., or error: false"
                )
            weighs_air = [
                transform.mode
                for transform in footprint.transforms
                if isinstance(transform, VerticalOperatorTransform) and transform.needs_pressure
            ]
            absent = [column for column in ("zagl", "pres") if column not in self.varsiwant]
            if weighs_air and absent:
                raise ValueError(
                    f"varsiwant: vertical_operator mode {weighs_air[0]} of footprints.{name} needs "
                    f"{', '.join(absent)}; add them"
                )
        if self.hnf_plume:
            missing = [column for column in NEAR_FIELD_COLUMNS if column not in self.varsiwant]
            if missing:
                raise ValueError(
                    f"varsiwant: the near-field correction (hnf_plume) needs {', '.join(missing)}; "
                    "add them or set hnf_plume: false"
                )
            if self.outdt > 1:
                raise ValueError(
                    f"outdt: {self.outdt:g} with hnf_plume: the near-field correction follows the plume "
                    "minute by minute and would be lost; set outdt: 0 or hnf_plume: false"
                )
        return self

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """
        Read ``config.yaml``.

        Parameters
        ----------
        path : str or Path
            File to read. Relative folders in it are kept as written; see :meth:`resolved`.

        Returns
        -------
        ModelConfig
            The configuration.

        Raises
        ------
        ConfigError
            One line naming the file, the key and the value.
        """
        return cls.from_mapping(read_yaml(path), source=path)

    @classmethod
    def from_yaml_text(cls, text: str, *, source: str = "config.yaml") -> Self:
        """
        Read a configuration from text, as it comes from a store.

        Parameters
        ----------
        text : str
            YAML.
        source : str
            Where it came from, for messages.

        Returns
        -------
        ModelConfig
            The configuration.
        """
        return cls.from_mapping(parse_yaml(text, source), source=source)

    def to_yaml(self, path: str | Path | None = None) -> str:
        """
        Write the configuration as YAML: the sections, and the keys that differ from their default.

        Parameters
        ----------
        path : str or Path, optional
            File to write; none only returns the text.

        Returns
        -------
        str
            Text that :meth:`from_yaml` reads back to an equal configuration.
        """
        values = self.model_dump(mode="json", exclude_defaults=True)
        # a union needs its tag also where it is the default of its class
        values["execution"] = {"backend": self.execution.backend, **values.get("execution", {})}
        if values["execution"] == {"backend": "local"}:
            del values["execution"]
        for entry, footprint in zip(
            values.get("footprints", {}).values(), self.footprints.values(), strict=True
        ):
            if isinstance(footprint.grid, Grid):
                entry.update(entry.pop("grid"))
        ordered = {key: values.pop(key) for key in _SECTIONS if key in values} | values
        text = dump_yaml(ordered)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8", newline="\n")
        return text

    def resolved(self, base: str | Path) -> ModelConfig:
        """
        Return the same configuration with relative folders made absolute.

        Parameters
        ----------
        base : str or Path
            Folder that relative paths count from: the one ``config.yaml`` lies in.

        Returns
        -------
        ModelConfig
            With absolute folders.
        """
        return self.replace(
            mets={name: met.resolved(base) for name, met in self.mets.items()},
            hysplit=self.hysplit.resolved(base),
        )

    @property
    def engine_section(self) -> Section | None:
        """The section that belongs to the chosen engine; none for an engine without one."""
        return self.hysplit if self.engine == "hysplit" else None

    def transport_params(self) -> TransportParams:
        """
        Return the run, transport and error keys: what an engine receives.

        Returns
        -------
        TransportParams
            One flat, frozen section.
        """
        return TransportParams(**{name: getattr(self, name) for name in TransportParams.model_fields})

    def met(self, name: str) -> MetConfig:
        """
        Return a meteorology by name.

        Parameters
        ----------
        name : str
            Key under ``mets``.

        Returns
        -------
        MetConfig
            Its section.
        """
        if name not in self.mets:
            raise ConfigError(f"no met named '{name}'; configured: {', '.join(self.mets)}")
        return self.mets[name]

    def met_chain(self, name: str) -> tuple[tuple[str, MetConfig], ...]:
        """
        Return a meteorology and those in which its particles go on.

        Parameters
        ----------
        name : str
            Key under ``mets``.

        Returns
        -------
        tuple of (str, MetConfig)
            Names and sections in the order of preference; one without ``fallback``. A fallback without a
            name of its own is called after the met, such as ``hrrr.2``.
        """
        self.met(name)
        return met_chain(self.mets, name)

    @property
    def run_mets(self) -> tuple[str, ...]:
        """Names of the meteorologies that receptors run with: all that do not only serve as a fallback."""
        helping = {
            other for name in self.mets for other, _ in met_chain(self.mets, name)[1:] if other in self.mets
        }
        return tuple(name for name, met in self.mets.items() if met.standalone or name not in helping)

    @property
    def every_met(self) -> dict[str, MetConfig]:
        """All meteorologies by name, with the fallbacks that have no name of their own."""
        return {other: section for name in self.mets for other, section in met_chain(self.mets, name)}

    def footprint_grid(self, name: str) -> Grid:
        """
        Return the grid of a footprint, named or inline.

        Parameters
        ----------
        name : str
            Key under ``footprints``.

        Returns
        -------
        Grid
            The grid.
        """
        footprint = self._footprint(name)
        return self.grids[footprint.grid] if isinstance(footprint.grid, str) else footprint.grid

    def footprint(self, name: str) -> FootprintConfig:
        """
        Return a footprint section whose ``grid`` is the grid itself.

        Parameters
        ----------
        name : str
            Key under ``footprints``.

        Returns
        -------
        FootprintConfig
            With its grid looked up.
        """
        return self._footprint(name).replace(grid=self.footprint_grid(name))

    def _footprint(self, name: str) -> FootprintConfig:
        if name not in self.footprints:
            configured = (
                f"configured: {', '.join(self.footprints)}" if self.footprints else "none is configured"
            )
            raise UnknownFootprintError(f"no footprint named '{name}'; {configured}")
        return self.footprints[name]
