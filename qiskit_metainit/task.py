"""Circuit, Hamiltonian, features and scale: one cost landscape."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparseObservable, SparsePauliOp

from qiskit_metainit import features
from qiskit_metainit.ansatz import qaoa, qaoa_reps_of
from qiskit_metainit.features import Features
from qiskit_metainit.problem import Problem, as_pauli_sum, offset


class Task:
    """One cost landscape: entry i of a point binds ``circuit.parameters[i]``.

    Args:
        circuit: the parameterised circuit that runs, laid out on a device or not; None for the Hamiltonian's standard
            QAOA circuit, which is built when it is first asked for.
        hamiltonian: on the circuit's qubits.
        features: computed from the logical problem, so a layout does not change them.
        scale: sum of the absolute non-identity Pauli coefficients, in the Hamiltonian's units.
    """

    def __init__(
        self, circuit: QuantumCircuit | None, hamiltonian: SparsePauliOp, features: Features, scale: float
    ) -> None:
        self._given = circuit
        self.hamiltonian = hamiltonian
        self.features = features
        self.scale = scale

    @classmethod
    def qaoa(cls, operator: SparsePauliOp | SparseObservable, *, reps: int) -> Task:
        """Return the landscape of the standard QAOA circuit with p = reps layers.

        Raises:
            ValueError: if the operator is constant, not Hermitian or not finite, or reps is not a positive integer.

        >>> Task.qaoa(SparsePauliOp(["ZZI", "IZZ"]), reps=2).circuit.num_parameters
        4
        """
        hamiltonian = as_pauli_sum(operator)
        return cls(None, hamiltonian, features.of_qaoa(hamiltonian, reps), scale_of(hamiltonian))

    @classmethod
    def of(cls, problem: Problem, *, reps: int | None = None) -> Task:
        """Return a problem's landscape: of its own ansatz, or of QAOA with p = reps layers.

        Raises:
            ValueError: if it needs reps and there are none, or the other way round; or as the other constructors.
        """
        if problem.ansatz is not None and reps is None:
            return cls.from_circuit(problem.ansatz, problem.operator, hints=problem.hints)
        if reps is None or problem.ansatz is not None:
            raise ValueError(
                "Either an ansatz of the problem's own or reps (layers of QAOA) is needed, but "
                f"{'neither' if reps is None else 'both'} came."
            )
        return cls.qaoa(problem.operator, reps=reps)

    @classmethod
    def from_circuit(
        cls,
        circuit: QuantumCircuit,
        operator: SparsePauliOp | SparseObservable,
        *,
        hints: Mapping[str, Any] | None = None,
    ) -> Task:
        """Return the landscape of any parameterised circuit.

        A circuit that is the operator's standard QAOA circuit is recognised as such. A transpiled circuit takes the
        logical operator, whose layout is applied here.

        Args:
            circuit: unitary, measurements at its end aside.
            operator: to be minimised.
            hints: as in ``Problem``.

        Raises:
            ValueError: if the circuit has no parameters or the numbers of qubits differ.
        """
        logical = as_pauli_sum(operator)
        if not isinstance(circuit, QuantumCircuit):
            what = f"the class {circuit.__name__}" if isinstance(circuit, type) else f"a {type(circuit).__name__}"
            raise TypeError(f"A QuantumCircuit is needed, but {what} came. Build the circuit first.")
        if circuit.clbits:
            circuit = circuit.remove_final_measurements(inplace=False)
        if circuit.num_parameters == 0:
            raise ValueError("A parameterised circuit is needed, but this one has no parameters: nothing to optimise.")
        hamiltonian = _on_layout(logical, circuit)
        if hamiltonian.num_qubits != circuit.num_qubits:
            raise ValueError(
                f"Circuit and operator must have the same number of qubits, but they have {circuit.num_qubits} and "
                f"{operator.num_qubits}. For a transpiled circuit give the operator before apply_layout."
            )
        reps = qaoa_reps_of(circuit, logical)
        known = (
            features.of_qaoa(logical, reps)
            if reps is not None
            else features.of_circuit(circuit, logical, on_circuit=hamiltonian, hints=hints)
        )
        return cls(circuit, hamiltonian, known, scale_of(logical))

    @property
    def standard(self) -> bool:
        """Whether this is known to be the Hamiltonian's standard QAOA circuit, of ``features.reps`` layers."""
        return self._given is None

    @cached_property
    def circuit(self) -> QuantumCircuit:
        """The parameterised circuit that runs."""
        return qaoa(self.hamiltonian, self.features.reps) if self._given is None else self._given

    def with_reps(self, reps: int) -> Task:
        """Return the landscape of the same Hamiltonian's standard QAOA circuit of another depth.

        What the two share is not computed again.

        Raises:
            ValueError: if this is no standard QAOA circuit, or reps is not a positive integer.
        """
        if not self.standard:
            raise ValueError("Only a standard QAOA circuit has other depths, but this one was given. Use Task.qaoa.")
        return Task(None, self.hamiltonian, self.features.with_reps(reps), self.scale)

    def transpiled(self, circuit: QuantumCircuit) -> Task:
        """Return this landscape on a transpiled version of its circuit; features and scale stay the logical ones.

        Raises:
            ValueError: if the circuit's parameters are not this circuit's.
        """
        if list(circuit.parameters) != list(self.circuit.parameters):
            raise ValueError(
                "The transpiled circuit must keep the parameters of the task's circuit, but they differ. "
                "Transpile task.circuit itself, unbound."
            )
        return Task(circuit, _on_layout(self.hamiltonian, circuit), self.features, self.scale)

    @property
    def offset(self) -> float:
        """Coefficient of the identity: costs are normalised as (cost - offset) / scale."""
        return offset(self.hamiltonian)

    @cached_property
    def num_parameters(self) -> int:
        """P of this task."""
        return int(self.circuit.num_parameters) if self._given is not None else self.features.num_parameters


def scale_of(operator: SparsePauliOp) -> float:
    """Return the sum of the absolute non-identity coefficients."""
    present = (operator.paulis.x | operator.paulis.z).any(axis=1)
    return float(np.abs(operator.coeffs.real[present]).sum())


def _on_layout(operator: SparsePauliOp, circuit: QuantumCircuit) -> SparsePauliOp:
    return operator if circuit.layout is None else operator.apply_layout(circuit.layout)
