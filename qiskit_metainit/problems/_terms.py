"""Sums of products of spins: from labels and coefficients to the problem of a diagonal Hamiltonian."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from numbers import Real

from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.problem import Problem

Terms = Mapping[tuple[int, ...], float]
"""Coefficient of each product of spins, by their positions; () is the constant."""


def problem_of(
    family: str, nodes: Sequence[Hashable], terms: Terms, *, maximise: bool = False, offset: float | None = None
) -> Problem:
    """Return the problem of minimising a sum of products of spins +1 (bit 0) and -1 (bit 1).

    Args:
        family: its name.
        nodes: a label a spin.
        terms: the sum; zeros are dropped.
        maximise: whether the user maximises minus the sum.
        offset: the constant, if it shall be a term even when it is zero.

    Raises:
        ValueError: if nothing but a constant is left.
    """
    kept = [("Z" * len(spins), list(spins), value) for spins, value in terms.items() if value != 0]
    if not any(letters for letters, _, _ in kept):
        raise ValueError(
            f"A coupling or a field other than zero is needed, but {len(nodes)} spins came without. Add some."
        )
    kept += [] if offset is None else [("", [], offset)]
    operator = SparsePauliOp.from_sparse_list(kept, num_qubits=len(nodes))
    return Problem(operator=operator, family=family, nodes=tuple(nodes), maximise=maximise)


def real_number(value: object, what: str) -> float:
    """Return a finite real number.

    Raises:
        TypeError: if it is no real number.
        ValueError: if it is not finite.
    """
    if not isinstance(value, Real):
        raise TypeError(f"{what} must be a real number, but {value!r} ({type(value).__name__}) came.")
    if not math.isfinite(value):
        raise ValueError(f"{what} must be finite, but {value!r} came. Replace or remove it.")
    return float(value)
