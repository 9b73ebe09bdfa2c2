"""The documentation says what the code does: it is generated where possible, and run where not."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import stilt
from stilt.cli import main
from stilt.config import ModelConfig, RuntimeSettings, TransportParams

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md"), *(ROOT / "design").glob("*.md")]
)
RUNNABLE = [ROOT / "README.md", *sorted((DOCS / "how-to").glob("*.md"))]
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))

pytestmark = pytest.mark.skipif(
    not (DOCS / "README.md").is_file(), reason="the documentation is not beside these tests"
)


class Snippet(NamedTuple):
    language: str
    text: str
    line: int


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _snippets(page: Path) -> Iterator[Snippet]:
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Snippet(match[1], match[2], text.count("\n", 0, match.start()) + 2)


def _commands() -> dict[str, Any]:
    from stilt.cli.app import command

    group: Any = command()
    return dict(group.commands)


def _stilt_lines(snippet: Snippet) -> list[list[str]]:
    lines = (shlex.split(line, comments=True) for line in snippet.text.splitlines())
    return [words[1:] for words in lines if words and words[0] == "stilt"]


# --- set-up --------------------------------------------------------------------------------------------


def _set_up_commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Set-up\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    return [
        block.strip() for block in re.findall(r"^```sh\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
    ]


def test_readme_has_exactly_two_set_up_commands_of_one_line():
    """One line runs the main job, one passes the tests."""
    commands = _set_up_commands()
    assert len(commands) == 2
    assert all("\n" not in command for command in commands)
    assert "stilt init --demo" in commands[0]
    assert "stilt run" in commands[0]
    assert "pytest" in commands[1]


def test_workflow_runs_the_commands_of_the_readme():
    """CI on other platforms types what the README says."""
    workflow = ROOT / ".github" / "workflows" / "ci.yml"
    steps = [
        step.get("run", "")
        for job in yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
        for step in job["steps"]
    ]
    for command in _set_up_commands():
        assert command in steps


# --- completeness --------------------------------------------------------------------------------------


def test_generated_reference_is_up_to_date():
    """`just docs` was run after the last change of settings, commands or public names."""
    done = subprocess.run(
        [sys.executable, str(DOCS / "generate_reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_setting_is_documented_with_a_sentence():
    """No field without a description, none missing from the reference."""
    page = (DOCS / "reference" / "config.md").read_text(encoding="utf-8")
    for section in (ModelConfig, TransportParams, RuntimeSettings):
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
            shown = f"PYSTILT_{name.upper()}" if section is RuntimeSettings else name
            assert f"`{shown}`" in page, shown


def test_every_command_and_option_is_documented():
    """The reference names each command and each of its options."""
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## stilt ([\w-]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    for name, command in _commands().items():
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.help, f"{name} {parameter.opts}"
                for option in parameter.opts:
                    assert f"`{option}`" in sections[name], f"{name} {option}"


def test_every_public_name_is_documented():
    """What `stilt.__all__` promises is on the page of Python names."""
    page = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    for name in stilt.__all__:
        assert name.startswith("_") or f"`stilt.{name}`" in page


def test_every_failure_reason_is_explained():
    """Users find each reason, with a remedy, in the guide to failures."""
    page = (DOCS / "how-to" / "failures.md").read_text(encoding="utf-8")
    for reason in stilt.FailureReason:
        assert f"`{reason}`" in page


def test_every_output_column_is_explained():
    """Each name of `varsiwant` is in the table of columns."""
    from stilt.config import OUTPUT_COLUMNS

    page = (DOCS / "reference" / "files.md").read_text(encoding="utf-8")
    for name in OUTPUT_COLUMNS:
        assert f"`{name}`" in page, name


def test_every_design_page_is_listed():
    """The index of decisions is complete."""
    index = (ROOT / "design" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "design").glob("2*.md"):
        assert f"({page.name})" in index


# --- correctness ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page):
    """Relative links name existing files, and headings that are there."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in headings
            }


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_and_options_exist(page):
    """Every `stilt ...` line in a code block names a command and options that exist."""
    commands = _commands()
    for snippet in _snippets(page):
        if snippet.language != "sh":
            continue
        for words in _stilt_lines(snippet):
            assert words[0] in commands, f"{_name(page)}:{snippet.line}"
            asked = commands[words[0]]
            if hasattr(asked, "commands"):
                assert words[1] in asked.commands, f"{_name(page)}:{snippet.line}"
                asked = asked.commands[words[1]]
            known = {
                option
                for parameter in asked.params
                for option in (*parameter.opts, *parameter.secondary_opts)
            }
            assert {word for word in words if word.startswith("--")} <= known, f"{_name(page)}:{snippet.line}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_settings_in_examples_are_valid(page, tmp_path):
    """Every YAML block is a configuration, or becomes one with a met added; every CSV block is read."""
    for number, snippet in enumerate(_snippets(page)):
        if snippet.language == "yaml":
            values = yaml.safe_load(snippet.text)
            values.setdefault("mets", {"hrrr": {"directory": "met", "file_format": "%Y%m%d_%H"}})
            ModelConfig.from_mapping(values, source=f"{_name(page)}:{snippet.line}")
        elif snippet.language == "csv":
            table = tmp_path / f"{number}.csv"
            table.write_text(snippet.text, encoding="utf-8")
            assert stilt.read_receptors(table)


# --- what the pages promise, done ----------------------------------------------------------------------


def _run_page(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what a page says, in order: its `stilt` commands and its Python."""
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"__name__": "__docs__"}
    set_up = _set_up_commands()
    for snippet in _snippets(page):
        if snippet.language == "sh" and snippet.text.strip() not in set_up:
            for words in _stilt_lines(snippet):
                assert main(words) == 0, f"{_name(page)}:{snippet.line}: stilt {shlex.join(words)}"
        elif snippet.language == "python":
            padding = "\n" * (snippet.line - 1)
            exec(compile(padding + snippet.text, str(page), "exec"), names)


@pytest.fixture(scope="module")
def finished_demo(tmp_path_factory):
    """Folder in which the demo has been made and run."""
    folder = tmp_path_factory.mktemp("docs")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["init", "--demo", "demo"]) == 0
        assert main(["run", "demo"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=_name)
def test_tutorials_run_from_nothing(page, tmp_path, monkeypatch, capsys):
    """A reader who types a tutorial gets through it."""
    _run_page(page, tmp_path, monkeypatch)
    assert capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=_name)
def test_guides_run_on_the_demo(page, finished_demo, tmp_path, monkeypatch):
    """The snippets of the README and of each guide run on the demo project."""
    shutil.copytree(finished_demo / "demo", tmp_path / "demo")
    _run_page(page, tmp_path, monkeypatch)


@pytest.mark.slow
def test_changed_settings_are_refused_as_the_guide_says(finished_demo, tmp_path, capsys):
    """Exit code 2 and one line that names the field, the values and the remedy."""
    shutil.copytree(finished_demo / "demo", tmp_path / "demo")
    config = tmp_path / "demo" / "config.yaml"
    config.write_text(config.read_text().replace("numpar: 200", "numpar: 100"))
    capsys.readouterr()
    assert main(["run", str(tmp_path / "demo")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "numpar 200 -> 100" in said
    assert "--refresh" in said
