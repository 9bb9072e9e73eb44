"""Tabulated schedules for Hubbard chains and ladders, and which tasks they serve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import torch
from jaxtyping import Float
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from qiskit_metainit.features import Features
from qiskit_metainit.lattice import HubbardForm, hubbard_form
from qiskit_metainit.problems.hubbard import Hubbard

_LEAST, _MOST = 0.5, 9.0  # U/t of the tables
_DEEPEST = 24  # layers that they are stretched to


def not_hubbard(features: Features) -> str | None:
    """Return the reason why a task is no Hubbard model that a schedule serves, or None."""
    if features.ansatz != "circuit":
        return "a schedule for the Hubbard model needs a variational Hamiltonian ansatz, but a QAOA circuit came"
    try:
        form = hubbard_form(features.form)
    except ValueError as error:
        return f"a schedule for the Hubbard model does not fit: {error}"
    if not _LEAST <= form.interaction <= _MOST:
        return f"U/t between {_LEAST} and {_MOST} is needed, but {form.interaction:.4g} came"
    if form.layers > _DEEPEST:
        return f"at most {_DEEPEST} layers are needed, but {form.layers} came"
    return None


def small_hubbards() -> Sequence[tuple[SparsePauliOp, QuantumCircuit]]:
    """Return a chain and a ladder to check models on."""
    chosen = (
        Hubbard.from_lattice(4, interaction=3.0, layers=3, hopping=0.7),
        Hubbard.from_lattice(2, 2, interaction=6.0, layers=2),
        Hubbard.from_lattice(3, 2, interaction=1.2, layers=8),
    )
    return [(problem.operator, problem.ansatz) for problem in chosen if problem.ansatz is not None]


def angles(name: str, form: HubbardForm) -> Float[Tensor, " P"]:
    """Return a table's angles of a form's parameters, in the units of ``HubbardForm.factor``.

    For each kind of lattice and depth a table has polynomials of U/(U + 4t). A depth between two of the table's takes
    both schedules, interpolated linearly in s = (l - 1/2)/L and weighed by how near 1/L is; one beyond takes the last.

    Args:
        name: of the table beside the models, made by ``tutorials/tables/hubbard.py``.
        form: of P parameters.
    """
    table = _table(name)["chain" if form.rows == 1 else "ladder"]
    below = max((depth for depth in table if depth <= form.layers), default=min(table))
    above = min((depth for depth in table if depth >= form.layers), default=max(table))
    share = 0.0 if below == above else (1 / below - 1 / form.layers) / (1 / below - 1 / above)
    shallow, deep = (_stretched(table[depth], form) for depth in (below, above))
    return torch.lerp(shallow, deep, share)


def _stretched(coefficients: Float[Tensor, "L A K"], form: HubbardForm) -> Float[Tensor, " P"]:
    """Return a schedule's angles at a form's places."""
    depth = len(coefficients)
    values = coefficients @ polynomials(torch.tensor(form.interaction, dtype=torch.float64), coefficients.shape[2])
    place = (torch.tensor(form.layer, dtype=torch.float64) + 0.5) / form.layers * depth - 0.5
    place = place.clamp(0.0, depth - 1.0)
    left = place.floor().long().clamp(max=max(depth - 2, 0))
    part = torch.tensor(form.part)
    return torch.lerp(values[left, part], values[(left + 1).clamp(max=depth - 1), part], place - left)


def polynomials(interaction: Float[Tensor, "*B"], count: int) -> Float[Tensor, "*B K"]:
    """Return the first K Chebyshev polynomials of U/(U + 4t), which the table's U take to [-1, 1]."""
    low, high = (value / (value + 4.0) for value in (_LEAST, _MOST))
    x = (2.0 * interaction / (interaction + 4.0) - low - high) / (high - low)
    found = [torch.ones_like(x), x]
    while len(found) < count:
        found.append(2.0 * x * found[-1] - found[-2])
    return torch.stack(found[:count], dim=-1)


@cache
def _table(name: str) -> dict[str, dict[int, Tensor]]:
    """Return (L, parts, K) coefficients of each kind of lattice and depth L."""
    text = (resources.files("qiskit_metainit.models") / f"{name}.json").read_text(encoding="utf-8")
    kinds: dict[str, dict[str, Any]] = json.loads(text)["schedules"]
    return {
        kind: {int(depth): torch.tensor(row["coefficients"], dtype=torch.float64) for depth, row in depths.items()}
        for kind, depths in kinds.items()
    }
