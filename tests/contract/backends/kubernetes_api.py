"""
A small stateful stand-in for the job API of Kubernetes: strict about manifests, pods are processes.

Jobs can be created (also dry), read, deleted and watched; each index runs the container's
arguments as ``python -m stilt ...`` with the environment a kubelet would give it, restarts what was
killed up to ``backoffLimitPerIndex`` times, and follows the pod failure policy for exit codes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

VERSION = "1.30"
"""Version of the schemas manifests are held against."""


class KubernetesApi:
    """The server and what it knows."""

    def __init__(self, folder: Path, *, runs_pods: bool = True) -> None:
        self.folder = folder
        self.runs_pods = runs_pods
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.requests: list[str] = []
        self.events: list[tuple[int, str, dict[str, Any]]] = []
        self.changed = threading.Condition()
        self.is_closed = False
        self._version = 0
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                return

            def do_GET(self) -> None:
                api._get(self)

            def do_POST(self) -> None:
                api._post(self)

            def do_DELETE(self) -> None:
                api._delete(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._workers: list[threading.Thread] = []

    def start(self) -> None:
        """Answer from now on, and write a kubeconfig."""
        self._thread.start()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": {"token": "none"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
        }
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps(config))

    def stop(self) -> None:
        """End everything it started."""
        self.is_closed = True
        for pod in list(self.pods.values()):
            if pod.poll() is None:
                pod.kill()
        for worker in self._workers:
            worker.join(10)
        with self.changed:
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    # --- requests ---------------------------------------------------------------------------------

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        parts, query = self._parsed(handler)
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        namespace = parts[5]
        if namespace == "forbidden":
            return self._refuse(
                handler, 403, 'jobs.batch is forbidden: User "me" cannot create resource "jobs"'
            )
        problem = self._problem(body)
        if problem:
            return self._refuse(handler, 422, problem)
        name = body["metadata"]["name"]
        if name in self.jobs:
            return self._refuse(handler, 409, f'jobs.batch "{name}" already exists')
        body["status"] = {}
        if "dryRun" not in query:
            with self.changed:
                self.jobs[name] = body
            self._note("ADDED", body)
            if self.runs_pods:
                worker = threading.Thread(target=self._run_job, args=(body,), daemon=True)
                self._workers.append(worker)
                worker.start()
        return self._answer(handler, 201, body)

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        parts, query = self._parsed(handler)
        if len(parts) == 8:
            job = self.jobs.get(parts[7])
            if job is None:
                return self._refuse(handler, 404, f'jobs.batch "{parts[7]}" not found')
            return self._answer(handler, 200, job)
        if query.get("watch") not in (["true"], ["True"]):
            return self._answer(
                handler, 200, {"kind": "JobList", "apiVersion": "batch/v1", "metadata": {}, "items": []}
            )
        name = query["fieldSelector"][0].partition("=")[2]
        seen = int(query.get("resourceVersion", ["0"])[0] or 0)
        until = time.monotonic() + int(query.get("timeoutSeconds", ["30"])[0])
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Connection", "close")
        handler.end_headers()
        while time.monotonic() < until and not self.is_closed:
            with self.changed:
                new = [each for each in self.events if each[0] > seen and each[2]["metadata"]["name"] == name]
                if not new:
                    self.changed.wait(min(1.0, max(0.0, until - time.monotonic())))
                    continue
            for version, kind, job in new:
                seen = version
                handler.wfile.write(json.dumps({"type": kind, "object": job}).encode() + b"\n")
                handler.wfile.flush()
        handler.close_connection = True
        return None

    def _delete(self, handler: BaseHTTPRequestHandler) -> None:
        parts, _ = self._parsed(handler)
        length = int(handler.headers.get("Content-Length") or 0)
        handler.rfile.read(length)
        with self.changed:
            job = self.jobs.pop(parts[7], None)
        if job is None:
            return self._refuse(handler, 404, f'jobs.batch "{parts[7]}" not found')
        for (name, _), pod in list(self.pods.items()):
            if name == parts[7] and pod.poll() is None:
                pod.terminate()
        self._note("DELETED", job)
        return self._answer(handler, 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _parsed(self, handler: BaseHTTPRequestHandler) -> tuple[list[str], dict[str, list[str]]]:
        address = urlsplit(handler.path)
        self.requests.append(f"{handler.command} {handler.path}")
        parts = address.path.split("/")
        assert parts[1:5] == ["apis", "batch", "v1", "namespaces"], handler.path
        return parts, parse_qs(address.query)

    def _answer(self, handler: BaseHTTPRequestHandler, code: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        handler.send_response(code)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _refuse(self, handler: BaseHTTPRequestHandler, code: int, message: str) -> None:
        self._answer(
            handler, code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
        )

    def _problem(self, body: dict[str, Any]) -> str:
        import kubernetes_validate

        try:
            kubernetes_validate.validate(body, VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            return str(error.message)
        return ""

    def _note(self, kind: str, job: dict[str, Any]) -> None:
        with self.changed:
            self._version += 1
            job["metadata"]["resourceVersion"] = str(self._version)
            self.events.append((self._version, kind, json.loads(json.dumps(job))))
            self.changed.notify_all()

    # --- pods -------------------------------------------------------------------------------------

    def _run_job(self, job: dict[str, Any]) -> None:
        spec, name = job["spec"], job["metadata"]["name"]
        waiting = list(range(spec["completions"]))
        lost = dict.fromkeys(waiting, 0)
        running: dict[int, subprocess.Popen[bytes]] = {}
        completed: set[int] = set()
        failed: set[int] = set()
        final = {
            index
            for rule in spec["podFailurePolicy"]["rules"]
            if rule["action"] == "FailIndex"
            for index in rule["onExitCodes"]["values"]
        }
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            while (waiting or running) and not self.is_closed and name in self.jobs:
                while waiting and len(running) < spec["parallelism"]:
                    index = waiting.pop(0)
                    running[index] = self.pods[name, index] = self._pod(spec, name, index, scratch)
                for index, pod in list(running.items()):
                    code = pod.poll()
                    if code is None:
                        continue
                    del running[index]
                    if code == 0:
                        completed.add(index)
                    elif code in final or lost[index] >= spec["backoffLimitPerIndex"]:
                        failed.add(index)
                    else:
                        lost[index] += 1
                        waiting.append(index)
                status: dict[str, Any] = {
                    "active": len(running) + len(waiting),
                    "ready": len(running),
                    "completedIndexes": ",".join(map(str, sorted(completed))),
                    "failedIndexes": ",".join(map(str, sorted(failed))),
                }
                if not running and not waiting:
                    kind = "Failed" if failed else "Complete"
                    reason = (
                        {"reason": "FailedIndexes", "message": "Job has failed indexes"} if failed else {}
                    )
                    status["conditions"] = [{"type": kind, "status": "True", **reason}]
                if status != job["status"]:
                    job["status"] = status
                    if name in self.jobs:
                        self._note("MODIFIED", job)
                time.sleep(0.05)
            for pod in running.values():
                pod.wait(30)

    def _pod(self, spec: dict[str, Any], name: str, index: int, scratch: str) -> subprocess.Popen[bytes]:
        container = spec["template"]["spec"]["containers"][0]
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert mounted["/scratch"] == "scratch"
        # a pod knows nothing of the environment of who submitted it, least of all passwords
        environment = {name: value for name, value in os.environ.items() if name != "PYSTILT_DB_URL"}
        for source in container.get("envFrom", ()):
            environment |= self.secrets.get(source["secretRef"]["name"], {})
        for variable in container.get("env", ()):
            if "valueFrom" in variable:
                path = variable["valueFrom"]["fieldRef"]["fieldPath"]
                assert path == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
                environment[variable["name"]] = str(index)
            else:
                environment[variable["name"]] = variable["value"].replace("/scratch", scratch)
        arguments = [
            re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], each).replace("/scratch", scratch)
            for each in container["args"]
        ]
        log = (self.folder / f"{name}-{index}.log").open("ab")
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", "stilt", *arguments], env=environment, stdout=log, stderr=log
            )


def kill_one(api: KubernetesApi, name: str, indexes: Iterable[int]) -> None:
    """Kill the pod of one of some indexes that runs."""
    for index in indexes:
        pod = api.pods.get((name, index))
        if pod is not None and pod.poll() is None:
            pod.kill()
            return
    raise AssertionError("no pod runs")
