"""The job script and what Slurm's words mean, without a Slurm."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from stilt.config import ModelConfig, SlurmExecution
from stilt.errors import ConfigError
from stilt.execution.backends.slurm import client
from stilt.execution.backends.slurm.backend import SlurmBackend
from stilt.execution.backends.slurm.script import job_script
from stilt.execution.progress import Silent
from stilt.execution.results import SimulationResult
from stilt.execution.resume import read_done, write_done
from stilt.execution.worker import WorkContext
from stilt.storage import MemoryStore, open_store


def section(**keys):
    return SlurmExecution(**keys)


def test_the_script_is_plain_shell_with_every_option(make_context, tmp_path):
    """Options as directives, setup lines as they are, the worker with the chunk of its task."""
    context = make_context(skip_existing=False, compute_root=tmp_path / "a scratch")
    keys = section(
        n_workers=3, cpus_per_task=4, mem="8G", time="2:00:00", setup=["module load python"],
        command=["stilt"], exclusive=True, **{"mail-type": "END", "comment": "two words"},
    )  # fmt: skip
    script = job_script(keys, context, "b-1", 3, tmp_path / "logs")
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    for line in (
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=8G",
        "#SBATCH --time=2:00:00",
        "#SBATCH --exclusive",
        "#SBATCH --mail-type=END",
        '#SBATCH --comment="two words"',
        "#SBATCH --requeue",
        "#SBATCH --signal=B:USR1@60",
        f"#SBATCH --output={tmp_path}/logs/%A_%a.out",
        "module load python",
    ):
        assert line in lines
    assert lines[-1] == (
        f'exec stilt push-worker {context.store.root} --chunk ".stilt/chunks/b-1/$chunk.jsonl" --cpus 4 '
        f"--isolate --no-skip-existing --compute-root '{tmp_path}/a scratch'"
    )
    # directives after the first command would be ignored by sbatch
    assert max(n for n, line in enumerate(lines) if line.startswith("#SBATCH")) < lines.index("trap '' USR1")
    bash = shutil.which("bash")
    if bash:
        assert subprocess.run([bash, "-n"], input=script, text=True, check=False).returncode == 0


def test_user_text_never_becomes_another_directive_or_command(make_context):
    """Values with line ends are refused when the config is read."""
    with pytest.raises(ConfigError, match="one line"):
        section(job_name="a\n#SBATCH --uid=0")
    with pytest.raises(ConfigError, match="one line"):
        section(comment="a\nrm -rf /")
    with pytest.raises(ConfigError, match="no option of sbatch"):
        section(**{"x; rm": "1"})


def test_folders_with_odd_names(make_context, tmp_path, monkeypatch):
    """Percent signs are Slurm's own; what a directive cannot spell keeps its script and logs in the cache."""
    script = job_script(section(), make_context(), "b", 1, tmp_path / "50% o'dd")
    assert f'#SBATCH --output="{tmp_path}/50%% o\'dd/%A_%a.out"' in script.splitlines()
    monkeypatch.setenv("PYSTILT_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("new\nline", "back\\slash"):
        context = WorkContext(open_store(tmp_path / name), make_context().config)
        backend = SlurmBackend(section(), context, Silent())
        assert backend._logs("b") == tmp_path / "cache" / "slurm" / "b" / "logs"
        script = job_script(section(), context, "b", 1, backend._logs("b"))
        directives = [line for line in script.splitlines() if line.startswith("#SBATCH")]
        assert not any(part in line for line in directives for part in ("slash", "line"))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"array": "1-3"}, "n_workers and array_parallelism"),
        ({"partitoin": "x"}, "did you mean 'partition'"),
        ({"mem-per-cpus": "1"}, "did you mean 'mem_per_cpu'"),
        ({"comment": ["a"]}, "one line of text"),
        ({"time": "4 hours"}, "'4 hours' is no time limit; write minutes, HH:MM:SS or D-HH:MM:SS"),
        ({"time": 1}, "time 1 leaves no time to work: a task stops 60 s before it"),
        ({"time": "0:50", "signal_seconds": 55}, "raise time"),
    ],
)
def test_options_are_checked_offline(keys, words):
    """Reserved, misspelt and impossible ones."""
    with pytest.raises(ConfigError, match=words):
        section(**keys)


@pytest.mark.parametrize("time", ["2", 240, "1:30", "4:00:00", "2-0", "1-12:30", "7-00:00:00", "UNLIMITED"])
def test_time_limits_as_slurm_takes_them(time):
    """Forwarded as they are written."""
    assert section(time=time).options["time"] == str(time)


def test_options_a_site_adds_are_forwarded():
    """What sbatch does not know by itself may be known at the site."""
    assert section(**{"site-thing": 3, "exclusive": False, "contiguous": True}).options == {
        "cpus-per-task": "1", "site-thing": "3", "contiguous": True,
    }  # fmt: skip
    config = ModelConfig(
        mets={"h": {"source": "hrrr"}}, execution={"backend": "slurm", "site-thing": 3, "gres": "gpu:1"}
    )
    again = ModelConfig.from_yaml_text(config.to_yaml(), source="x")
    assert again.execution.options == config.execution.options


def test_without_slurm_it_is_said_in_one_line(make_context, monkeypatch):
    """No sbatch on PATH."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="sbatch is not on PATH, so there is no Slurm here"):
        SlurmBackend(section(), make_context(), Silent()).check()


@pytest.fixture
def put_on_path(tmp_path, monkeypatch):
    """Put a shell program where Slurm's would be found."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def put(name: str, body: bytes) -> None:
        (folder / name).write_bytes(b"#!/bin/sh\n" + body)
        (folder / name).chmod(0o755)

    return put


def test_programs_that_print_more_than_was_asked_for(put_on_path):
    """Bytes that are no text, colours, greetings of the site: the number is found, the complaint readable."""
    put_on_path("sbatch", b"printf 'bienvenue \\351t\\351\\n1234;notchpeak\\n'")
    assert client.submit("job.sh") == "1234"
    put_on_path("sbatch", b"printf '\\033[31msbatch: error: compte \\351puis\\351\\033[0m\\n' >&2; exit 1")
    with pytest.raises(client.SlurmError, match=r"^sbatch: compte \\xe9puis\\xe9$"):
        client.submit("job.sh")
    put_on_path("sbatch", b"echo queued, thank you")
    with pytest.raises(client.UnknownJobError, match="sbatch said 'queued, thank you' instead of"):
        client.submit("job.sh")
    put_on_path("squeue", b"printf '7_0|RUNNING|None\\n7_1|PENDING|r\\351serv\\351\\n'")
    assert client.tasks_in_queue(["7"])[1] == ("7_1", "PENDING", "r\\xe9serv\\xe9")
    put_on_path("sacct", b"exit 1")
    put_on_path(
        "scontrol",
        b"printf 'JobId=7 ArrayTaskId=0 JobName=caf\\351 JobState=TIMEOUT ExitCode=0:0 WorkDir=/\\351\\n'",
    )
    assert client.ends_of_tasks("7") == {0: ("TIMEOUT", "0:0")}


def test_the_script_can_be_read_where_there_is_no_slurm(make_context, monkeypatch):
    """A dry run on a laptop: the script, and that nobody was asked whether it is good."""
    monkeypatch.setenv("PATH", "/nonexistent")
    backend = SlurmBackend(section(n_workers=2, array_parallelism=1), make_context(), Silent())
    said = backend.preview(["one", "two", "three"])
    assert said.startswith("#!/bin/bash\n#SBATCH --job-name=stilt\n")
    assert "# 3 simulations, 2 array tasks; nothing was submitted" in said
    assert "# no Slurm here: neither its options nor MaxArraySize were asked for" in said
    assert said.endswith("# sbatch --array=0-1%1 job.sh 0")


def test_arrays_and_states_in_slurms_words(make_context, monkeypatch):
    """Long batches are split; accounting is asked first, the controller where there is none."""
    answers = {
        "scontrol": "Configuration data\nMaxArraySize            = 51\n",
        "sacct": "7_0|COMPLETED|0:0\n7_[1-2]|CANCELLED by 0|0:0\n",
    }
    monkeypatch.setattr(client, "call", lambda *command, **_: answers[command[0]])
    backend = SlurmBackend(section(array_parallelism=5), make_context(), Silent())
    assert backend._arrays(100) == [(0, 51), (51, 49)]
    assert backend._array(51) == "--array=0-50%5"
    assert client.ends_of_tasks("7")[2] == ("CANCELLED by 0", "0:0")
    answers |= {
        "sacct": "",
        "scontrol": "JobId=9 ArrayJobId=7 ArrayTaskId=3 JobState=TIMEOUT ExitCode=0:0\n"
        "JobId=8 ArrayJobId=7 ArrayTaskId=4-5%2 JobState=CANCELLED ExitCode=0:0\n",
    }
    assert client.ends_of_tasks("7") == {
        3: ("TIMEOUT", "0:0"), 4: ("CANCELLED", "0:0"), 5: ("CANCELLED", "0:0"),
    }  # fmt: skip


def test_notes_of_an_interrupted_chunk():
    """What was noted is read back; a line cut short is simply done again."""
    store = MemoryStore()
    chunk = ".stilt/chunks/b/0.jsonl"
    assert read_done(store, chunk) == {}
    results = [SimulationResult("a", "complete"), SimulationResult("b", "failed", "TIMEOUT", "too slow")]
    write_done(store, chunk, results)
    assert list(read_done(store, chunk).values()) == results
    store.write(".stilt/chunks/b/0.done", store.read(".stilt/chunks/b/0.done")[:-9])
    assert list(read_done(store, chunk)) == ["a"]
    write_done(store, "elsewhere.jsonl", results)
    assert read_done(store, "elsewhere.jsonl") == {}
