"""Lowest energies against dense diagonalisation."""

import numpy as np
import psutil
import pytest
from qiskit.quantum_info import SparsePauliOp, random_pauli_list

from qiskit_metainit.ground import ground_energy, particle_sector


@pytest.mark.parametrize("size", [3, 8])
def test_the_lowest_eigenvalue_is_the_dense_one(size: int, rng: np.random.Generator) -> None:
    operator = SparsePauliOp(
        random_pauli_list(size, 30, phase=False, seed=int(rng.integers(1000))), rng.normal(size=30)
    )
    assert ground_energy(operator) == pytest.approx(np.linalg.eigvalsh(operator.to_matrix())[0], abs=1e-8)


@pytest.mark.parametrize("ones", [1, 3])
def test_a_sector_is_the_block_of_its_states(ones: int, rng: np.random.Generator) -> None:
    terms = [
        (word, [i, i + 1], value)
        for i in range(7)
        for word, value in zip(("XX", "YY", "ZZ"), [rng.normal()] * 2 + [rng.normal()], strict=False)
    ]
    operator = SparsePauliOp.from_sparse_list(terms, 8)
    states = particle_sector(8, (0xFF, ones))
    assert [int(state).bit_count() for state in states] == [ones] * len(states)
    block = operator.to_matrix()[np.ix_(states, states)]
    assert ground_energy(operator, states) == pytest.approx(np.linalg.eigvalsh(block)[0], abs=1e-8)


def test_too_many_qubits_are_refused_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    few = psutil.virtual_memory()._replace(available=10_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: few)
    with pytest.raises(MemoryError, match=r"10 qubits in 1,024 basis states needs about .* bytes"):
        ground_energy(SparsePauliOp("Z" * 10))
