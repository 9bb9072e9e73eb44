"""Molecules and their UCCSD excitations as Pauli terms, by PySCF and Qiskit Nature.

``python tests/performance/peers/make_molecules.py > tests/performance/molecules.json``
"""

from __future__ import annotations

import json

from qiskit.quantum_info import SparsePauliOp
from qiskit_nature.second_q.circuit.library import UCCSD, HartreeFock
from qiskit_nature.second_q.drivers import PySCFDriver
from qiskit_nature.second_q.mappers import JordanWignerMapper
from qiskit_nature.second_q.transformers import FreezeCoreTransformer

MOLECULES = {
    "H2 4 qubits": ("H 0 0 0; H 0 0 0.735", False),
    "LiH 10 qubits": ("Li 0 0 0; H 0 0 1.595", True),
    "LiH 12 qubits": ("Li 0 0 0; H 0 0 1.595", False),
}
"""Geometry in angstrom, and whether the core is frozen; STO-3G, Jordan-Wigner."""


def terms(operator: SparsePauliOp) -> list[list[object]]:
    """Return [coefficient, qubits, letters] of every term."""
    return [[float(c.real), list(map(int, qubits)), letters] for letters, qubits, c in operator.to_sparse_list()]


def described(atoms: str, freeze: bool) -> dict[str, object]:
    """Return a molecule as plain data."""
    problem = PySCFDriver(atom=atoms, basis="sto3g").run()
    if freeze:
        problem = FreezeCoreTransformer().transform(problem)
    mapper = JordanWignerMapper()
    start = HartreeFock(problem.num_spatial_orbitals, problem.num_particles, mapper)
    ansatz = UCCSD(problem.num_spatial_orbitals, problem.num_particles, mapper, initial_state=start)
    return {
        "qubits": ansatz.num_qubits,
        "parameters": ansatz.num_parameters,
        "occupied": [start.find_bit(instruction.qubits[0]).index for instruction in start.data],
        "hamiltonian": terms(mapper.map(problem.hamiltonian.second_q_op())),
        "excitations": [terms(operator) for operator in ansatz.operators],
    }


if __name__ == "__main__":
    print(json.dumps({name: described(*settings) for name, settings in MOLECULES.items()}))
