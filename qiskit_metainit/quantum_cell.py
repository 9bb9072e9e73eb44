"""The quantum layers of QLSTM, QK-LSTM and QFWP: small circuits whose expectation values torch differentiates."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor, nn

from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.task import Task


class QuantumLayer(nn.Module):
    """Expectation values of a circuit as a function of its data and of its weights.

    Runs on the exact batched engine, or on any other: with ``engine = ParameterShift(estimator)`` the same layer runs
    on a device, gradients included. Every observable is measured by itself.

    Args:
        circuit: whose parameters are those of data and weights.
        data: the D parameters that the inputs bind.
        weights: the W parameters that the layer holds.
        observables: K of them.
        copies: C independent sets of weights, which see the same or different inputs in one engine call.
        trained: whether the weights are trained; otherwise they stay as drawn, uniform in [0, 2 pi).

    >>> x = ParameterVector("x", 1)
    >>> circuit = QuantumCircuit(1)
    >>> _ = circuit.ry(x[0], 0)
    >>> layer = QuantumLayer(circuit, x, [], [pauli_z(1, 0)])
    >>> print(round(layer(torch.zeros(1, 5, 1, dtype=torch.float64)).sum().item(), 6))
    5.0
    """

    weights: Tensor

    def __init__(
        self,
        circuit: QuantumCircuit,
        data: Iterable[Parameter],
        weights: Iterable[Parameter],
        observables: Sequence[SparsePauliOp],
        *,
        copies: int = 1,
        trained: bool = True,
    ) -> None:
        super().__init__()
        held = list(weights)
        known = {parameter: place for place, parameter in enumerate([*data, *held])}
        if set(known) != set(circuit.parameters):
            raise ValueError(
                f"The circuit's parameters must be those of data and weights, but it has {circuit.num_parameters} and "
                f"{len(known)} came. Name every parameter of the circuit once."
            )
        self.engine: Engine = Statevector()
        self.copies = copies
        self._order = [known[parameter] for parameter in circuit.parameters]
        self._tasks = [Task.from_circuit(circuit, observable) for observable in observables]
        drawn = 2 * torch.pi * torch.rand(copies, len(held), dtype=torch.float64)
        if trained:
            self.weights = nn.Parameter(drawn)
        else:
            self.register_buffer("weights", drawn)

    def __deepcopy__(self, memo: dict[int, Any]) -> QuantumLayer:
        """Return a copy that asks the same engine, so that what it spends is booked where the user looks."""
        memo[id(self.engine)] = self.engine
        copied = self.__class__.__new__(self.__class__)
        memo[id(self)] = copied
        for name, value in vars(self).items():
            vars(copied)[name] = value if name == "_tasks" else copy.deepcopy(value, memo)
        return copied

    @property
    def circuits(self) -> int:
        """Circuits evaluated for one input: an observable of a copy each."""
        return self.copies * len(self._tasks)

    def forward(self, data: Float[Tensor, "#C B D"]) -> Float[Tensor, "C B K"]:
        """Return the expectation values; a leading 1 stands for the same inputs in every copy."""
        data = data.expand(self.copies, -1, -1)
        weights = self.weights[:, None].expand(-1, data.shape[1], -1)
        points = torch.cat([data, weights], dim=2)[..., self._order].flatten(0, 1)
        tasks = [task for task in self._tasks for _ in range(len(points))]
        values = self.engine.expectation(tasks, points.repeat(len(self._tasks), 1))
        return values.reshape(len(self._tasks), *data.shape[:2]).permute(1, 2, 0)


def rotation_layer(qubits: int, layers: int, *, copies: int, trained: bool) -> QuantumLayer:
    """Return a VQC of Q data: RX(data), then per layer RX(weights) and a ring of CNOTs; every <Z_k> is read out.

    The cell of Lin et al. 2025 (arXiv:2512.05058), whose entangling layers are PennyLane's BasicEntanglerLayers.
    """
    data, weights = _vectors(qubits, layers * qubits)
    circuit = QuantumCircuit(qubits)
    for qubit in range(qubits):
        circuit.rx(data[qubit], qubit)
    for layer in range(layers):
        for qubit in range(qubits):
            circuit.rx(weights[layer * qubits + qubit], qubit)
        _ring(circuit, 1)
    return QuantumLayer(circuit, data, weights, _all_z(qubits, qubits), copies=copies, trained=trained)


def general_layer(qubits: int, layers: int, outputs: int, *, copies: int = 1) -> QuantumLayer:
    """Return a VQC of 2Q data: H, RY, RZ, then per layer CNOTs to the next and the next but one, and RZ RY RZ.

    The circuit of the original QLSTM (Chen, Yoo, Fang 2020, arXiv:2009.01783). Data are RY's angles and then RZ's, as
    ``arctan_angles`` gives them; the first ``outputs`` qubits' <Z_k> are read out.
    """
    data, weights = _vectors(2 * qubits, 3 * layers * qubits)
    circuit = QuantumCircuit(qubits)
    for qubit in range(qubits):
        circuit.h(qubit)
        circuit.ry(data[qubit], qubit)
        circuit.rz(data[qubits + qubit], qubit)
    angle = iter(weights)
    for _ in range(layers):
        _ring(circuit, 1)
        _ring(circuit, 2)
        for qubit in range(qubits):
            circuit.rz(next(angle), qubit)
            circuit.ry(next(angle), qubit)
            circuit.rz(next(angle), qubit)
    return QuantumLayer(circuit, data, weights, _all_z(qubits, outputs), copies=copies)


def arctan_angles(values: Float[Tensor, "*B Q"]) -> Float[Tensor, "*B D"]:
    """Return arctan x and arctan x^2 of each value, the encoding of the original QLSTM; D = 2Q."""
    return torch.cat([torch.arctan(values), torch.arctan(values**2)], dim=-1)


def fast_layer(qubits: int, layers: int) -> QuantumLayer:
    """Return a VQC whose angles are all data: H, RY(e), then per layer CNOTs of neighbours and RY(t).

    The fast program of QFWP (Chen 2024, arXiv:2402.17760); D = Q + layers Q, the encoded inputs first.
    """
    data, _ = _vectors(qubits * (1 + layers), 0)
    circuit = QuantumCircuit(qubits)
    circuit.h(range(qubits))
    for qubit in range(qubits):
        circuit.ry(data[qubit], qubit)
    for layer in range(layers):
        for first in (*range(0, qubits - 1, 2), *range(1, qubits - 1, 2)):
            circuit.cx(first, first + 1)
        for qubit in range(qubits):
            circuit.ry(data[(1 + layer) * qubits + qubit], qubit)
    return QuantumLayer(circuit, data, [], _all_z(qubits, qubits))


def kernel_layer(qubits: int, layers: int) -> QuantumLayer:
    """Return the fidelity kernel ``|<0| U(v')^dag U(v) |0>|^2`` of two feature vectors, one expectation value.

    U is the instantaneous-quantum-polynomial feature map of Havlicek et al. 2019 (arXiv:1804.11326) with neighbouring
    pairs: per layer H, RZ(a_k) and RZZ(b_k) on qubits k and k+1. Data are the angles of v and then those of v', each as
    ``pair_angles`` gives them.
    """
    count = 2 * qubits - 1
    data, _ = _vectors(2 * count, 0)
    first, second = (_feature_map(qubits, layers, data[start : start + count]) for start in (0, count))
    return QuantumLayer(first.compose(second.inverse()), data, [], [_all_zeros(qubits)])


def pair_angles(values: Float[Tensor, "*B Q"]) -> Float[Tensor, "*B D"]:
    """Return v_k, then the products v_k v_(k+1): the angles of ``kernel_layer``'s feature map; D = 2Q - 1."""
    return torch.cat([values, values[..., :-1] * values[..., 1:]], dim=-1)


def undone_layer(qubits: int) -> QuantumLayer:
    """Return the circuit that Lin et al. 2025 (arXiv:2512.05058) published as their kernel: U(x)^dag U(x).

    It encodes, entangles, encodes, and undoes it all, so every <Z_k> is 1 whatever the Q data are.
    """
    data, _ = _vectors(qubits, 0)
    encode = QuantumCircuit(qubits)
    encode.h(range(qubits))
    for qubit in range(qubits):
        encode.rz(data[qubit], qubit)
        encode.ry(data[qubit], qubit)
    for qubit in range(qubits - 1):
        encode.cx(qubit, qubit + 1)
    for qubit in range(qubits):
        encode.rz(data[qubit], qubit)
    return QuantumLayer(encode.compose(encode.inverse()), data, [], _all_z(qubits, qubits))


def gated(
    gates: Float[Tensor, "4 B H"], memory: Float[Tensor, "B H"]
) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]:
    """Return what an LSTM lets out, ``o tanh c``, and its new memory ``c = f c + i g``.

    Args:
        gates: what forget, input, update and output gates get before their sigmoids (tanh for the update).
        memory: c.
    """
    forget, write, output = torch.sigmoid(gates[0]), torch.sigmoid(gates[1]), torch.sigmoid(gates[3])
    memory = forget * memory + write * torch.tanh(gates[2])
    return output * torch.tanh(memory), memory


def pauli_z(qubits: int, qubit: int) -> SparsePauliOp:
    """Return Z on one qubit."""
    return SparsePauliOp.from_sparse_list([("Z", [qubit], 1.0)], num_qubits=qubits)


def _all_z(qubits: int, count: int) -> list[SparsePauliOp]:
    return [pauli_z(qubits, qubit) for qubit in range(count)]


def _all_zeros(qubits: int) -> SparsePauliOp:
    """Return the projector on |0..0>, the product of (1 + Z)/2."""
    labels = ["".join(letters) for letters in itertools.product("IZ", repeat=qubits)]
    return SparsePauliOp(labels, [0.5**qubits] * len(labels))


def _feature_map(qubits: int, layers: int, angles: Sequence[Parameter]) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    for _ in range(layers):
        circuit.h(range(qubits))
        for qubit in range(qubits):
            circuit.rz(angles[qubit], qubit)
        for qubit in range(qubits - 1):
            circuit.rzz(angles[qubits + qubit], qubit, qubit + 1)
    return circuit


def _ring(circuit: QuantumCircuit, step: int) -> None:
    """Append a CNOT from every qubit to the one ``step`` further round; two neighbours are joined once."""
    size = circuit.num_qubits
    if step % size:
        for qubit in range(1 if size == 2 else size):
            circuit.cx(qubit, (qubit + step) % size)


def _vectors(data: int, weights: int) -> tuple[ParameterVector, ParameterVector]:
    return ParameterVector("x", data), ParameterVector("w", weights)
