"""A loopback service: the REST API that the qiskit-ibm-runtime client talks to, with planned faults, for tests.

In a thread of the test, ``with Loopback(folder) as server: backend = server.backend()``; or as a process that can be
killed and started again on the jobs it had accepted, ``with LoopbackProcess(folder) as server``. Both have the methods
of ``CONTROLS``: ``server.fault("POST /jobs", status=500, after=True)``, ``server.next_job(state="FAILED")``,
``server.configure(tag_lag=2.0)``, ``server.jobs()``, ``server.shots_paid()``, ``server.requests()`` and
``server.clear()``.

What it answers follows what the client parses. It was never compared with the real service: no test should lean on
its texts or on what it charges for a job that failed.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import copy
import functools
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from integration.loopback_programs import snapshots
from integration.loopback_service import Answer, Job, Outcome, Service, Settings

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/0123456789abcdef:11111111-2222-3333-4444-555555555555::"
TOKEN = "loopback-token-0123456789"
CONTROLS = ("fault", "next_job", "configure", "jobs", "shots_paid", "requests", "clear")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    service: Service

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: Any) -> None:
        pass

    def _serve(self) -> None:
        split = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(split.path).removeprefix("/api/v1")
        route = f"{self.command} {path}"
        if path.startswith("/control/"):
            self._answer(200, self._control(path.removeprefix("/control/"), json.loads(raw or b"{}")))
            return
        fault = self.service.planned(route)
        try:
            if fault is None or fault.after:
                found: Any = self._route(path, parse_qs(split.query), raw)
                status = 204 if found is None else 200
            if fault is not None:
                if fault.status is None:
                    self.close_connection = True
                    with contextlib.suppress(OSError):
                        self.connection.shutdown(socket.SHUT_RDWR)
                    return
                headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                self._answer(fault.status, {"error": {"message": "planned", "code": fault.status}}, headers)
                return
        except Answer as other:
            status, found = other.status, {"error": {"message": other.message, "code": other.code}}
        except Exception:
            status, found = 500, {"error": {"message": traceback.format_exc(), "code": 500}}
        self._answer(status, found)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815 the names http.server looks for

    def _answer(self, status: int, found: Any, headers: dict[str, str] | None = None) -> None:
        body = b"" if found is None else found.encode() if isinstance(found, str) else json.dumps(found).encode()
        with contextlib.suppress(OSError):  # the client has gone
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _control(self, name: str, what: dict[str, Any]) -> Any:
        if name not in CONTROLS:
            return None
        found = getattr(self.service, name)(*what.pop("", ()), **what)
        return [asdict(job) for job in found] if name == "jobs" else found

    def _route(self, path: str, query: dict[str, list[str]], raw: bytes) -> Any:
        service, settings = self.service, self.service.settings
        match [self.command, *path.strip("/").split("/")]:
            case ["POST", "identity", "token"]:
                return _token()
            case ["POST", "v3", "resources", "search"]:
                item = {"crn": CRN, "name": "loopback", "tags": [], "service_plan_unique_id": "plan"}
                return {"items": [item | {"doc": {"extensions": {"allocations": 1}}}], "limit": 100}
            case ["GET", *_, "plan"]:
                pricing = {"type": "free" if settings.plan == "Open" else "paid"}
                return {"overview_ui": {"en": {"display_name": settings.plan}}, "metadata": {"pricing": pricing}}
            case ["GET", "instances", "usage"]:
                return _usage(service)
            case ["GET", "backends"]:
                return {"devices": [_device(service, name) for name in settings.devices]}
            case ["GET", "backends", name, what] if name in settings.devices:
                return _backend(service, name, what)
            case ["POST", "jobs"]:
                return service.submit(json.loads(raw))
            case ["GET", "jobs"]:
                return service.listed(query)
            case ["GET", "jobs", job_id]:
                return service.described(service.job(job_id))
            case ["GET", "jobs", job_id, "results"]:
                return service.result(job_id)
            case ["GET", "jobs", job_id, "metrics"]:
                return service.metrics(service.job(job_id))
            case ["POST", "jobs", job_id, "cancel"]:
                return service.cancel(job_id)
            case ["POST", "sessions"]:
                return service.open_session(json.loads(raw))
            case ["GET", "sessions", session_id]:
                return service.session(session_id)
            case ["PATCH", "sessions", session_id] | ["DELETE", "sessions", session_id, "close"]:
                return service.close_session(session_id)
        raise Answer(404, f"no {self.command} {path}", 404)


def _token() -> dict[str, Any]:
    now = int(time.time())
    parts = [{"alg": "none", "typ": "JWT"}, {"iat": now, "exp": now + 86400, "sub": "loopback"}]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    token = ".".join([*coded, "c2lnbmF0dXJl"])
    return {"access_token": token, "refresh_token": "none", "expires_in": 86400, "expiration": now + 86400}


def _usage(service: Service) -> dict[str, Any]:
    used, limit = service.consumed(), service.settings.limit_seconds
    found: dict[str, Any] = {"instance_id": CRN, "plan_id": "plan", "usage_consumed_seconds": used}
    if limit is None:
        return found
    return found | {"usage_limit_seconds": limit, "usage_limit_reached": used >= limit}


def _device(service: Service, name: str) -> dict[str, Any]:
    status = {"name": "paused" if service.settings.paused else "online", "reason": "available"}
    waiting = sum(job.ended is None for job in service.jobs())
    return {"name": name, "status": status, "queue_length": waiting, "qubits": snapshots(name)[0]["n_qubits"]}


def _backend(service: Service, name: str, what: str) -> Any:
    settings = service.settings
    configuration, properties = snapshots(name)
    if what == "configuration":
        return configuration
    if what == "status":
        waiting = sum(job.ended is None for job in service.jobs())
        message = "maintenance" if settings.paused else "active"
        return {"backend_version": "1", "state": not settings.paused, "status": message, "length_queue": waiting}
    if what == "properties":
        properties = copy.deepcopy(properties)
        broken = {"name": "operational", "value": 0, "unit": "", "date": "2026-01-01T00:00:00+00:00"}
        for qubit in settings.faulty_qubits:
            properties["qubits"][qubit].append(broken)
        for gate in properties["gates"]:
            if tuple(gate["qubits"]) in {tuple(pair) for pair in settings.faulty_gates}:
                gate["parameters"].append(broken)
        return properties
    raise Answer(404, f"no {what}", 404)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    allow_reuse_port = True  # beside the socket that keeps it, see ``LoopbackProcess``
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(*arguments)

    def handle_error(self, *_: Any) -> None:
        """A client that went away is nothing to print."""


def listen(folder: Path, port: int, settings: Settings) -> _Server:
    """A server that answers as soon as somebody calls its ``serve_forever``."""
    service = Service(folder, settings)
    return _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"service": service}))


class _Client:
    """What a test needs to reach a loopback service with the real client."""

    port: int

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead the client here, for this process or another one."""
        url = f"http://127.0.0.1:{self.port}"
        return {"IAM_URL": url, "GLOBAL_SEARCH_URL": url, "GLOBAL_CATALOG_URL": url}

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """Lead the client here while a service is made, and put the variables back."""
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    def service(self) -> Any:
        """The real client's QiskitRuntimeService, talking to this server."""
        from qiskit_ibm_runtime import QiskitRuntimeService
        from qiskit_ibm_runtime.api import session

        # With every request the client tells whose code calls it, for which it reads the sources of the whole stack:
        # most of the time of a test. Their names are enough, and what it sends is the same.
        session.inspect = SimpleNamespace(stack=functools.partial(inspect.stack, context=0))
        with self.here(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            url = f"http://127.0.0.1:{self.port}/api/v1"
            return QiskitRuntimeService(
                channel="ibm_quantum_platform", token=TOKEN, instance=CRN, url_resolver=lambda *_: url
            )

    def backend(self, name: str = "manila") -> Any:
        """A backend of a new service."""
        return self.service().backend(name)


class Loopback(_Client):
    """The service in a thread of this process, from ``with`` to its end."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.server = listen(folder, 0, Settings(**settings))
        self.port = self.server.server_address[1]
        self.core: Service = self.server.RequestHandlerClass.service
        for name in CONTROLS:
            setattr(self, name, getattr(self.core, name))

    def __enter__(self) -> Loopback:
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.server.connections):  # kept alive by clients
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        with self.core.lock:
            self.core.closed = True
            self.core.wake.notify_all()
        self.core.worker.join()


class LoopbackProcess(_Client):
    """The service as a process: ``kill`` it, ``start`` it again on the same port and jobs."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.settings = folder, settings
        self.place = socket.socket()  # never listens: it keeps the port from others while the process is not there
        self.place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.place.bind(("127.0.0.1", 0))
        self.port = self.place.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: Any) -> None:
        """Start it and wait until it answers; settings change those it had."""
        self.settings |= settings
        tests = str(Path(__file__).parents[1])
        command = [sys.executable, __file__, "--port", str(self.port), "--state", str(self.folder)]
        self.process = subprocess.Popen(
            [*command, "--settings", json.dumps(self.settings)], env=os.environ | {"PYTHONPATH": tests}
        )
        self._wait(lambda: self.process is None or self.process.poll() is not None)

    def _wait(self, ended: Callable[[], bool]) -> None:
        """Wait until it answers."""
        until = time.monotonic() + 60.0
        while True:
            try:
                self.requests()
                return
            except OSError as error:
                if ended() or time.monotonic() > until:
                    raise RuntimeError("The loopback service did not start.") from error
                time.sleep(0.01)

    def kill(self) -> None:
        """End it with signal 9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> LoopbackProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill it for good."""
        self.kill()
        self.place.close()

    def _call(self, name: str, *arguments: Any, **what: Any) -> Any:
        data = json.dumps({"": arguments, **what}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/control/{name}", data, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def fault(self, route: str, **what: Any) -> None:
        self._call("fault", route, **what)

    def next_job(self, **what: Any) -> None:
        self._call("next_job", **what)

    def configure(self, **what: Any) -> None:
        self._call("configure", **what)

    def clear(self) -> None:
        self._call("clear")

    def jobs(self) -> list[Job]:
        return [job(raw) for raw in self._call("jobs")]

    def shots_paid(self) -> int:
        return int(self._call("shots_paid"))

    def requests(self) -> list[str]:
        return list(self._call("requests"))


def job(raw: dict[str, Any]) -> Job:
    """A job from its JSON."""
    return Job(**raw | {"outcome": Outcome(**raw["outcome"]), "tags": tuple(raw["tags"])})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, default={})
    given = parser.parse_args()
    listen(given.state, given.port, Settings(**given.settings)).serve_forever()


if __name__ == "__main__":
    main()
