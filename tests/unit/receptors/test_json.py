"""Receptors as the text that the manifest keeps."""

from __future__ import annotations

import json

import pytest

from stilt.receptors import Receptor


@pytest.mark.parametrize(
    "points",
    [
        [(-111.85, 40.77, 5.0)],
        [(1e-6, -1e-5, 0.0)],
        [(180.0, -90.0, 12000.25)],
        [(-111.85, 40.77, 5.0), (-111.85, 40.77, 50.0)],
        [(-111.85, 40.77, 5.0), (-111.8, 40.7, 50.0)],
    ],
)
@pytest.mark.parametrize("ref", ["agl", "msl"])
@pytest.mark.parametrize("time", ["2023-01-01 12:00", "0999-12-31 23:59:59"])
def test_the_text_is_what_json_makes_of_the_values(points, ref, time):
    receptor = Receptor.from_points(time, points, altitude_ref=ref)
    text = receptor.to_json()
    assert text == json.dumps(receptor.to_dict(), separators=(",", ":"))
    assert Receptor.from_dict(json.loads(text)) == receptor
