"""A loopback service on which everything goes wrong by chance, in a process that is forked, killed and restarted."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from integration.loopback import LoopbackProcess, _Handler, _Server
from integration.loopback_service import Fault, Outcome, Service, Settings

REQUESTS = {
    "request dropped": Fault("*"),
    "answer dropped": Fault("*", after=True),
    "500 before": Fault("*", 500),
    "500 after": Fault("*", 500, after=True),
    "503 before": Fault("*", 503),
    "429": Fault("*", 429),
    "429 with Retry-After": Fault("*", 429, retry_after=0),
}
"""What goes wrong with requests."""
OUTCOMES = {
    "job failed, charged": Outcome(state="FAILED", code=9999, charged=True),
    "job failed, free": Outcome(state="FAILED", code=9999),
    "job cancelled, free": Outcome(state="CANCELLED", queued=0.1),
    "job cancelled, charged": Outcome(state="CANCELLED", charged=True),
    "job queued long": Outcome(queued=0.7),
    "job takes long": Outcome(takes=0.5),
}
"""What becomes of jobs."""
TWICE, UNTOLD, LAG = "job made twice", "charge not told", "tags listed late"
KINDS = (*REQUESTS, *OUTCOMES, TWICE, UNTOLD, LAG)
"""Faults of the service."""


@dataclass(frozen=True)
class FaultySettings(Settings):
    """How often what goes wrong."""

    rates: dict[str, float] = field(default_factory=dict)
    """By kind: of submissions or jobs; of other requests a fifth."""
    surely: dict[str, int] = field(default_factory=dict)
    """By kind: from which submission on it happens once, if it has not by then."""


class FaultyService(Service):
    """Faults by chance; each is written down, so that killing the service does not hide it."""

    settings: FaultySettings

    def __init__(self, folder: Path, settings: FaultySettings) -> None:
        self.untold: set[str] = set()
        super().__init__(folder, settings)
        self.count = len(self.records)
        self.faults_log = folder / "faults.log"
        self.seen = set(self.faults_log.read_text().splitlines()) if self.faults_log.exists() else set()

    def happened(self, kind: str) -> None:
        self.seen.add(kind)
        with self.faults_log.open("a") as log:
            log.write(f"{kind}\n")

    def chosen(self, kinds: Any, share: float, number: int | None = None) -> str | None:
        """Return which kind happens now, or None; ``number`` is that of a submission."""
        for kind, when in self.settings.surely.items():
            if number is not None and kind in kinds and kind not in self.seen and when <= number:
                return kind
        threshold, drawn = 0.0, self.chance.random()
        for kind in kinds:
            threshold += share * self.settings.rates.get(kind, 0.0)
            if drawn < threshold:
                return kind
        return None

    def planned(self, route: str) -> Fault | None:
        with self.lock:
            sent = route == "POST /jobs"
            self.count += sent
            if route.endswith("/metrics") and route.split("/")[2] in self.untold:
                return Fault(route, 500)
            kind = self.chosen(REQUESTS, 1.0 if sent else 0.2, self.count if sent else None)
            if route.startswith(("POST /identity", "POST /v3", "GET /plan")) or kind is None:
                return super().planned(route)
            self.happened(kind)
            return replace(REQUESTS[kind], route=route)

    def submit(self, body: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            kind = self.chosen(OUTCOMES, 1.0, self.count)
            if kind is not None:
                self.happened(kind)
                self.outcomes.append(OUTCOMES[kind])
            found = super().submit(body)
            if self.chosen([UNTOLD], 1.0, self.count):
                self.happened(UNTOLD)
                self.untold.add(found["id"])
            if self.chosen([TWICE], 1.0, self.count):
                self.happened(TWICE)
                if self.chance.random() < 0.5:
                    self.outcomes.append(Outcome(queued=5.0))  # long enough to be cancelled in time
                super().submit(body)
        return found


class ForkedService(LoopbackProcess):
    """As ``LoopbackProcess``, but forked, which takes no time for imports."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.pid: int | None = None
        self.starts = 0

    def change(self, **settings: Any) -> None:
        """Change settings now and for later starts."""
        self.settings |= settings
        self.configure(**settings)

    def start(self, **settings: Any) -> None:
        self.settings |= settings
        self.starts += 1
        self.pid = pid = fork(self._serve)
        self._wait(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid)

    def kill(self) -> None:
        if self.pid is not None:
            end(self.pid)
        self.pid = None

    def happened(self) -> Counter[str]:
        """Faults so far, by kind."""
        log = self.folder / "faults.log"
        return Counter(log.read_text().splitlines()) if log.exists() else Counter()

    def _serve(self) -> None:
        service = FaultyService(self.folder, FaultySettings(**self.settings))
        service.chance = np.random.default_rng([service.settings.fault_seed, self.starts])
        _Server(("127.0.0.1", self.port), type("Handler", (_Handler,), {"service": service})).serve_forever()


def fork(work: Callable[[], None]) -> int:
    """Do something in a child of this process and return its id; the child ends with code 0, or 1 after an error."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:  # a child must not go on as its parent
        print(json.dumps({"error": repr(error)}), file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def end(pid: int) -> None:
    """Kill a child with signal 9."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
