"""Meteorology from the command line."""

from __future__ import annotations

import json


def test_ls_tells_of_a_project_and_of_a_folder(type_stilt, cli_project):
    """A project's meteorology by its name, a folder's by the folder's."""
    said = type_stilt("met", "ls", cli_project)
    assert said.code == 0, said
    assert said.out.startswith(f"valley: {cli_project}/met\n")
    assert "6 times, 2024-07-10 18:00 to 2024-07-10 23:00 UTC every 60 min" in said.out
    told = json.loads(type_stilt("met", "ls", cli_project / "met", "--json").out)["met"]
    assert [kind["n_times"] for kind in told["kinds"]] == [6]
    assert type_stilt("met", "ls", cli_project, "--format", "hrrr%Y").complaint.endswith(
        "Correct `file_format`."
    )


def test_ls_names_damage_and_ends_with_1(type_stilt, cli_project):
    (file,) = (cli_project / "met").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    said = type_stilt("met", "ls", cli_project)
    assert said.code == 1
    assert "damaged:" in said.out
    assert "1 are missing" in said.out
    assert "1 are missing" in type_stilt("met", "info", file).complaint


def test_info_describes_a_file(type_stilt, cli_project):
    (file,) = (cli_project / "met").iterdir()
    said = type_stilt("met", "info", file, "--verify")
    assert said.code == 0, said
    assert "UWND VWND" in said.out
    assert ", verified" in said.out
    told = json.loads(type_stilt("met", "info", file, "--json").out)
    assert told["times"][0] == "2024-07-10 18:00"
    assert told["grid"]["nx"] * told["grid"]["ny"] > 0
    assert told["levels"]["count"] == len(told["levels"]["heights"]) - 1
    assert "No such file" in type_stilt("met", "info", cli_project / "nothing").complaint
