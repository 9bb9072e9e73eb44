"""Heisenberg XYZ chains and rings, with the circuits that reach their ground states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.circuits.spin_chain import (
    bell_pair_ansatz,
    block_ansatz,
    bonds,
    check_layers,
    check_pairs,
    check_sites,
)
from qiskit_metainit.ground import ground_energy
from qiskit_metainit.problem import Levels, Problem
from qiskit_metainit.problems._settings import choices, integers, several
from qiskit_metainit.problems._terms import real_number

_TARGET = 0.01  # relative gap


@dataclass(frozen=True, kw_only=True)
class Heisenberg:
    """Find the ground state of ``H = - sum_i (Jx X_i X_(i+1) + Jy Y_i Y_(i+1) + Jz Z_i Z_(i+1)) - h sum_i Z_i``.

    Positive J are ferromagnetic, and the sum over i runs over bonds, the one of the field over sites (Lee et al. 2025,
    arXiv:2501.05906, eq. 4, whose h is zero). An instance draws Jx, Jy, Jz independently, and the exact ground energy
    E0 is computed, so that an energy E counts as the relative gap (E - E0) / |E0|. ``from_couplings`` gives one model.

    >>> problem = Heisenberg.from_couplings(4, (-1.0, -1.0, -1.0))
    >>> problem.num_qubits, problem.ansatz.num_parameters, round(problem.levels.lowest, 4)
    (4, 20, -6.4641)
    >>> print(round(Heisenberg(sizes=[6]).sample(np.random.default_rng(7)).hints["Jz"], 3))
    1.654
    """

    sizes: Sequence[int] = (4, 6, 8, 10)
    """Numbers of sites n, drawn uniformly; even ones for Bell pairs."""
    couplings: Sequence[float] = (-3.0, 3.0)
    """Smallest and largest J."""
    step: float = 0.0
    """Couplings are rounded to its multiples if it is above 0 (0.1 in Lee et al. 2025)."""
    fields: Sequence[float] = (0.0, 0.0)
    """Smallest and largest h; an instance's is drawn uniformly between them."""
    boundary: Sequence[str] = ("open",)
    """"open" for chains, "periodic" for rings; drawn uniformly."""
    ansatz: Literal["bell_pairs", "blocks"] = "bell_pairs"
    """``bell_pair_ansatz``, which reaches the ground states, or ``block_ansatz`` from ``|0..0>``, as in the paper."""
    layers: Sequence[int] | None = None
    """Numbers of layers L, drawn uniformly. By default ``n // 2 + 1``: L has to grow with n, as a layer takes
    correlations two sites further on either side; at n / 2 the best angles leave relative gaps of some 1e-4."""
    extra_layers: Sequence[int] = (0,)
    """Added to L, drawn uniformly, to learn from several depths of every size; may be negative."""

    def __post_init__(self) -> None:
        paired = self.ansatz == "bell_pairs"
        if self.ansatz not in ("bell_pairs", "blocks"):
            raise ValueError(f"ansatz must be 'bell_pairs' or 'blocks', but {self.ansatz!r} came. Check its spelling.")
        boundary = choices(self.boundary, "boundary", ("open", "periodic"))
        sizes = integers(self.sizes, "sizes", 4 if paired else 3 if "periodic" in boundary else 2, "(4, 6, 8)")
        for size in sizes if paired else ():
            check_pairs(size)
        couplings, fields = _interval(self.couplings, "couplings"), _interval(self.fields, "fields")
        step = real_number(self.step, "step")
        if step < 0 or not any(couplings) or max(map(abs, couplings)) < step:
            raise ValueError(
                f"Couplings between two numbers other than zero, at a step no larger than they are, are needed, but "
                f"{couplings} at a step of {step} came."
            )
        layers = None if self.layers is None else integers(self.layers, "layers", 1, "(4, 5)")
        extra = integers(self.extra_layers, "extra_layers", -64, "(0, 1)")
        fewest = min(sizes) // 2 + 1 if layers is None else min(layers)
        if fewest + min(extra) < 1:
            raise ValueError(f"At least one layer is needed, but extra_layers={extra} leaves {fewest + min(extra)}.")
        for name, value in (
            ("sizes", sizes),
            ("couplings", couplings),
            ("step", step),
            ("fields", fields),
            ("boundary", boundary),
            ("layers", layers),
            ("extra_layers", extra),
        ):
            object.__setattr__(self, name, value)

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword settings that rebuild this family, as JSON values."""
        return {
            "sizes": list(self.sizes),
            "couplings": list(self.couplings),
            "step": self.step,
            "fields": list(self.fields),
            "boundary": list(self.boundary),
            "ansatz": self.ansatz,
            "layers": None if self.layers is None else list(self.layers),
            "extra_layers": list(self.extra_layers),
        }

    def sample(self, rng: np.random.Generator) -> Problem:
        """Draw one model, with nodes 0..n-1."""
        size = _one(self.sizes, rng)
        periodic = _one(self.boundary, rng) == "periodic"
        layers = _default_layers(size) if self.layers is None else _one(self.layers, rng)
        layers += _one(self.extra_layers, rng)
        couplings = np.zeros(3)
        while not couplings.any():
            couplings = rng.uniform(self.couplings[0], self.couplings[1], size=3)
            if self.step:
                couplings = np.round(couplings / self.step) * self.step
        field = float(rng.uniform(self.fields[0], self.fields[1])) if any(self.fields) else 0.0
        return self.from_couplings(
            size, couplings.tolist(), field=field, periodic=periodic, layers=layers, ansatz=self.ansatz
        )

    @staticmethod
    def from_couplings(
        num_sites: int,
        couplings: Sequence[float],
        *,
        field: float = 0.0,
        periodic: bool = False,
        layers: int | None = None,
        ansatz: Literal["bell_pairs", "blocks"] = "bell_pairs",
        exact: bool = True,
    ) -> Problem:
        """Return the problem of one model.

        Args:
            num_sites: n, for Bell pairs even and at least 4.
            couplings: Jx, Jy, Jz.
            field: h; if it is not zero, the layers of Bell pairs end with RZ.
            periodic: whether the sites form a ring.
            layers: L of the circuit, by default ``n // 2 + 1``.
            ansatz: "bell_pairs" or "blocks".
            exact: whether the ground energy is computed for ``levels``: milliseconds at 12 sites, minutes at 20.

        Raises:
            ValueError: if sites, layers or couplings do not fit.
            MemoryError: if the ground energy needs more memory than there is.
        """
        if ansatz not in ("bell_pairs", "blocks"):
            raise ValueError(f"ansatz must be 'bell_pairs' or 'blocks', but {ansatz!r} came. Check its spelling.")
        values = [real_number(value, "A coupling") for value in several(couplings, "couplings", "(1.0, 1.0, 0.5)")]
        if len(values) != 3 or not any(values):
            raise ValueError(f"Three couplings, Jx, Jy, Jz, that are not all zero are needed, but {values} came.")
        field = real_number(field, "The field")
        if ansatz == "bell_pairs":
            check_pairs(num_sites)
        else:
            check_sites(num_sites, 3 if periodic else 2)
        depth = check_layers(_default_layers(num_sites) if layers is None else layers)
        terms = [
            (letter * 2, [first, second], -value)
            for first, second in bonds(num_sites, periodic=periodic)
            for letter, value in zip("XYZ", values, strict=True)
            if value
        ]
        terms += [("Z", [site], -field) for site in range(num_sites) if field]
        operator = SparsePauliOp.from_sparse_list(terms, num_qubits=num_sites)
        levels = None
        if exact:
            lowest = ground_energy(operator)
            levels = Levels(lowest=lowest, unit=abs(lowest), name="relative gap to the ground state", target=_TARGET)
        circuit = (
            bell_pair_ansatz(num_sites, depth, periodic=periodic, field=field != 0)
            if ansatz == "bell_pairs"
            else block_ansatz(num_sites, depth, periodic=periodic)
        )
        hints = dict(zip(("Jx", "Jy", "Jz"), values, strict=True)) | ({"h": field} if field else {})
        return Problem(operator, "heisenberg", tuple(range(num_sites)), ansatz=circuit, levels=levels, hints=hints)


def _default_layers(num_sites: int) -> int:
    return num_sites // 2 + 1


def _one(values: Sequence[Any], rng: np.random.Generator) -> Any:
    return values[int(rng.integers(len(values)))]


def _interval(values: Any, name: str) -> tuple[float, float]:
    ends = tuple(real_number(value, f"Each of {name}") for value in several(values, name, "(-3.0, 3.0)"))
    if len(ends) != 2 or ends[0] > ends[1]:
        raise ValueError(
            f"{name} must be the smallest and the largest value, such as (-3.0, 3.0), but {values!r} came. Give one "
            "value as (0.5, 0.5)."
        )
    return ends[0], ends[1]
