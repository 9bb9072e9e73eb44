"""Energies out of measured bits, and the readout errors that can be taken out of them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives import BaseSamplerV2, BitArray
from qiskit.quantum_info import SparsePauliOp


@dataclass(frozen=True)
class ReadoutCalibration:
    """How often each qubit of a backend is misread, each independently of the others.

    With A_q = [[1 - p(1|0), p(0|1)], [p(1|0), 1 - p(0|1)]] the outcomes are distributed as the tensor product of the
    A_q times the true distribution (the tensored model of Bravyi et al., Phys. Rev. A 103, 042605 (2021),
    arXiv:2006.14044). (1, -1) A_q^-1 applied to an outcome z = 1 or -1 is

        (z + p(1|0) - p(0|1)) / (1 - p(1|0) - p(0|1)),

    and (1, 1) A_q^-1 = (1, 1), so a Pauli string's unbiased estimate is the mean over the shots of the product of these
    over its qubits: linear, without a matrix of 2^Q rows. The price is a variance of up to prod_q (1 - p(1|0) -
    p(0|1))^-2 times as large. Errors of the calibration itself are not in it: they bias each Pauli string by about
    1 / sqrt(calibration shots) a qubit.
    """

    qubits: tuple[int, ...]
    """The backend's numbers of the calibrated qubits."""
    false_ones: tuple[float, ...]
    """p(1|0) of each."""
    false_zeros: tuple[float, ...]
    """p(0|1) of each."""
    shots: int | None = None
    """Of each of the two circuits that told, or None if it was not measured so."""

    def __post_init__(self) -> None:
        if not len(self.qubits) == len(self.false_ones) == len(self.false_zeros):
            raise ValueError(
                "Two probabilities a qubit are needed, but there are "
                f"{len(self.qubits)} qubits, {len(self.false_ones)} p(1|0) and {len(self.false_zeros)} p(0|1)."
            )
        for qubit, one, zero in zip(self.qubits, self.false_ones, self.false_zeros, strict=True):
            if not (0 <= one <= 1 and 0 <= zero <= 1 and one + zero < 1):
                raise ValueError(
                    f"p(1|0) + p(0|1) < 1 is needed, but qubit {qubit} has {one} + {zero}: its outcomes tell nothing. "
                    "Calibrate with more shots, or leave that qubit out."
                )

    @classmethod
    def measure(cls, sampler: BaseSamplerV2, qubits: Sequence[int], *, shots: int) -> ReadoutCalibration:
        """Prepare all those qubits in 0, then in 1, in one job of two circuits, and count what is misread.

        Args:
            sampler: of the same backend as the energies. A layout-safe one chooses the backend's qubits itself, the
                same for every circuit of one size: give it ``range(Q)``, Q the size of the circuits to come.
            qubits: distinct numbers; the circuits have max(qubits) + 1 qubits.
            shots: of each of the two circuits.
        """
        if not qubits or len(set(qubits)) < len(qubits) or shots < 1:
            raise ValueError(
                f"Distinct qubits and a positive number of shots are needed, but {list(qubits)} and {shots} came."
            )
        circuits = []
        for excited in (False, True):
            circuit = QuantumCircuit(max(qubits) + 1, len(qubits))
            if excited:
                circuit.x(qubits)
            circuit.measure(qubits, range(len(qubits)))
            circuits.append(circuit)
        zero, one = sampler.run(circuits, shots=shots).result()
        # Each result of a layout-safe sampler names its own qubits: the two circuits differ in layout.
        ones, zeros = (
            dict(zip(backend_qubits(result, "c", qubits), outcomes(result.data.c).mean(axis=0).tolist(), strict=True))
            for result in (zero, one)
        )
        if ones.keys() != zeros.keys():
            raise ValueError(
                f"The same qubits are needed in both circuits, but {sorted(ones)} and {sorted(zeros)} were measured. "
                "Calibrate the sampler below the layout-safe one, with the backend's own qubits."
            )
        found = tuple(sorted(ones))
        return cls(found, tuple(ones[q] for q in found), tuple(1 - zeros[q] for q in found), shots)

    def on(self, qubits: Sequence[int]) -> ReadoutCalibration:
        """Return the calibration of some of the qubits, in that order.

        Raises:
            ValueError: if one of them was not calibrated.
        """
        missing = sorted(set(qubits) - set(self.qubits))
        if missing:
            raise ValueError(
                f"A calibration of every measured qubit is needed, but {missing} are not among {list(self.qubits)}. "
                "Calibrate the qubits the circuits run on: ReadoutCalibration.measure(sampler, qubits, shots=...)."
            )
        place = [self.qubits.index(qubit) for qubit in qubits]
        ones, zeros = (tuple(values[i] for i in place) for values in (self.false_ones, self.false_zeros))
        return ReadoutCalibration(tuple(qubits), ones, zeros, self.shots)


def outcomes(bits: BitArray) -> NDArray[np.bool_]:
    """Return a BitArray as (..., shots, bits), bit i at place i."""
    unpacked = np.unpackbits(bits.array, axis=-1, bitorder="big")[..., ::-1]
    return unpacked[..., : bits.num_bits].astype(bool)


def distinct(bits: BitArray) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return the (K, bits) different outcomes of all shots, bit i at place i, and how often each came."""
    rows = bits.array.reshape(-1, bits.array.shape[-1])
    width = rows.shape[1]
    if width > 8:
        seen, counts = np.unique(rows, axis=0, return_counts=True)
    else:  # as one number each they are sorted ten times as fast
        whole = np.zeros((len(rows), 8), dtype=np.uint8)
        whole[:, 8 - width :] = rows
        keys, counts = np.unique(whole.view(np.uint64).ravel(), return_counts=True)
        seen = keys[:, None].view(np.uint8)[:, 8 - width :]
    return outcomes(BitArray(np.ascontiguousarray(seen), bits.num_bits)), counts


def backend_qubits(result: object, register: str, qubits: Sequence[int]) -> tuple[int, ...]:
    """Return the backend's qubits behind a register's bits: as a layout-safe sampler says, else the circuit's own."""
    told = getattr(result, "metadata", {}).get("qubits", {})
    return tuple(told.get(register, qubits))


def shot_energies(
    shots: NDArray[np.bool_],
    support: NDArray[np.bool_],
    coefficients: NDArray[np.float64],
    readout: ReadoutCalibration | None = None,
) -> NDArray[np.float64]:
    """Return the energy of each shot; their mean estimates <H>, without readout errors if those are given.

    Args:
        shots: (S, Q) outcomes, measured in the terms' common basis.
        support: (T, Q): the qubits on which each term is no identity.
        coefficients: (T,).
        readout: of the Q qubits, in their order.

    Returns:
        (S,) energies.
    """
    if readout is None:
        odd = np.mod(shots.astype(np.float64) @ support.T.astype(np.float64), 2.0)
        return np.asarray((1.0 - 2.0 * odd) @ coefficients)
    ones, zeros = np.array(readout.false_ones), np.array(readout.false_zeros)
    signs = (1.0 - 2.0 * shots + ones - zeros) / (1.0 - ones - zeros)
    energies = np.zeros(len(shots))
    for mask, coefficient in zip(support, coefficients, strict=True):
        energies += coefficient * signs[:, mask].prod(axis=1)
    return energies


def mean_energy(bits: BitArray, operator: SparsePauliOp, readout: ReadoutCalibration | None = None) -> float:
    """Return the mean energy of the shots of one point.

    Args:
        bits: of shape (); bit i is qubit i of the operator.
        operator: diagonal.
        readout: of the operator's qubits, in their order (``ReadoutCalibration.on``); None takes outcomes as they are.
    """
    seen, counts = distinct(bits)
    return float(np.average(shot_energies(seen, operator.paulis.z, operator.coeffs.real, readout), weights=counts))
