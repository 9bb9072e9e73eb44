"""One simulator in a process of its own: reads commands as lines of JSON, answers with lines of JSON.

``python worker.py NAME DEVICE CORES`` with a name of ``simulator.PEERS`` or of this package's engine, and cores such as
0,1 to stay on.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

CORES = [int(core) for core in sys.argv[3].split(",")] if __name__ == "__main__" else []
if CORES:  # before anything starts threads
    os.sched_setaffinity(0, CORES)

import numpy as np  # noqa: E402  affinity comes first
from simulator import PEERS, Entry, Simulator, ours  # noqa: E402
from workloads import Workload  # noqa: E402

_RELEVANT = (
    *("qiskit-metainit", "torch", "numpy", "scipy", "qiskit", "qiskit-aer", "qiskit-algorithms", "pennylane"),
    *("pennylane-lightning", "qulacs", "tensorcircuit-ng", "jax", "jaxlib", "qokit"),
)


class Worker:
    """Holds at most one built simulator."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._simulator: Simulator | None = None
        self._points = np.zeros((0, 0))

    def versions(self) -> dict[str, str]:
        """Return those of the packages that numbers may depend on."""
        present = {name: version for name, version in _installed() if name in _RELEVANT}
        return {"python": platform.python_version(), **dict(sorted(present.items()))}

    def build(self, path: str, count: int | None = None, gradient: bool = True) -> dict[str, Any]:
        """Build for the first instances of a file; return seconds and what it answers at their points."""
        workload = Workload.read(Path(path), count)
        self._simulator = None
        start = time.perf_counter()
        self._simulator = self._entry.make(workload, gradient=gradient)
        seconds = time.perf_counter() - start
        self._points = np.array([instance.point for instance in workload.instances])
        values, gradients = self._simulator(self._points)
        slopes = None if gradients is None else gradients.tolist()
        return {"seconds": seconds, "values": values.tolist(), "gradients": slopes}

    def measure(self, seconds: float) -> dict[str, float]:
        """Call until the time is over; return the median of the calls' seconds."""
        assert self._simulator is not None
        times: list[float] = []
        begin = time.perf_counter()
        while not times or time.perf_counter() - begin < seconds:
            start = time.perf_counter()
            self._simulator(self._points)
            times.append(time.perf_counter() - start)
        return {"seconds": statistics.median(times), "calls": len(times)}

    def memory(self, warm: str, path: str) -> dict[str, int]:
        """Return bytes that building for a file holds, and the peak of building and one call, after a small warm-up."""
        return_freed_memory()
        small, large = Workload.read(Path(warm)), Workload.read(Path(path))
        self._entry.make(small, gradient=True)(np.array([instance.point for instance in small.instances]))
        points = np.array([instance.point for instance in large.instances])
        before = resident("VmRSS")
        reset_peak()
        simulator = self._entry.make(large, gradient=True)
        held, building = resident("VmRSS"), resident("VmHWM")
        reset_peak()
        simulator(points)
        return {"held": held - before, "building": building - before, "call": resident("VmHWM") - before}


def resident(key: str) -> int:
    """Return bytes of this process in memory: now ("VmRSS") or at most since the last reset ("VmHWM")."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}: memory is measured on Linux only.")


def return_freed_memory() -> None:
    """Have glibc give blocks of 64 KiB and more back to the system when they are freed: then resident means in use."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").mallopt(-3, 1 << 16)  # M_MMAP_THRESHOLD


def reset_peak() -> None:
    """Forget the high-water mark."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _installed() -> list[tuple[str, str]]:
    named = [(distribution.metadata["Name"], distribution.version) for distribution in metadata.distributions()]
    return [(name.lower().replace("_", "-"), version) for name, version in named]


def serve(entry: Entry, answers: TextIO) -> None:
    """Obey ``{"do": method, ...arguments}`` until the input ends."""
    worker = Worker(entry)
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            answer = {"answer": getattr(worker, arguments.pop("do"))(**arguments)}
        except Exception as error:  # whatever a peer raises is told, and the comparison goes on without it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)  # what packages print must not mix with the answers
        serve((PEERS | ours(sys.argv[2]))[sys.argv[1]], channel)
