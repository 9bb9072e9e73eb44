"""What the benchmark asks of a simulator, and the simulators it knows by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from workloads import Workload

Array = NDArray[np.float64]


class Simulator(Protocol):
    """Built for one workload, then asked again and again; only the asking is timed."""

    def __call__(self, points: Array) -> tuple[Array, Array | None]:
        """Return (B,) values and (B, P) gradients at (B, P) points; no gradients where only values are wanted."""
        ...


@dataclass(frozen=True)
class Entry:
    """One way of using one package."""

    maker: str
    """"module:name" of a function (workload, gradient, **settings) -> Simulator."""
    package: str
    """Its distribution on PyPI."""
    precision: str
    """"single" or "double"."""
    sizes: Mapping[str, int]
    """Per kind of workload, the most qubits it is asked for: beyond, it takes too long or too much memory."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    loops: bool = True
    """Whether instances run one after the other, so that a part of a batch tells the time per instance."""
    value_only: bool = False
    """Whether it has no gradients."""
    ours: bool = False
    """Whether it is this package's."""

    def make(self, workload: Workload, *, gradient: bool) -> Simulator:
        """Build and compile it for a workload."""
        module, name = self.maker.split(":")
        maker: Callable[..., Simulator] = getattr(importlib.import_module(module), name)
        return maker(workload, gradient=gradient, **self.settings)


_ALL = {"W1": 22, "W2": 12, "W3": 12}


def ours(device: str) -> dict[str, Entry]:
    """Return this package's engine in both precisions on a torch device."""
    return {
        f"statevector {precision}" + ("" if device == "cpu" else f" {device}"): Entry(
            "ours:Engine",
            "qiskit-metainit",
            precision,
            _ALL,
            {"precision": precision, "device": device},
            loops=False,
            ours=True,
        )
        for precision in ("single", "double")
    }


PEERS: Mapping[str, Entry] = {
    "lightning": Entry("peers.lightning:QNodes", "pennylane-lightning", "double", _ALL, {"precision": "double"}),
    "lightning single": Entry(
        "peers.lightning:QNodes", "pennylane-lightning", "single", {**_ALL, "W1": 20}, {"precision": "single"}
    ),
    "lightning tapes": Entry(
        "peers.lightning:Tapes", "pennylane-lightning", "double", {**_ALL, "W1": 20}, {"precision": "double"}
    ),
    "default.qubit": Entry("peers.default_qubit:Backprop", "pennylane", "double", {"W1": 10, "W2": 8}, loops=False),
    "qulacs": Entry("peers.qulacs_backprop:Backprop", "qulacs", "double", {**_ALL, "W1": 18}),
    "tensorcircuit gates": Entry(
        "peers.tensorcircuit_jax:gates", "tensorcircuit-ng", "single", {"W1": 13, "W2": 12}, loops=False
    ),
    "tensorcircuit diagonal": Entry(
        "peers.tensorcircuit_jax:diagonal_phases", "tensorcircuit-ng", "single", {"W1": 22}, loops=False
    ),
    "tensorcircuit diagonal map": Entry(
        "peers.tensorcircuit_jax:diagonal_phases",
        "tensorcircuit-ng",
        "single",
        {"W1": 16},
        {"batching": "map"},
        loops=False,
    ),
    "jax by hand": Entry("peers.jax_paulis:scan", "jax", "single", {"W3": 12}, loops=False),
    "aer parameter shift": Entry("peers.qiskit_gradients:aer", "qiskit-algorithms", "double", {"W1": 13, "W2": 8}),
    "reverse gradient": Entry(
        "peers.qiskit_gradients:reverse", "qiskit-algorithms", "double", {"W1": 16, "W2": 12, "W3": 10}
    ),
    "qokit": Entry("peers.qokit_values:Values", "qokit", "double", {"W1": 22}, value_only=True),
}
"""Other packages, each in the fastest way found of using it (and the standard way, where that differs)."""
