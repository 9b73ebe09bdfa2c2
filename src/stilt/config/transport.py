"""
Every key that steers a run: STILT's run options, HYSPLIT's namelist, the error parameters.

The names are HYSPLIT's and STILT's own, because users have them in scripts and papers.
An engine receives one :class:`TransportParams`; which keys mean something for it is the
engine's business, and it refuses the others by name rather than ignore them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from stilt.errors import ConfigError
from stilt.sections import Float, Int, Section
from stilt.spelling import did_you_mean

OUTPUT_COLUMNS = tuple(
    "time indx long lati zagl sigw tlgr zsfc icdx temp samt foot shtf tcld dmas dens rhfr sphu lcld zloc "
    "dswf wout mlht rain crai pres whtf temz zfx1".split()
)
"""Names that ``varsiwant`` may hold."""

REQUIRED_COLUMNS = ("time", "indx", "long", "lati", "foot")
"""Columns without which there is no trajectory and no footprint."""

NEAR_FIELD_COLUMNS = ("samt", "sigw", "tlgr", "mlht", "dens")
"""Columns the hyper-near-field correction (``hnf_plume``) reads."""

WIND_ERROR_KEYS = ("siguverr", "tluverr", "zcoruverr", "horcoruverr")
ZI_ERROR_KEYS = ("sigzierr", "tlzierr", "horcorzierr")

Flag = Annotated[
    Literal[0, 1], BeforeValidator(lambda value: int(value) if isinstance(value, bool) else value)
]
"""A switch that HYSPLIT writes as 0 or 1; ``true`` and ``false`` are understood."""


class RunParams(Section):
    """What to run: length, particles, random numbers, output columns."""

    n_hours: Int = Field(default=-24, description="Length of the run [h]; negative runs backward in time.")
    numpar: Int = Field(default=200, ge=1, description="Number of particles released [1].")
    seed: Int | None = Field(
        default=None,
        ge=0,
        description="Seed of the random numbers [1]; none means a fixed default, so runs repeat. "
        "Streams differ by receptor in any case.",
    )
    random: Literal["counter", "hysplit"] = Field(
        default="counter",
        description="Random numbers of engine native: counter-based, or the one stream of hycs_std's "
        "KRAND=2 and its rounding of the release, to follow a seeded run of that program row by row [name].",
    )
    release_terrain: Literal["program", "receptor"] = Field(
        default="program",
        description="Ground that release heights count from: as hycs_std has it, where a minute of mean wind "
        "from the receptor leads, or the model's terrain at the receptor itself [name].",
    )
    hnf_plume: bool = Field(
        default=True, description="Correct the dilution in the hyper-near field of the receptor [true/false]."
    )
    hnf_mode: Literal["rstilt", "taylor"] = Field(
        default="rstilt",
        description="Growth of the plume in that correction: as in STILT-R or by Taylor's formula [name].",
    )
    rm_dat: bool = Field(
        default=True, description="Remove the scratch folder also after a failure [true/false]."
    )
    timeout: Float | None = Field(
        default=None, gt=0, description="Longest time one simulation may take [s]; none means no limit."
    )
    varsiwant: tuple[str, ...] = Field(
        default=tuple("time indx long lati zagl foot mlht pres dens samt sigw tlgr".split()),
        description="Columns of the trajectory table, in order [names].",
    )

    @field_validator("n_hours")
    @classmethod
    def _runs_somewhere(cls, value: int) -> int:
        if value == 0:
            raise ValueError(
                "0 is no run; give a negative number of hours to run backward, a positive one forward"
            )
        return value

    @field_validator("varsiwant", mode="before")
    @classmethod
    def _split_words(cls, value: Any) -> Any:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("varsiwant")
    @classmethod
    def _known_columns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in OUTPUT_COLUMNS:
                raise ValueError(f"unknown column '{name}', {did_you_mean(name, OUTPUT_COLUMNS)}")
        repeated = sorted({name for name in value if value.count(name) > 1})
        if repeated:
            raise ValueError(f"column '{repeated[0]}' is listed more than once; list it once")
        missing = [name for name in REQUIRED_COLUMNS if name not in value]
        if missing:
            raise ValueError(
                f"'{' '.join(missing)}' missing; a trajectory needs {' '.join(REQUIRED_COLUMNS)}"
            )
        return value


class PhysicsParams(Section):
    """HYSPLIT's namelist (SETUP.CFG) and the few keys of CONTROL that STILT exposes."""

    capemin: Float = Field(
        default=-1, description="CAPE that starts convection [J kg-1]; -1 is off, -2, -3 Grell."
    )
    cmass: Int = Field(default=0, description="Grid output as concentration (0) or mass (1) [flag].")
    conage: Int = Field(default=48, description="Age at which particles turn to puffs or are dumped [h].")
    cpack: Int = Field(default=1, description="Packing of HYSPLIT's concentration file [flag].")
    delt: Float = Field(default=1, description="Integration time step [min]; 0 lets the program choose.")
    dxf: Float = Field(default=1, description="Horizontal X adjustment of the ensemble grid [grid cells].")
    dyf: Float = Field(default=1, description="Horizontal Y adjustment of the ensemble grid [grid cells].")
    dzf: Float = Field(default=0.01, description="Vertical adjustment of the ensemble grid [sigma].")
    efile: str = Field(default="", description="Name of a temporal emission file [file name].")
    emisshrs: Float = Field(default=0.01, ge=0, description="Duration of the release [h].")
    frhmax: Float = Field(default=3, description="Largest horizontal puff rounding [sigmas].")
    frhs: Float = Field(default=1, description="Horizontal puff rounding for merging [fraction].")
    frme: Float = Field(default=0.1, description="Mass rounding fraction for enhanced merging [fraction].")
    frmr: Float = Field(default=0, description="Mass removal fraction during enhanced merging [fraction].")
    frts: Float = Field(default=0.1, description="Temporal puff rounding [fraction].")
    frvs: Float = Field(default=0.01, description="Vertical puff rounding [fraction].")
    hscale: Float = Field(default=10800, gt=0, description="Horizontal Lagrangian time scale [s].")
    ichem: Int = Field(default=8, description="Chemistry or special mode [number]; 8 is the STILT mode.")
    idsp: Int = Field(default=2, description="Particle dispersion scheme [number]; 1 HYSPLIT, 2 STILT.")
    initd: Int = Field(default=0, description="Particles or puffs [number]; 0 is 3-D particles.")
    k10m: Flag = Field(default=1, description="Use the 10 m wind and 2 m temperature of the met [0/1].")
    kagl: Int = Field(
        default=1, description="Trajectory heights in HYSPLIT's own output: 0 MSL, 1 AGL [flag]."
    )
    kbls: Int = Field(
        default=1, description="Stability from fluxes (1) or from wind and temperature profiles (2) [number]."
    )
    kblt: Int = Field(default=5, description="Vertical turbulence scheme [number]; 5 is Hanna's.")
    kdef: Int = Field(
        default=0, description="Horizontal turbulence: 0 from the vertical one, 1 from deformation [flag]."
    )
    khinp: Int = Field(default=0, description="Age of particles read at the start of a run [h].")
    khmax: Int = Field(default=9999, description="Longest age of a particle [h].")
    kmix0: Int = Field(default=150, description="Smallest mixed-layer height [m AGL].")
    kmixd: Int = Field(
        default=3,
        description="Mixed-layer height: 0 from the met, 1 from temperature, 2 from TKE, "
        "3 bulk Richardson number [number]; 10 and more is a fixed height [m AGL].",
    )
    kmsl: Int | None = Field(
        default=None,
        ge=0,
        le=2,
        description="Release heights: 0 AGL, 1 MSL [flag]; taken from the receptor's altitude_ref, "
        "a conflict is an error.",
    )
    kpuff: Int = Field(default=0, description="Growth of horizontal puffs: 0 linear, 1 empirical [flag].")
    krand: Int = Field(default=4, description="Random number method of HYSPLIT [number].")
    krnd: Int = Field(default=6, description="Interval of enhanced merging [h].")
    kspl: Int = Field(default=1, description="Interval of puff splitting [h].")
    kwet: Int = Field(default=1, description="Precipitation from the met [flag].")
    kzmix: Int = Field(
        default=0,
        description="Vertical mixing: 0 varies with height, 1 averaged over the PBL, 2 scaled [number].",
    )
    maxdim: Int = Field(default=1, description="Largest number of pollutants on one particle [1].")
    maxpar: Int | None = Field(
        default=None, ge=1, description="Largest number of particles carried [1]; none means numpar."
    )
    mgmin: Int = Field(default=10, description="Smallest meteorological sub-grid [grid cells].")
    mhrs: Int = Field(default=9999, description="Longest trajectory [h].")
    nbptyp: Int = Field(default=1, description="Particle size bins per particle type [1].")
    ncycl: Int = Field(default=0, description="Interval of particle dumps [h].")
    ndump: Int = Field(default=0, description="Hour of the first particle dump [h]; 0 is none.")
    ninit: Int = Field(default=1, description="How particles are read at the start [number].")
    nstr: Int = Field(default=0, description="Interval at which trajectories are started anew [h].")
    nturb: Flag = Field(default=0, description="1 switches turbulence off [0/1].")
    nver: Int = Field(default=0, description="Number of vertical trajectory levels [1].")
    outdt: Float = Field(
        default=0, ge=0, description="Interval of the particle output [min]; 0 is every time step."
    )
    p10f: Float = Field(default=1, description="Threshold factor of dust emission [1].")
    pinbc: str = Field(default="", description="Particle file with boundary conditions [file name].")
    pinpf: str = Field(default="", description="Particle file read at the start [file name].")
    poutf: str = Field(default="", description="Particle file written [file name].")
    qcycle: Float = Field(default=0, description="Interval at which emissions repeat [h].")
    rhb: Float = Field(default=80, description="Relative humidity at cloud base [%].")
    rht: Float = Field(default=60, description="Relative humidity at cloud top [%].")
    splitf: Float = Field(default=1, description="Puff splitting factor [1].")
    tkerd: Float = Field(default=0.18, description="Daytime ratio of vertical to total turbulent energy [1].")
    tkern: Float = Field(
        default=0.18, description="Night-time ratio of vertical to total turbulent energy [1]."
    )
    tlfrac: Float = Field(
        default=0.1, gt=0, description="Turbulent time step as a fraction of the time scale [1]."
    )
    tout: Int = Field(default=0, description="Interval of HYSPLIT's trajectory output [min].")
    tratio: Float = Field(
        default=0.75, gt=0, description="Largest part of a grid cell crossed in one step [1]."
    )
    tvmix: Float = Field(default=1, description="Factor on vertical mixing under kzmix 2 [1].")
    veght: Float = Field(
        default=0.5,
        gt=0,
        description="Depth a surface flux is mixed into: a fraction of the PBL height [1], above 1 [m].",
    )
    vscale: Float = Field(default=200, description="Vertical Lagrangian time scale [s].")
    vscaleu: Float = Field(default=200, description="Vertical Lagrangian time scale, unstable [s].")
    vscales: Float = Field(
        default=-1, description="Vertical Lagrangian time scale, stable [s]; -1 uses Hanna's."
    )
    w_option: Int = Field(
        default=0, description="Vertical motion: 0 from the met, 1 isobaric, ... 4 divergence [number]."
    )
    wbbh: Float = Field(default=0, description="Height of a weather balloon burst [m].")
    wbwf: Float = Field(default=0, description="Fill weight of a weather balloon [g].")
    wbwr: Float = Field(default=0, description="Rise rate of a weather balloon [m s-1].")
    wvert: bool = Field(default=False, description="Vertical interpolation of WRF winds [true/false].")
    z_top: Float = Field(default=25000, gt=0, description="Top of the model [m AGL].")
    zicontroltf: Flag = Field(
        default=0,
        description="STILT's switch for ziscale, kept for existing configs [0/1]; "
        "ziscale acts whenever it is not 1.",
    )
    ziscale: Annotated[
        Annotated[Float, Tag("<number>")] | Annotated[tuple[Float, ...], Tag("<list>")],
        Discriminator(lambda value: "<list>" if isinstance(value, (list, tuple)) else "<number>"),
    ] = Field(
        default=1.0,
        description="Factors on the PBL height, hour by hour from the receptor time [1]; one number means "
        "|n_hours| equal factors; a negative factor takes the PBL height of the met.",
    )

    @field_validator("ziscale")
    @classmethod
    def _usable_factors(cls, value: float | tuple[float, ...]) -> float | tuple[float, ...]:
        factors = value if isinstance(value, tuple) else (value,)
        if not factors:
            raise ValueError("an empty list has no factor; give one number or one per hour")
        if any(factor == 0.0 for factor in factors):
            raise ValueError("a factor of 0 leaves no mixed layer; give 1 to leave the PBL height as it is")
        return value


class ErrorParams(Section):
    """Transport error: statistics of the wind error and of the PBL-height error, each all or none."""

    siguverr: Float | None = Field(
        default=None, ge=0, description="Standard deviation of the wind error [m s-1]."
    )
    tluverr: Float | None = Field(default=None, gt=0, description="Correlation time of the wind error [min].")
    zcoruverr: Float | None = Field(
        default=None, gt=0, description="Vertical correlation length, wind error [m]."
    )
    horcoruverr: Float | None = Field(
        default=None, gt=0, description="Horizontal correlation length of the wind error [km]."
    )
    sigzierr: Float | None = Field(
        default=None, ge=0, description="Standard deviation of the PBL-height error [%]."
    )
    tlzierr: Float | None = Field(
        default=None, gt=0, description="Correlation time of the PBL-height error [min]."
    )
    horcorzierr: Float | None = Field(
        default=None, gt=0, description="Horizontal correlation length of the PBL-height error [km]."
    )

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        for keys in (WIND_ERROR_KEYS, ZI_ERROR_KEYS):
            missing = [key for key in keys if getattr(self, key) is None]
            if missing and len(missing) < len(keys):
                given = [key for key in keys if key not in missing]
                raise ValueError(
                    f"{', '.join(given)} given without {', '.join(missing)}; "
                    f"give all of {', '.join(keys)} or none"
                )
        return self


class TransportParams(ErrorParams, PhysicsParams, RunParams):
    """
    All run, transport and error keys, flat: what an engine receives.

    Examples
    --------
    >>> TransportParams(n_hours=-6, numpar=100).changed_from_default()
    {'n_hours': -6, 'numpar': 100}
    """

    @model_validator(mode="after")
    def _carries_all_particles(self) -> Self:
        if self.maxpar is not None and self.maxpar < self.numpar:
            raise ValueError(
                f"maxpar = {self.maxpar} is less than numpar = {self.numpar}; raise maxpar or leave it out"
            )
        return self

    @property
    def time_sign(self) -> int:
        """-1 backward, +1 forward."""
        return -1 if self.n_hours < 0 else 1

    @property
    def is_backward(self) -> bool:
        """Whether the run goes back in time."""
        return self.n_hours < 0

    @property
    def max_particles(self) -> int:
        """``maxpar``, or ``numpar`` where it is not given [1]."""
        return self.numpar if self.maxpar is None else self.maxpar

    @property
    def has_wind_error(self) -> bool:
        """Whether the wind-error parameters are set."""
        return self.siguverr is not None

    @property
    def has_zi_error(self) -> bool:
        """Whether the PBL-height-error parameters are set."""
        return self.sigzierr is not None

    @property
    def is_error(self) -> bool:
        """Whether an error trajectory is asked for."""
        return self.has_wind_error or self.has_zi_error

    @property
    def ziscale_factors(self) -> tuple[float, ...]:
        """
        Factor for the analysis 0, 1, 2, ... hours from the receptor time [1]; empty when nothing is scaled.

        Analyses beyond the end of the list are not scaled. A scalar stands for ``|n_hours|``
        factors, as in STILT, so the analysis exactly ``n_hours`` away is unscaled.
        """
        value = self.ziscale
        factors = value if isinstance(value, tuple) else (value,) * abs(self.n_hours)
        while factors and factors[-1] == 1.0:
            factors = factors[:-1]
        return factors

    def without_errors(self) -> TransportParams:
        """
        Return the same settings with no wind error and no PBL-height error.

        Returns
        -------
        TransportParams
            Settings of the main run.
        """
        values = {name: getattr(self, name) for name in TransportParams.model_fields}
        return TransportParams(**{**values, **dict.fromkeys((*WIND_ERROR_KEYS, *ZI_ERROR_KEYS))})

    def changed_from_default(self) -> dict[str, Any]:
        """
        List the keys whose value differs from the default.

        Returns
        -------
        dict
            Key to value, in the order of the reference page. A key written with its default value is not
            listed, nor is a ``maxpar`` equal to ``numpar`` or a ``ziscale`` that scales nothing.
        """
        changed = {
            name: getattr(self, name)
            for name, field in TransportParams.model_fields.items()
            if getattr(self, name) != field.default
        }
        if self.maxpar == self.numpar:
            changed.pop("maxpar", None)
        if not self.ziscale_factors:
            changed.pop("ziscale", None)
        return changed

    def kmsl_for(self, altitude_ref: str) -> int:
        """
        Return HYSPLIT's ``KMSL`` for a receptor's heights.

        Parameters
        ----------
        altitude_ref : str
            ``agl`` or ``msl``.

        Returns
        -------
        int
            0 for AGL, 1 for MSL.
        """
        wanted = 1 if altitude_ref == "msl" else 0
        if self.kmsl is not None and self.kmsl != wanted:
            raise ConfigError(
                f"kmsl = {self.kmsl} contradicts a receptor with altitude_ref '{altitude_ref}' "
                f"(kmsl {wanted}); remove kmsl, the receptor decides"
            )
        return wanted
