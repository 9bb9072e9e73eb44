"""Q-MAML: a perceptron from the Hamiltonian's task vector to the circuit's angles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast, final

import numpy as np
import torch
from jaxtyping import Float
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor, nn

from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State
from qiskit_metainit.models._task_vectors import READERS, fingerprint, task_vector
from qiskit_metainit.problems.distribution import Distribution

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}
_CIRCUITS = 16  # that one set of weights knows at most
_LOOK = 64  # tasks of a training that are looked at for their circuits


@final
class QMaml(Model):
    """The Learner of Lee, Cho and Kim 2025 (arXiv:2501.05906, section "Experiments"): ``theta = h_W(phi)``.

    A perceptron of two hidden layers with 256 neurons maps a Hamiltonian's task vector phi, zero-padded, to one angle
    a parameter; trained by the energy itself (their eq. 2 and 3). Despite the name there is no inner loop: it is
    amortised prediction. It knows a parameter by its number only, so it answers for the circuits that it was trained
    on, which it recognises, and for no other. No query.

    Args:
        inputs: length of phi.
        num_parameters: P of the circuit, the largest if there are several; a smaller one takes its first angles.
        vector: what phi is. "couplings": Jx, Jy, Jz and fields of an open chain, as in the paper; "coefficients": all
            Pauli coefficients but the identity's, in the order of their masks, as in the paper; "target": the
            probabilities to be loaded (times 2^n), which the paper only mentions.
        width: neurons a hidden layer.
        layers: hidden layers.
        activation: "relu", "tanh" or "silu"; the paper does not tell.
        networks: perceptrons. With several, each of the circuits trained on has its own (there may be as many), since a
            task vector's entries mean something else on each; the paper has one.
    """

    def __init__(
        self,
        *,
        inputs: int = 3,
        num_parameters: int = 6,
        vector: str = "couplings",
        width: int = 256,
        layers: int = 2,
        activation: str = "relu",
        networks: int = 1,
    ) -> None:
        super().__init__()
        if vector not in READERS:
            raise ValueError(f"vector must be one of {', '.join(READERS)}, but {vector!r} came.")
        if activation not in _ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(_ACTIVATIONS)}, but {activation!r} came.")
        least = 4 if vector == "target" else 3 if vector == "couplings" else 1
        if inputs < least or min(num_parameters, width, layers, networks) < 1 or networks > _CIRCUITS:
            raise ValueError(
                f"At least {least} inputs for {vector!r}, and a parameter, a neuron, a layer and one to {_CIRCUITS} "
                f"networks, are needed, but {inputs=}, {num_parameters=}, {width=}, {layers=} and {networks=} came."
            )
        self.inputs = inputs
        self.num_parameters = num_parameters
        self.vector = vector
        self.width = width
        self.layers = layers
        self.activation = activation
        self.networks = networks
        self.network = self._perceptron()
        self.others = nn.ModuleList(self._perceptron() for _ in range(networks - 1))
        self.register_buffer("circuits", torch.zeros(_CIRCUITS, dtype=torch.float64))  # exact up to 2^53
        self.circuits: Tensor

    def _perceptron(self) -> nn.Sequential:
        sizes = [self.inputs, *[self.width] * self.layers, self.num_parameters]
        steps: list[nn.Module] = []
        for before, after in pairwise(sizes):
            steps += [nn.Linear(before, after, dtype=torch.float64), _ACTIVATIONS[self.activation]()]
        return nn.Sequential(*steps[:-1])

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        if features.ansatz != "circuit":
            return "QMaml needs a circuit of its own, but a QAOA circuit came"
        if features.num_parameters > self.num_parameters:
            return f"this QMaml answers {self.num_parameters} parameters, but the task has {features.num_parameters}"
        known = {int(number) for number in self.circuits.tolist()} - {0}
        if known and _print_of(features) not in {*known, fingerprint(_probe_circuit(self.num_parameters))}:
            return (
                f"this QMaml needs one of the {len(known)} circuits that it was trained on, but another one with "
                f"{features.num_parameters} parameters on {features.num_qubits} qubits came"
            )
        vector = task_vector(features, self.vector)
        if isinstance(vector, str):
            return f"QMaml of {self.vector!r} needs {vector}"
        if (more := vector[self.inputs :]).any():
            return f"this QMaml reads {self.inputs} numbers of a Hamiltonian, but this one has {more.size} more"
        return None

    def prepare(self, sample: Callable[[int], FeatureBatch]) -> None:
        """See Model."""
        prints = [_print_of(item) for item in sample(_LOOK).items]
        known = sorted({number for number in prints if number is not None})
        if None in prints or len(known) > _CIRCUITS:
            raise ValueError(
                f"QMaml learns at most {_CIRCUITS} circuits of Pauli rotations after a Clifford, but {len(known)} of "
                f"them and {prints.count(None)} tasks of another kind came. Take a family of fewer circuits."
            )
        if 1 < self.networks < len(known):
            raise ValueError(
                f"A network for each of the {len(known)} circuits is needed, but networks={self.networks} came."
            )
        self.circuits.zero_()
        self.circuits[: len(known)] = torch.tensor(known, dtype=torch.float64)

    def probes(self) -> Sequence[tuple[SparsePauliOp, QuantumCircuit]]:
        """See Model."""
        circuit = _probe_circuit(self.num_parameters)
        if self.vector == "target":
            return [
                (Distribution.from_probabilities(row).operator, circuit)
                for row in ([0.1, 0.2, 0.3, 0.4], [0.5, 0.1, 0.15, 0.25])
            ]
        labels = ["XX", "YY", "ZZ"] if self.vector == "couplings" else ["IZ", "ZI", "XX"][: self.inputs]
        return [(SparsePauliOp(labels, row[: len(labels)]), circuit) for row in ([1.2, -0.7, 0.4], [-2.0, 0.1, 2.5])]

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        inputs = np.zeros((len(features), self.inputs))
        for row, item in enumerate(features.items):
            vector = task_vector(item, self.vector)
            if isinstance(vector, str):
                raise ValueError(f"QMaml of {self.vector!r} needs {vector}.")
            shown = vector[: self.inputs]
            inputs[row, : shown.size] = shown
        angles = self._angles(features, torch.as_tensor(inputs))
        size = features.mask.shape[1]
        return torch.where(features.mask, angles[:, :size], 0.0), None

    def _angles(self, features: FeatureBatch, inputs: Tensor) -> Tensor:
        if self.networks == 1:
            return cast("Tensor", self.network(inputs))
        known = [int(number) for number in self.circuits.tolist()]
        prints = [_print_of(item) for item in features.items]
        own = torch.tensor([known.index(found) if found in known else 0 for found in prints])
        angles = inputs.new_zeros(len(own), self.num_parameters)
        for number, network in enumerate([self.network, *self.others]):
            rows = torch.nonzero(own == number).ravel()
            if rows.numel():
                angles = angles.index_put((rows,), network(inputs[rows]))
        return angles


def _probe_circuit(num_parameters: int) -> QuantumCircuit:
    """Return a circuit of two qubits that artifacts are checked on, whatever circuits they were trained on."""
    circuit = QuantumCircuit(2)
    for place, angle in enumerate(ParameterVector("theta", num_parameters)):
        circuit.ry(angle, place % 2)
        circuit.cx(place % 2, 1 - place % 2)
    return circuit


def _print_of(features: Features) -> int | None:
    return None if features.source is None else fingerprint(features.source[0])
