"""Downloading from a server on this machine that has the faults of real ones."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from archive_server import Answer, serving
from stilt.config import MetConfig, TransportParams
from stilt.errors import MetCoverageError, MetDownloadError, MetError, MetNotFoundError, MissingExtraError
from stilt.meteorology import archive as names
from stilt.meteorology import download, synthetic, transfer
from stilt.meteorology.arl.file import open_arl
from stilt.meteorology.catalog import open_available, open_series
from stilt.meteorology.projection import HorizontalGrid
from stilt.receptors import PointReceptor
from stilt.transport.native.engine import NativeEngine
from stilt.transport.native.tiles import ColumnPool, TileCache
from stilt.transport.protocol import TransportRequest

pytest.importorskip("arlmet", reason="the extra download is not installed")

EARLY, LATE = "hrrr/2024/07/20240710_12-17_hrrr", "hrrr/2024/07/20240710_18-23_hrrr"


def hour(text):
    return np.datetime64(f"2024-07-10T{text}")


@pytest.fixture(scope="module")
def noaa(tmp_path_factory):
    """Twelve hours in two files, named as NOAA names them."""
    root = tmp_path_factory.mktemp("noaa")
    for key, start in ((EARLY, "12"), (LATE, "18")):
        world = synthetic.uniform(
            grid=HorizontalGrid.latlon(-113.0, 39.0, 0.1, 0.1, 41, 33),
            start=f"2024-07-10T{start}",
            hours=5,
            flux=50.0,
        )
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        world.write(root / key)
    return root


@pytest.fixture
def server(noaa, monkeypatch):
    monkeypatch.setattr(transfer, "PAUSE", 0.01)
    download.forget_failures()
    with serving(noaa) as found:
        yield found


def met_of(server, folder, **more):
    return MetConfig(source="hrrr", archive_url=server.url, download_dir=folder, **more)


def opened(met, first="16:30", last="17:30"):
    return open_series(met, name="m", start=hour(first), end=hour(last), who="receptor r")


def test_what_a_span_needs_and_no_more_is_downloaded_once(server, noaa, tmp_path):
    """A run that ends between two analyses needs the next file too; the second run asks for nothing."""
    met = met_of(server, tmp_path)
    assert opened(met, "13:30", "16:30").times[-1] == hour("17:00")
    assert dict(server.gets) == {EARLY: 1}
    series = opened(met)
    assert series.times.tolist() == [hour("16:00"), hour("17:00"), hour("18:00")]
    assert [file.name for file in series.files] == [EARLY.split("/")[-1], LATE.split("/")[-1]]
    opened(met)
    assert dict(server.gets) == {EARLY: 1, LATE: 1}
    for key in (EARLY, LATE):
        data = (noaa / key).read_bytes()
        assert (tmp_path / key).read_bytes() == data
        note = json.loads((tmp_path / f"{key}.json").read_text())
        assert note["size"] == len(data)
        assert note["sha256"] == hashlib.sha256(data).hexdigest()
        assert note["url"] == f"{server.url}/{key}"
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert len(left) == 4, left


def test_a_broken_connection_goes_on_where_it_ended(server, noaa, tmp_path):
    """Cut off twice in the middle: every byte is sent once, for as long as some arrive."""
    size = (noaa / EARLY).stat().st_size
    third = size // 3
    server.answers = lambda path, number: Answer(drop_after=third if number < 3 else None)
    opened(met_of(server, tmp_path), "13:00", "14:00")
    assert (tmp_path / EARLY).read_bytes() == (noaa / EARLY).read_bytes()
    assert server.ranges == [f"bytes={third}-", f"bytes={2 * third}-"]
    assert server.sent == size


def test_another_process_goes_on_with_what_a_killed_one_left(server, noaa, tmp_path):
    """SIGKILL in the middle; the next run asks for the rest, and the lock of the dead holds nobody up."""
    server.answers = lambda path, number: Answer(pause=0.2 if number == 1 else 0.0)
    code = (
        "import sys, numpy as np\n"
        "from stilt.config import MetConfig\n"
        "from stilt.meteorology.catalog import open_series\n"
        "met = MetConfig(source='hrrr', archive_url=sys.argv[1], download_dir=sys.argv[2])\n"
        "at = np.datetime64('2024-07-10T13')\n"
        "open_series(met, name='m', start=at, end=at + np.timedelta64(1, 'h'))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, server.url, str(tmp_path)])
    part = tmp_path / f"{EARLY}.part"
    try:
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size > 100_000):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
    held = part.stat().st_size
    assert 0 < held < (noaa / EARLY).stat().st_size
    opened(met_of(server, tmp_path), "13:00", "14:00")
    assert server.ranges == [f"bytes={held}-"]
    assert (tmp_path / EARLY).read_bytes() == (noaa / EARLY).read_bytes()
    assert not part.exists()


def test_a_part_of_another_version_is_thrown_away(server, noaa, tmp_path):
    (tmp_path / EARLY).parent.mkdir(parents=True)
    part = tmp_path / f"{EARLY}.part"
    part.write_bytes(b"x" * 1000)
    part.with_name(part.name + ".json").write_text('{"etag": "\\"old\\"", "modified": "", "size": 5000}')
    opened(met_of(server, tmp_path), "13:00", "14:00")
    assert (tmp_path / EARLY).read_bytes() == (noaa / EARLY).read_bytes()


def test_a_part_is_complete_when_the_server_has_no_more(server, noaa, tmp_path):
    """Killed between the last byte and the new name."""
    opened(met_of(server, tmp_path / "a"), "13:00", "14:00")
    note = json.loads((tmp_path / "a" / f"{EARLY}.json").read_text())
    part = tmp_path / "b" / f"{EARLY}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes((noaa / EARLY).read_bytes())
    remote = {"etag": note["etag"], "modified": "", "size": note["size"]}
    part.with_name(part.name + ".json").write_text(json.dumps(remote))
    sent = server.sent
    opened(met_of(server, tmp_path / "b"), "13:00", "14:00")
    assert server.sent == sent


def test_a_server_without_ranges_sends_all_again(server, noaa, tmp_path):
    server.knows_ranges = False
    server.answers = lambda path, number: Answer(drop_after=5000 if number == 1 else None)
    opened(met_of(server, tmp_path), "13:00", "14:00")
    assert (tmp_path / EARLY).read_bytes() == (noaa / EARLY).read_bytes()


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_fault_of_the_server_is_waited_out(server, tmp_path, status):
    server.answers = lambda path, number: Answer(status=status if number < 4 else 0)
    opened(met_of(server, tmp_path), "13:00", "14:00")
    assert server.gets[EARLY] == 4


def test_a_server_that_stays_broken_ends_the_waiting(server, tmp_path):
    """A bounded number of requests, one sentence, and the next receptors do not wait again."""
    server.answers = lambda path, number: Answer(status=503)
    for _ in range(3):
        with pytest.raises(MetDownloadError, match=r"cannot be reached \(HTTP 503.*stilt met download"):
            opened(met_of(server, tmp_path), "13:00", "14:00")
    assert server.gets[EARLY] == transfer.ATTEMPTS


def test_a_server_that_sends_nothing_but_promises_ends_the_waiting(server, tmp_path):
    server.answers = lambda path, number: Answer(drop_after=0)
    with pytest.raises(MetDownloadError, match="ended after 0 of"):
        opened(met_of(server, tmp_path), "13:00", "14:00")
    assert server.gets[EARLY] == transfer.ATTEMPTS


def test_a_wrong_length_is_not_believed(server, noaa, tmp_path):
    """Too long: the rest is asked for and there is none. Too short: the last record lacks its end."""
    size = (noaa / EARLY).stat().st_size
    server.answers = lambda path, number: Answer(claim=1000, drop_after=size)
    opened(met_of(server, tmp_path / "long"), "13:00", "14:00")
    assert (tmp_path / "long" / EARLY).stat().st_size == size
    server.gets.clear()
    server.answers = lambda path, number: Answer(claim=-1000, drop_after=size - 1000)
    with pytest.raises(MetDownloadError, match="arrived damaged 2 times"):
        opened(met_of(server, tmp_path / "short"), "13:00", "14:00")
    assert server.gets[EARLY] == 2
    assert not list((tmp_path / "short").rglob("*_hrrr*"))


def test_a_flipped_bit_is_noticed_and_the_file_fetched_again(server, noaa, tmp_path):
    data = bytearray((noaa / EARLY).read_bytes())
    file = open_arl(noaa / EARLY)
    data[file.record_offset(3, 2, "UWND") + 60] ^= 0x40
    server.answers = lambda path, number: Answer(body=bytes(data) if number == 1 else None)
    opened(met_of(server, tmp_path), "13:00", "14:00")
    assert server.gets[EARLY] == 2
    assert (tmp_path / EARLY).read_bytes() == (noaa / EARLY).read_bytes()


def test_the_login_page_of_a_network_is_no_meteorology(server, tmp_path):
    server.answers = lambda path, number: Answer(body=b"<html>Please log in</html>" * 100)
    with pytest.raises(MetDownloadError, match=r"is no ARL file; a proxy or the login page"):
        opened(met_of(server, tmp_path), "13:00", "14:00")
    assert not list(tmp_path.rglob("*_hrrr"))


@pytest.mark.parametrize(("status", "error"), [(404, MetNotFoundError), (403, MetDownloadError)])
def test_an_answer_is_an_answer(server, tmp_path, status, error):
    """What is not there or refused is asked for once, also by the next receptors."""
    server.answers = lambda path, number: Answer(status=status)
    for _ in range(3):
        with pytest.raises(error, match=f"HTTP {status}"):
            opened(met_of(server, tmp_path), "13:00", "14:00")
    assert server.gets[EARLY] == 1


def test_what_the_archive_lacks_names_file_and_receptor(server, tmp_path):
    with pytest.raises(
        MetNotFoundError, match=r"has no http.*20240711_00-05_hrrr .*Receptor r needs 2024-07-10 20:00 to"
    ):
        open_series(
            met_of(server, tmp_path),
            name="m",
            start=hour("20:00"),
            end=np.datetime64("2024-07-11T02:00"),
            who="receptor r",
        )
    early = np.datetime64("2001-01-01T00")
    with pytest.raises(MetCoverageError, match="does not reach back to 2001"):
        open_series(met_of(server, tmp_path), name="m", start=early, end=early + 3)


def test_in_a_chain_what_the_archive_has_will_do(server, tmp_path):
    """Another meteorology may have the hours that this archive lacks."""
    met = met_of(server, tmp_path)
    late = np.datetime64("2024-07-11T02:00", "s")
    found = open_available(met, name="m", start=hour("20:00"), end=late)
    assert found.series is not None
    assert found.series.times[-1] < late
    early = np.datetime64("2001-01-01T00", "s")
    assert open_available(met, name="m", start=early, end=early + 3).series is None


def test_without_a_network_one_sentence_says_what_to_do(tmp_path, monkeypatch):
    """Nothing listens: refused at once, and remembered; what is here already is used all the same."""
    monkeypatch.setattr(transfer, "PAUSE", 0.01)
    download.forget_failures()
    met = MetConfig(source="hrrr", archive_url="http://127.0.0.1:9/x", download_dir=tmp_path)
    with pytest.raises(
        MetDownloadError, match=r"cannot be reached \(Connection refused\). Run `stilt met download`"
    ) as raised:
        opened(met)
    assert "\n" not in str(raised.value)
    with pytest.raises(MetDownloadError, match="cannot be reached"):
        download.check_reachable(met, "m")
    unknown = met.replace(archive_url="http://no-such-host.invalid")
    with pytest.raises(MetDownloadError, match="cannot be reached"):
        opened(unknown)


def test_what_is_here_needs_no_network(server, tmp_path):
    opened(met_of(server, tmp_path))
    away = MetConfig(source="hrrr", archive_url="http://127.0.0.1:9", download_dir=tmp_path)
    download.check_reachable(away, "m")
    assert len(opened(away).times) == 3


def test_of_many_workers_one_downloads(server, tmp_path):
    """Three processes and eight threads at once: each file crosses the network once."""
    server.answers = lambda path, number: Answer(pause=0.01)
    code = (
        "import sys, numpy as np\n"
        "from stilt.config import MetConfig\n"
        "from stilt.meteorology.catalog import open_series\n"
        "met = MetConfig(source='hrrr', archive_url=sys.argv[1], download_dir=sys.argv[2])\n"
        "at = np.datetime64('2024-07-10T16:30')\n"
        "assert len(open_series(met, name='m', start=at, end=at + np.timedelta64(1, 'h')).times) == 3\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, server.url, str(tmp_path)]) for _ in range(3)]
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(opened(met_of(server, tmp_path)))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [child.wait(120) for child in children] == [0, 0, 0]
    assert len(found) == 8
    assert dict(server.gets) == {EARLY: 1, LATE: 1}


def test_files_are_cut_on_arrival(server, noaa, tmp_path):
    """Only the cut stays, with the values of the whole file; another box is another cut."""
    bounds = {"xmin": -112.0, "xmax": -111.0, "ymin": 40.0, "ymax": 41.0}
    met = met_of(server, tmp_path, subgrid_enable=True, subgrid_bounds=bounds)
    series = opened(met, "13:00", "14:00")
    (made,) = (path for path in tmp_path.rglob("*_hrrr"))
    assert made.parts[-5].startswith("cut-")
    assert series.grid.nx < open_arl(noaa / EARLY).grid.nx
    assert json.loads((made.parent / f"{made.name}.json").read_text())["size"] == made.stat().st_size
    opened(met, "13:00", "14:00")
    assert server.gets[EARLY] == 1
    opened(met.replace(subgrid_levels=5), "13:00", "14:00")
    assert server.gets[EARLY] == 2
    # with the whole file here, nothing is downloaded for one more box, and the file stays
    opened(met_of(server, tmp_path), "13:00", "14:00")
    opened(met.replace(subgrid_levels=7), "13:00", "14:00")
    assert server.gets[EARLY] == 3
    assert (tmp_path / EARLY).exists()


def test_a_file_that_was_damaged_since_is_replaced(server, noaa, tmp_path):
    """Another size is noticed by itself, other bytes when asked for."""
    met = met_of(server, tmp_path)
    opened(met, "13:00", "14:00")
    (tmp_path / EARLY).write_bytes(b"short")
    opened(met, "13:00", "14:00")
    assert server.gets[EARLY] == 2
    data = bytearray((noaa / EARLY).read_bytes())
    data[-1] ^= 1
    (tmp_path / EARLY).write_bytes(bytes(data))
    (wanted,) = names.wanted_files(met, "m", hour("13:00"), hour("14:00"))
    assert not download.get(met, "m", wanted)
    assert download.get(met, "m", wanted, verify=True)
    assert (tmp_path / EARLY).read_bytes() == (noaa / EARLY).read_bytes()


def test_a_file_that_somebody_put_there_is_used_or_refused_never_removed(server, noaa, tmp_path):
    (tmp_path / EARLY).parent.mkdir(parents=True)
    (tmp_path / EARLY).write_bytes((noaa / EARLY).read_bytes())
    opened(met_of(server, tmp_path), "13:00", "14:00")
    assert not server.gets
    (tmp_path / LATE).write_bytes(b"my notes")
    with pytest.raises(MetDownloadError, match=r"is not from the archive .* Remove it"):
        opened(met_of(server, tmp_path), "19:00", "20:00")
    assert (tmp_path / LATE).read_bytes() == b"my notes"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(MetDownloadError, match=r"cannot be kept under .*download_dir"):
            opened(met_of(server, tmp_path), "13:00", "14:00")
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk_is_named(server, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transfer, "transfer", full)
    with pytest.raises(MetDownloadError, match=r"no space is left.*Make room"):
        opened(met_of(server, tmp_path), "13:00", "14:00")


def test_a_plan_asks_for_sizes_only(server, noaa, tmp_path):
    met = met_of(server, tmp_path)
    opened(met, "13:00", "14:00")
    server.gets.clear()
    spans = [(hour("13:00"), hour("18:30")), (hour("23:30"), hour("22:00"))]
    found = download.plan(met, "m", spans)
    assert [wanted.key for wanted in found.here] == [EARLY]
    assert [wanted.key for wanted in found.to_get] == [LATE]
    assert [wanted.key for wanted in found.absent] == ["hrrr/2024/07/20240711_00-05_hrrr"]
    assert found.bytes_to_get == (noaa / LATE).stat().st_size
    assert not server.gets
    assert server.heads.total() == 2


def test_names_never_leave_the_folder(tmp_path, monkeypatch):
    class Evil:
        def paths_for_range(self, start, end):
            return ["hrrr/../../etc/passwd"]

    names._keys.cache_clear()
    monkeypatch.setattr(names, "_archive", lambda source: Evil())
    with pytest.raises(MetError, match="which is no path in an archive"):
        opened(MetConfig(source="hrrr", download_dir=tmp_path))
    names._keys.cache_clear()


def test_without_arlmet_the_extra_is_named(monkeypatch):
    names._archive.cache_clear()
    names._keys.cache_clear()
    monkeypatch.setitem(sys.modules, "arlmet.archives", None)
    with pytest.raises(MissingExtraError, match=r"pystilt\[download\]"):
        opened(MetConfig(source="hrrr"))
    names._archive.cache_clear()


@pytest.mark.parametrize("source", sorted(names.INTERVALS))
def test_every_archive_of_the_configuration_has_names(source):
    found = (
        names.wanted_files(
            MetConfig(source=source),
            "m",
            np.datetime64("2017-03-01T23:10"),
            np.datetime64("2017-03-01T22:50"),
        )
        if source not in ("hrrr", "gfs0p25")
        else names.wanted_files(
            MetConfig(source=source),
            "m",
            np.datetime64("2021-03-01T23:10"),
            np.datetime64("2021-03-01T22:50"),
        )
    )
    # the next analysis is that of midnight
    assert len(found) == (1 if source in ("gdas1", "reanalysis", "narr") else 2)
    assert all(
        wanted.url.startswith("https://noaa-oar-arl-hysplit-pds.s3.amazonaws.com/") for wanted in found
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"source": "hrrr", "archive_url": "ftp://x/y"}, "no address of an archive"),
        ({"source": "hrrr", "archive_url": "https://me:pw@x/y"}, "no user, password"),
        ({"source": "hrrr", "archive_url": "https://x:99999999/"}, "no address of an archive"),
        ({"directory": "d", "archive_url": "https://x"}, "archive_url belongs to downloads"),
        ({"directory": "d", "download_dir": "e"}, "download_dir belongs to downloads"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(section, message):
    with pytest.raises(ValueError, match=message) as raised:
        MetConfig(**section)
    assert "pw" not in str(raised.value) or "password" in message


def test_a_run_downloads_what_it_needs(server, tmp_path):
    met = met_of(server, tmp_path / "met")
    receptor = PointReceptor("2024-07-10 17:40", -111.0, 40.5, 10.0)
    params = TransportParams(n_hours=-2, numpar=10)
    result = NativeEngine(ColumnPool(TileCache(tmp_path / "cache"))).run(
        TransportRequest(receptor, "m", met, params)
    )
    assert result.particles["time"].min() == -120
    assert dict(server.gets) == {EARLY: 1, LATE: 1}
