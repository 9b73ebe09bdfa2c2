"""Run, transport and error keys: their defaults, their checks, and what they mean together."""

from __future__ import annotations

import math
import pickle

import pytest

from stilt.config import OUTPUT_COLUMNS, TransportParams
from stilt.errors import ConfigError

DEFAULTS = """
capemin -1 cmass 0 conage 48 cpack 1 delt 1 dxf 1 dyf 1 dzf 0.01 emisshrs 0.01 frhmax 3 frhs 1 frme
0.1 frmr 0 frts 0.1 frvs 0.01 hscale 10800 ichem 8 idsp 2 initd 0 k10m 1 kagl 1 kbls 1 kblt 5 kdef 0
khinp 0 khmax 9999 kmix0 150 kmixd 3 kpuff 0 krand 4 krnd 6 kspl 1 kwet 1 kzmix 0 maxdim 1 mgmin 10
mhrs 9999 nbptyp 1 ncycl 0 ndump 0 ninit 1 nstr 0 nturb 0 nver 0 outdt 0 p10f 1 qcycle 0 rhb 80 rht
60 splitf 1 tkerd 0.18 tkern 0.18 tlfrac 0.1 tout 0 tratio 0.75 tvmix 1 veght 0.5 vscale 200 vscaleu
200 vscales -1 w_option 0 wbbh 0 wbwf 0 wbwr 0 z_top 25000 zicontroltf 0 ziscale 1.0 n_hours -24
numpar 200
""".split()
NUMBERS = {key: float(value) for key, value in zip(DEFAULTS[::2], DEFAULTS[1::2], strict=True)}
OTHERS = {
    **dict.fromkeys(("efile", "pinbc", "pinpf", "poutf"), ""),
    **dict.fromkeys(
        ("siguverr", "tluverr", "zcoruverr", "horcoruverr", "sigzierr", "tlzierr", "horcorzierr")
    ),
    **dict.fromkeys(("kmsl", "maxpar", "seed", "timeout")),
    "wvert": False,
    "hnf_plume": True,
    "hnf_mode": "rstilt",
    "random": "counter",
    "release_terrain": "program",
    "rm_dat": True,
    "varsiwant": tuple("time indx long lati zagl foot mlht pres dens samt sigw tlgr".split()),
}
WIND_ERROR = {"siguverr": 2.0, "tluverr": 60.0, "zcoruverr": 100.0, "horcoruverr": 5.0}
ZI_ERROR = {"sigzierr": 20.0, "tlzierr": 60.0, "horcorzierr": 10.0}


def test_defaults_are_those_of_the_contract():
    """Every key, and no other."""
    assert TransportParams().model_dump() == NUMBERS | OTHERS


def test_every_key_is_described_with_its_unit():
    """The reference page is made from these sentences."""
    for name, field in TransportParams.model_fields.items():
        assert field.description, name
        assert "[" in field.description, f"{name} has no unit"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"n_hours": 0}, "n_hours: 0 is no run"),
        ({"n_hours": 1.5}, r"n_hours: should be a whole number \(got 1.5\)"),
        ({"n_hours": None}, "n_hours: should be a whole number"),
        ({"numpar": 0}, "numpar: should be greater than or equal to 1"),
        ({"numpar": True}, "numpar: should be a number"),
        ({"numpar": "many"}, r"numpar: should be a whole number \(got 'many'\)"),
        ({"seed": -1}, "seed: should be greater than or equal to 0"),
        ({"timeout": 0}, "timeout: should be greater than 0"),
        ({"veght": float("nan")}, "veght: should be a finite number"),
        ({"hnf_plume": "maybe"}, "hnf_plume: should be true or false"),
        ({"maxpar": 100}, "maxpar = 100 is less than numpar = 200"),
        (
            {"varsiwant": ["time", "indx", "long", "lati", "foot", "zgal"]},
            "unknown column 'zgal', did you mean 'zagl'",
        ),
        ({"varsiwant": ["time", "time"]}, "column 'time' is listed more than once"),
        ({"varsiwant": ["time", "indx"]}, "'long lati foot' missing"),
        ({"varsiwant": 3}, "varsiwant: should be a list"),
        ({"ziscale": []}, "ziscale: an empty list"),
        ({"ziscale": 0}, "ziscale: a factor of 0"),
        ({"ziscale": [1, "x"]}, r"ziscale\[1\]: should be a number"),
        ({"siguverr": 2.0}, "siguverr given without tluverr, zcoruverr, horcoruverr"),
        ({**ZI_ERROR, "tlzierr": None}, "sigzierr, horcorzierr given without tlzierr"),
        ({"n_hour": 3}, "unknown key 'n_hour', did you mean 'n_hours'"),
        ({"VEGHT": 3}, "unknown key 'VEGHT', did you mean 'veght'"),
        ({"kmsl": 3}, "kmsl: should be less than or equal to 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(keys, message):
    """With the key and the value."""
    with pytest.raises(ConfigError, match=message) as caught:
        TransportParams(**keys)
    assert "\n" not in str(caught.value)


def test_output_columns_may_be_chosen_and_ordered():
    """A list, or words."""
    wanted = "indx time lati long foot zagl"
    assert TransportParams(varsiwant=wanted.split()).varsiwant == tuple(wanted.split())
    assert TransportParams(varsiwant=wanted).varsiwant == tuple(wanted.split())
    assert TransportParams(varsiwant=list(OUTPUT_COLUMNS)).varsiwant == OUTPUT_COLUMNS
    assert len(OUTPUT_COLUMNS) == 29


@pytest.mark.parametrize(("n_hours", "sign"), [(-24, -1), (1, 1)])
def test_the_sign_of_time_is_that_of_n_hours(n_hours, sign):
    """Negative is backward."""
    params = TransportParams(n_hours=n_hours)
    assert params.time_sign == sign
    assert params.is_backward == (sign < 0)


def test_a_scalar_ziscale_leaves_the_last_analysis_alone():
    """As in STILT: |n_hours| factors, counted from the receptor time."""
    assert TransportParams(n_hours=-3, ziscale=0.8).ziscale_factors == (0.8, 0.8, 0.8)
    assert TransportParams(n_hours=3, ziscale=[0.8] * 4).ziscale_factors == (0.8,) * 4
    assert TransportParams(ziscale=[1, 2, 1, 1]).ziscale_factors == (1.0, 2.0)
    assert TransportParams().ziscale_factors == ()
    assert TransportParams(ziscale=-1, n_hours=-1).ziscale_factors == (-1.0,)


def test_error_keys_make_an_error_run():
    """Either group, or both; without them the main run remains."""
    plain = TransportParams(n_hours=-6, maxpar=300)
    wind = TransportParams(n_hours=-6, maxpar=300, **WIND_ERROR)
    zi = TransportParams(n_hours=-6, maxpar=300, **ZI_ERROR)
    assert (plain.is_error, wind.is_error, zi.is_error) == (False, True, True)
    assert (wind.has_wind_error, wind.has_zi_error) == (True, False)
    assert (zi.has_wind_error, zi.has_zi_error) == (False, True)
    assert wind.without_errors() == zi.without_errors() == plain
    assert plain.without_errors() == plain


def test_only_real_changes_are_listed():
    """A default written out is no change; nor is maxpar equal to numpar."""
    assert TransportParams(delt=1, veght=0.5, maxpar=200, ziscale=1).changed_from_default() == {}
    changed = TransportParams(n_hours=-6, maxpar=300, nturb=True).changed_from_default()
    assert changed == {"n_hours": -6, "maxpar": 300, "nturb": 1}


def test_kmsl_follows_the_receptor():
    """A conflict is an error."""
    assert TransportParams().kmsl_for("agl") == 0
    assert TransportParams().kmsl_for("msl") == 1
    assert TransportParams(kmsl=1).kmsl_for("msl") == 1
    with pytest.raises(ConfigError, match="kmsl = 1 contradicts a receptor with altitude_ref 'agl'"):
        TransportParams(kmsl=1).kmsl_for("agl")


def test_settings_are_values():
    """Frozen, hashable, equal by value, and they travel to other processes."""
    params = TransportParams(ziscale=[1, 2], **WIND_ERROR)
    assert pickle.loads(pickle.dumps(params)) == params
    assert hash(params) == hash(TransportParams(ziscale=(1.0, 2.0), **WIND_ERROR))
    with pytest.raises(ValueError, match="frozen"):
        params.numpar = 3
    assert params.replace(numpar=7).numpar == 7
    with pytest.raises(ConfigError):
        params.replace(numpar=0)


def test_no_limit_on_particles_means_numpar():
    """``maxpar`` follows ``numpar`` when it is not given."""
    assert TransportParams(numpar=7).max_particles == 7
    assert TransportParams(numpar=7, maxpar=9).max_particles == 9
    assert math.isfinite(TransportParams(timeout=3600).timeout)
