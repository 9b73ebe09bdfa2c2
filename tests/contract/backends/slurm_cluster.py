"""
A real Slurm of two nodes on this machine: private folder, free ports, loopback, own munge key.

Also a program, for trying things by hand::

    python tests/contract/backends/slurm_cluster.py FOLDER      starts it, prints SLURM_CONF, stops at Ctrl-C
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
ACCOUNTING_PROGRAMS = ("slurmdbd", "sacct", "sacctmgr", "mariadbd", "mariadb-install-db")

_CONF = """\
ClusterName=stilt
SlurmctldHost=localhost
SlurmctldAddr=127.0.0.1
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.sock,cred_expire=5
CryptoType=crypto/munge
EnforcePartLimits=ALL
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
DefMemPerCPU=4000
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=100000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
MailProg=/bin/true
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=10
KillWait=3
MinJobAge={min_job_age}
MaxArraySize={max_array_size}
{accounting}
{submit_plugin}
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8 RealMemory=32000
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8 RealMemory=32000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=closed Nodes=ALL MaxTime=INFINITE State=UP AllowAccounts=rich
"""


_SUBMIT_LUA = """\
-- what a site may say, in an encoding of its own (Latin-1)
function slurm_job_submit(job, partitions, uid)
   if job.comment == "poor" then
      slurm.log_user("compte \\233puis\\233")
      return slurm.ERROR
   elseif job.comment == "greet" then
      slurm.log_user("bienvenue, c'est l'\\233t\\233")
   end
   return slurm.SUCCESS
end

function slurm_job_modify(job, old, partitions, uid)
   return slurm.SUCCESS
end
"""
_SUBMIT_PLUGIN = ("lib*/*/slurm*/job_submit_lua.so", "lib*/slurm*/job_submit_lua.so")
"""Where the plugin may be, below /usr."""

_NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none"
_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/run/munge.sock
AccountingStorageEnforce=associations
"""

_DBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports[0]}
SlurmUser={user}
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[1]}
StorageUser=root
StorageLoc=slurm
"""


def missing_programs(*, accounting: bool = False) -> list[str]:
    """Programs of Slurm, and of its accounting, that are not on PATH."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    wanted = (*PROGRAMS, *ACCOUNTING_PROGRAMS) if accounting else PROGRAMS
    return [name for name in wanted if shutil.which(name, path=path) is None]


class SlurmCluster:
    """
    Two nodes of eight cores, whatever this machine has, so that tasks that do nothing do not wait.

    Parameters
    ----------
    folder : Path
        Everything it writes; short, because of the limits of socket names.
    max_array_size, min_job_age : int
        MaxArraySize and MinJobAge of the site.
    accounting : bool
        Whether there is slurmdbd, with a MariaDB of its own; jobs need an account it knows then.
    """

    def __init__(
        self, folder: Path, *, max_array_size: int = 51, min_job_age: int = 300, accounting: bool = False
    ) -> None:
        self.folder = folder
        self._accounting_ports = _free_ports(2) if accounting else []
        self.nodes = ("n1", "n2")
        for name in ("run", "state", "spool", "log"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for place in (folder, *folder.iterdir()):
            place.chmod(0o755)
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        self.speaks = any(list(Path("/usr").glob(place)) for place in _SUBMIT_PLUGIN)
        if self.speaks:
            (folder / "job_submit.lua").write_text(_SUBMIT_LUA)
        self.conf = folder / "slurm.conf"
        self.conf.write_text(
            _CONF.format(
                folder=folder,
                user=getpass.getuser(),
                ports=_free_ports(3),
                max_array_size=max_array_size,
                submit_plugin="JobSubmitPlugins=lua" if self.speaks else "",
                min_job_age=min_job_age,
                accounting=_ACCOUNTING.format(folder=folder, port=self._accounting_ports[0])
                if accounting
                else _NO_ACCOUNTING,
            )
        )
        self.environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        self.environment["PATH"] = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Bring everything up and wait until the nodes are idle."""
        run = self.folder / "run"
        self._start(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={self.folder}/munge.key",
            f"--socket={run}/munge.sock",
            f"--pid-file={run}/munged.pid",
            f"--log-file={self.folder}/log/munged.log",
            f"--seed-file={run}/munged.seed",
        )
        _until(lambda: (run / "munge.sock").exists(), "munged")
        if self._accounting_ports:
            self._start_accounting()
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)
        _until(lambda: set(self.ask("sinfo", "-h", "-o", "%T").split()) == {"idle"}, "idle nodes", 60.0)

    def _start_accounting(self) -> None:
        data, port = self.folder / "database", self._accounting_ports[1]
        data.mkdir()
        as_user = ("--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}")
        subprocess.run(
            ["mariadb-install-db", *as_user, "--auth-root-authentication-method=normal", "--skip-test-db"],
            env=self.environment, check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        self._start(
            "mariadbd", *as_user,
            f"--socket={self.folder}/run/db.sock", f"--pid-file={self.folder}/run/db.pid",
            "--bind-address=127.0.0.1", f"--port={port}", "--innodb-flush-log-at-trx-commit=0",
        )  # fmt: skip
        _until(lambda: _answers(port), "mariadbd")
        conf = self.folder / "slurmdbd.conf"  # beside slurm.conf is where it is looked for
        conf.write_text(
            _DBD_CONF.format(folder=self.folder, user=getpass.getuser(), ports=self._accounting_ports)
        )
        conf.chmod(0o600)
        self._start("slurmdbd", "-D")
        _until(lambda: _answers(self._accounting_ports[0]), "slurmdbd")
        self.ask("sacctmgr", "-i", "add", "cluster", "stilt")
        self.ask("sacctmgr", "-i", "add", "account", "lab", "cluster=stilt")
        self.ask("sacctmgr", "-i", "add", "user", getpass.getuser(), "account=lab")

    def start_controller(self) -> None:
        """Start slurmctld and wait until it answers."""
        self._start("slurmctld", "-D", "-f", str(self.conf))
        _until(lambda: "UP" in self.ask("scontrol", "ping"), "slurmctld")

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._start("slurmd", "-D", "-N", node, "-f", str(self.conf), name=node)

    def stop_controller(self) -> None:
        """Take slurmctld down."""
        self._stop("slurmctld")

    def kill_node(self, node: str) -> None:
        """Let a node die: its daemon and everything it runs."""
        import psutil

        daemon = self._running.pop(node)
        steps = [
            child
            for process in psutil.process_iter(["name", "environ"])
            if process.info["name"] == "slurmstepd"
            or (process.info["environ"] or {}).get("SLURMD_NODENAME") == node
            for child in [process]
            if self._is_ours(child, node)
        ]
        for process in steps:
            with contextlib.suppress(psutil.Error):
                process.kill()
        daemon.kill()
        daemon.wait()

    def _is_ours(self, process: object, node: str) -> bool:
        import psutil

        with contextlib.suppress(psutil.Error):
            environ = process.environ()  # type: ignore[attr-defined]
            if environ.get("SLURM_CONF") == str(self.conf):
                return bool(environ.get("SLURMD_NODENAME") == node)
        return False

    def ask(self, *command: str) -> str:
        """Run one of Slurm's commands; what it printed."""
        return self.ask_bytes(*command).decode(errors="replace")

    def ask_bytes(self, *command: str) -> bytes:
        """Run one of Slurm's commands; what it printed, which need not be text."""
        done = subprocess.run(command, env=self.environment, capture_output=True, timeout=30, check=False)
        return done.stdout

    def idle(self, seconds: float = 30.0) -> None:
        """Cancel whatever is left of earlier tests and bring both nodes back."""
        self.ask("scancel", "--state=PENDING")
        self.ask("scancel", f"--user={getpass.getuser()}")
        for node in self.nodes:
            if node not in self._running:
                self.start_node(node)
        _until(lambda: not self.ask("squeue", "-h").strip(), "the queue to empty", seconds)
        _until(lambda: set(self.ask("sinfo", "-h", "-o", "%T").split()) == {"idle"}, "idle nodes", seconds)

    def stop(self) -> None:
        """Stop all of it, by its own handles."""
        with contextlib.suppress(Exception):
            self.ask("scancel", f"--user={getpass.getuser()}")
            _until(lambda: not self.ask("squeue", "-h").strip(), "the queue to empty", 10.0)
        for name in list(self._running)[::-1]:
            self._stop(name)

    def _start(self, *command: str, name: str = "") -> None:
        log = (self.folder / "log" / f"{name or command[0]}.out").open("ab")
        with log:
            self._running[name or command[0]] = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def _stop(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _until(condition: object, what: str, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.1)


def main(arguments: Iterable[str]) -> None:
    """Run a cluster until Ctrl-C."""
    folder, *sizes = arguments
    cluster = SlurmCluster(Path(folder), max_array_size=int(sizes[0]) if sizes else 1001)
    cluster.start()
    print(f"export SLURM_CONF={cluster.conf}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            signal.pause()
        finally:
            cluster.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
