"""From a Hamiltonian to its QAOA circuit; the only home of the conventions of order, sign and scale.

A point is ordered as ``circuit.parameters``: [beta_0 .. beta_(p-1), gamma_0 .. gamma_(p-1)], in radians. A layer is
``exp(-i gamma H)`` and then ``exp(-i beta sum X)``, with H the Hamiltonian to be *minimised*. The literature maximises
``C = sum w/2 (1 - ZZ)`` with ``exp(-i gamma_C C)``: as H = -C + const, gamma = -gamma_C with the same beta, where a
term ``alpha Z..Z`` of H has the weight w = 2 alpha. Models speak of H scaled to rms(w) = 1, the *natural* units: a
natural gamma is divided by rms(w) before it meets the circuit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit.library import qaoa_ansatz
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from qiskit_metainit.rotations import Rotation, split

CONVENTIONS = "minimise H; point = [beta, gamma]; layer = exp(-i gamma H) exp(-i beta sum X); natural: rms(2 alpha) = 1"
"""Written into every artifact; a change here makes old artifacts refuse to load instead of serving wrong points."""


def check_reps(reps: int) -> int:
    """Return the number of layers p, or raise a ValueError if it is not a positive integer."""
    if isinstance(reps, bool) or not isinstance(reps, int | np.integer) or reps < 1:
        raise ValueError(f"reps must be a positive integer (the number of QAOA layers), but {reps!r} came.")
    return int(reps)


def qaoa(operator: SparsePauliOp, reps: int) -> QuantumCircuit:
    """Return ``qaoa_ansatz(operator, reps)``: 2 * reps parameters, no measurement.

    >>> qaoa(SparsePauliOp("ZZ"), reps=2).num_parameters
    4
    """
    circuit: QuantumCircuit = qaoa_ansatz(operator, reps=check_reps(reps))
    return circuit


def join(betas: Tensor, gammas: Tensor) -> Tensor:
    """Return points (..., 2p) from betas (..., p) and gammas (..., p)."""
    return torch.cat([betas, gammas], dim=-1)


def split_point(point: Tensor) -> tuple[Tensor, Tensor]:
    """Return the betas (..., p) and gammas (..., p) of points (..., 2p), as views."""
    reps = point.shape[-1] // 2
    return point[..., :reps], point[..., reps:]


def per_layer(reps: Sequence[int], schedule: Callable[[int], Tensor]) -> Tensor:
    """Return (B, P) points, row b being ``schedule(reps[b])`` padded with zeros."""
    points = torch.zeros(len(reps), 2 * max(reps), dtype=torch.float64)
    for row, depth in enumerate(reps):
        points[row, : 2 * depth] = schedule(depth)
    return points


def scale_gammas(points: Tensor, reps: Sequence[int], factors: Tensor) -> None:
    """Multiply the gammas of (B, P) points in place, row b being of ``reps[b]`` layers, by (B,) factors."""
    for row, depth in enumerate(reps):
        _, gammas = split_point(points[row, : 2 * depth])
        gammas *= factors[row]


def from_literature(betas: Tensor, gammas_c: Tensor) -> Tensor:
    """Return points (..., 2p) from angles tabulated for maximised ``C = sum w/2 (1 - ZZ)`` at the same rms(w)."""
    return join(betas, -gammas_c)


def stretch(angles: Sequence[float], reps: int) -> Tensor:
    """Return (p,) angles of p = reps layers from a schedule of another depth, linear in s = (l - 1/2)/p between them.

    >>> stretch([1.0, 3.0], 4).tolist()
    [1.0, 1.5, 2.5, 3.0]
    """
    stage = (np.arange(reps) + 0.5) / reps
    tabulated = (np.arange(len(angles)) + 0.5) / len(angles)
    return torch.as_tensor(np.interp(stage, tabulated, angles))


def natural_unit(coefficients: np.ndarray, reps: int) -> np.ndarray:
    """Return (2p,) radians per natural unit: 1 for the betas, 1 / rms(2 alpha) for the gammas.

    Args:
        coefficients: (K,) alpha of the terms but for the identity.
        reps: p.
    """
    weights = 2.0 * coefficients
    # hypot-like scaling first: squares of weights near 1e-200 or 1e200 would leave the range of a double.
    largest = np.abs(weights).max()
    rms = largest * np.sqrt(np.mean((weights / largest) ** 2))
    return np.concatenate([np.ones(reps), np.full(reps, 1.0 / rms)])


def qaoa_reps_of(circuit: QuantumCircuit, operator: SparsePauliOp) -> int | None:
    """Return p if the circuit is the operator's standard QAOA circuit with its parameters in standard order, else None.

    Rotations of one layer may come in any order. A custom mixer or initial state, another operator's evolution, or a
    circuit that was transpiled to a device is not recognised.
    """
    reps, odd = divmod(int(circuit.num_parameters), 2)
    if odd or not reps or circuit.num_qubits != operator.num_qubits:
        return None
    try:
        given = _layers(circuit)
    except ValueError:  # measurements and the like: not the standard circuit
        return None
    mixed = {key[2] for key, _ in given if key[3:] == ((0,),)}  # by beta of the first layer: X on every qubit
    if mixed != {((qubit, "X"),) for qubit in range(circuit.num_qubits)}:
        return None  # soon, for building QAOA of a molecule's operator takes a second
    expected = _layers(qaoa(operator, reps))
    if len(given) != len(expected):
        return None
    for (key, angles), (key_expected, angles_expected) in zip(given, expected, strict=True):
        if key != key_expected or not np.allclose(angles, angles_expected, rtol=1e-9, atol=0.0):
            return None
    return reps


def _layers(circuit: QuantumCircuit) -> list[tuple[tuple[object, ...], list[float]]]:
    """Return operations as comparable (structure, numbers) pairs, sorted by layer.

    An operation joins the latest layer on its qubits if both rotate about the same letter (so that they commute), and
    comes after it otherwise. Thus neither the order of commuting rotations matters nor that of operations on different
    qubits, which every pass through Qiskit's circuit graph shuffles. Like rotations are added up and null ones left
    out, as the operator's own terms are when it is merged.
    """
    reached: dict[int, tuple[int, str]] = {}
    items: dict[tuple[object, ...], list[float]] = {}
    for operation in split(circuit):
        if isinstance(operation, Rotation):
            kind = "".join(sorted(set(operation.letters)))
            pairs = sorted(zip(operation.qubits, operation.letters, strict=True))
            key: tuple[object, ...] = (kind, tuple(pairs), tuple(index for index, _ in operation.angle.slopes))
            numbers = [slope for _, slope in operation.angle.slopes] + [operation.angle.constant]
            if not any(numbers):
                continue
        else:
            kind = "fixed"
            key = (kind, operation.qubits, operation.matrix.round(9).tobytes())
            numbers = []
        before = (reached.get(qubit, (0, "")) for qubit in operation.qubits)
        layer = max((depth + (last != kind or len(kind) > 1) for depth, last in before), default=0)
        reached.update(dict.fromkeys(operation.qubits, (layer, kind)))
        known = items.setdefault((layer, *key), [0.0] * len(numbers))
        items[(layer, *key)] = [a + b for a, b in zip(known, numbers, strict=True)]
    return sorted(items.items(), key=lambda item: (item[0][0], repr(item[0])))
