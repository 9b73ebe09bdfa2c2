"""Damaged bytes are noticed by the checksums of the index, wherever they lie."""

from __future__ import annotations

import numpy as np
import pytest

from stilt.errors import MetFormatError
from stilt.meteorology import synthetic
from stilt.meteorology.arl.file import open_arl
from stilt.meteorology.arl.index import LABEL_BYTES
from stilt.meteorology.catalog import open_series
from stilt.meteorology.frame import Box


@pytest.fixture
def path(tmp_path):
    return synthetic.uniform(hours=2).write(tmp_path / "world.arl")


def offsets(path, name):
    return [offset for _, found, offset, _ in open_arl(path).records_of(0) if found == name]


def decode(path, box=None):
    series = open_series([path], name="world")
    box = box or Box(0, series.grid.nx, 0, series.grid.ny)
    return series.decode(0, box, ("PRSS",), ("UWND", "TEMP"))


@pytest.mark.parametrize("position", [0, 5, -1])
def test_one_flipped_bit_is_noticed_even_outside_the_box(path, position):
    at = offsets(path, "UWND")[2]
    data = bytearray(path.read_bytes())
    points = open_arl(path).layout.record_bytes - LABEL_BYTES
    data[at + LABEL_BYTES + position % points] ^= 0x40
    path.write_bytes(bytes(data))
    with pytest.raises(MetFormatError, match=r"UWND of level 3 .* damaged"):
        decode(path, Box(0, 4, 0, 4))


def test_a_writer_that_keeps_no_checksums_is_believed(path):
    """Sums of zero in the index mean that there are none."""
    data = bytearray(path.read_bytes())
    file = open_arl(path)
    index = file.layout.index_records * file.layout.record_bytes
    text = bytes(data[:index])
    for _, name, offset, total in file.records_of(0):
        assert (
            total
            == int(np.frombuffer(data, np.uint8, file.layout.record_bytes, offset)[LABEL_BYTES:].sum() - 1)
            % 255
            + 1
        )
        text = text.replace(f"{name}{total:3d} ".encode(), f"{name}  0 ".encode())
    data[:index] = text
    path.write_bytes(bytes(data))
    assert np.isfinite(decode(path).upper["UWND"]).all()


def test_a_writer_that_counts_in_another_way_is_believed_with_a_warning(path):
    data = bytearray(path.read_bytes())
    file = open_arl(path)
    index = file.layout.index_records * file.layout.record_bytes
    text = bytes(data[:index])
    for _, name, _, total in file.records_of(0):
        text = text.replace(f"{name}{total:3d} ".encode(), f"{name}{total % 200 + 1:3d} ".encode())
    data[:index] = text
    path.write_bytes(bytes(data))
    with pytest.warns(UserWarning, match="checksums"):
        decode(path)
