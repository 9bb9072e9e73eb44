"""The floor: what an ideal simulator's memory traffic alone would take.

An ideal adjoint simulator reads and writes the state once a layer going forward, reads it and writes the Hamiltonian's
image of it, and reads and writes both once a layer going backward; everything else is free. With S bytes a state and
L layers that is ``S (2 L + 2 + 4 L)`` bytes for value and gradient and ``S (2 L + 1)`` for the value alone. A layer is
one of QAOA's p, one of ``efficient_su2``'s reps + 1, or one excitation of UCCSD. The bandwidth is that of copying a
buffer as large as the batch's states, so that small batches are measured in the cache that they live in.
"""

from __future__ import annotations

import time

import numpy as np
from workloads import Workload


def state_bytes(workload: Workload, precision: str) -> int:
    """Return S of the whole batch."""
    return len(workload.instances) * (1 << workload.qubits) * (8 if precision == "single" else 16)


def layers(workload: Workload) -> int:
    """Return L."""
    if workload.kind == "W1":
        return workload.parameters // 2
    return workload.parameters // (2 * workload.qubits) if workload.kind == "W2" else workload.parameters


def traffic(workload: Workload, precision: str, *, gradient: bool) -> int:
    """Return the bytes an ideal simulator moves for the whole batch."""
    passes = 6 * layers(workload) + 2 if gradient else 2 * layers(workload) + 1
    return state_bytes(workload, precision) * passes


def copy_bandwidth(size: int, *, device: str = "cpu", seconds: float = 1.0) -> float:
    """Return bytes a second, read and written, of copying a buffer of so many bytes: the best of many runs."""
    import torch  # not needed by the peers' processes

    source = torch.from_numpy(np.ones(max(size // 8, 1))).to(device)
    target = torch.empty_like(source)
    best, begin = float("inf"), time.perf_counter()
    repeats = max(1, (1 << 22) // max(size, 1))  # a single small copy is shorter than the clock is fine
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        for _ in range(repeats):
            target.copy_(source)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - start) / repeats)
    return 2 * source.nbytes / best
