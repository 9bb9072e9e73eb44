"""Amplitudes of perturbation theory and of coupled cluster, from matrix elements between determinants alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qiskit_metainit.determinants import Determinants, determinants
from qiskit_metainit.features import Features

Real = NDArray[np.float64]

_ITERATIONS = 100
_KEPT = 8  # of the last iterations, that DIIS combines
_SMALLEST_GAP = 0.05  # times the largest: what is smaller would make a step too long


def epstein_nesbet(known: Determinants) -> Real:
    """Return the (P,) angles that are best one by one: ``-1/2 atan2(2 g, Delta)``.

    With coupling g and gap Delta, each parameter alone turns |0> into |k>: ``E = Delta sin^2 + 2 g sin cos``. To first
    order in g/Delta these are the amplitudes of Epstein-Nesbet perturbation theory (Epstein 1926, Nesbet 1955).
    """
    return -0.5 * np.arctan2(2.0 * known.couplings, known.gaps)


def perturbative(known: Determinants, gaps: Real) -> Real:
    """Return the (P,) first-order amplitudes ``-g / gap`` of doubles, 0 for singles: MP2's with orbital energies."""
    return np.where(known.single, 0.0, -known.couplings / gaps)


def updated(known: Determinants, amplitudes: Real, gaps: Real) -> Real:
    """Return the amplitudes after one step of the coupled-cluster equations, ``t - r/gap``."""
    return np.asarray(amplitudes - known.residuals(amplitudes)[1] / gaps)


def ccsd(known: Determinants, *, tolerance: float = 1e-7) -> Real | None:
    """Return the (P,) CCSD amplitudes, None if the iteration finds none.

    The equations are solved by the quasi-Newton step of ``updated``, sped up by DIIS (Pulay 1980; for coupled cluster
    Scuseria, Lee and Schaefer 1986).

    Args:
        known: the determinants.
        tolerance: largest residual, in the Hamiltonian's units divided by the largest gap.
    """
    scale = float(np.abs(known.gaps).max())
    gaps = np.maximum(known.gaps, _SMALLEST_GAP * scale)
    amplitudes = -known.couplings / gaps
    vectors: list[Real] = []
    errors: list[Real] = []
    for _ in range(_ITERATIONS):
        residuals = known.residuals(amplitudes)[1]
        if not np.isfinite(residuals).all() or np.abs(amplitudes).max() > 10:
            return None
        if np.abs(residuals).max() < tolerance * scale:
            return amplitudes
        errors.append(-residuals / gaps)
        vectors.append(amplitudes + errors[-1])
        vectors, errors = vectors[-_KEPT:], errors[-_KEPT:]
        amplitudes = _combined(vectors, errors)
    return None


def configuration_interaction(known: Determinants) -> Real:
    """Return the (P,) angles of the lowest state among |0> and the P determinants: ``c_k arccos(c_0) / |c|``.

    Variational, so that they stay sensible where perturbation theory and coupled cluster fail; a product of rotations
    by these angles is that state, but for what two rotations make together.
    """
    size = len(known.places)
    matrix = np.zeros((size + 1, size + 1))
    matrix[1:, 1:] = known.matrix
    matrix[0, 1:] = matrix[1:, 0] = known.couplings
    lowest = np.linalg.eigh(matrix)[1][:, 0]
    lowest = lowest * (1.0 if lowest[0] >= 0 else -1.0)
    length = float(np.linalg.norm(lowest[1:]))
    return np.asarray(lowest[1:] * (np.arccos(min(lowest[0], 1.0)) / max(length, 1e-12)))


def _combined(vectors: list[Real], errors: list[Real]) -> Real:
    """Return the combination, of weights that sum to one, whose error would be least."""
    size = len(vectors)
    overlaps = np.array([[left @ right for right in errors] for left in errors])
    bordered = np.zeros((size + 1, size + 1))
    bordered[:size, :size] = overlaps / max(float(np.abs(overlaps).max()), 1e-300)
    bordered[size, :size] = bordered[:size, size] = 1.0
    weights = np.linalg.lstsq(bordered, np.eye(size + 1)[size], rcond=None)[0][:size]
    return np.asarray(sum(weight * vector for weight, vector in zip(weights, vectors, strict=True)))


@dataclass(frozen=True, eq=False)
class Amplitudes:
    """The best classical amplitudes of a task, and what else is known of its excitations."""

    known: Determinants
    """The determinants."""
    start: Real
    """(P,) CCSD amplitudes, or the angles of configuration interaction."""
    converged: bool
    """Whether they are CCSD's."""
    mixing: Real
    """(P,) angles of configuration interaction."""

    @property
    def pairwise(self) -> Real:
        """(P,) angles that are best one by one."""
        return epstein_nesbet(self.known)

    @cached_property
    def energy(self) -> float:
        """Correlation energy of the amplitudes by coupled cluster's formula, the Hamiltonian's units."""
        return self.known.residuals(self.start)[0]

    @cached_property
    def bases(self) -> Mapping[str, Real]:
        """(P,) vectors that change sign with an orbital as the amplitudes t do, by name."""
        known, t = self.known, self.start
        size, own, signs = len(known.states), known.places, known.signs
        start = np.zeros(size)
        start[0] = 1.0
        once = known.excited(t, start)
        twice = known.excited(t, once)
        whole = np.where(known.ranks <= 2, known.exponential(t, start), 0.0)
        image = known.rows @ whole
        inner = whole[: len(image)]
        image = image - inner * float(inner @ image) / float(inner @ inner)
        gaps = np.maximum(known.gaps, _SMALLEST_GAP * float(np.abs(known.gaps).max()))
        return {
            "amplitude": t,
            "bend": np.arctan(t) - t,
            "configuration_interaction": self.mixing - t,
            "one_by_one": self.pairwise - t,
            "product": 0.5 * signs * twice[own],
            "back": 0.5 * signs * known.excited(t, twice, back=True)[own],
            "slope": signs * image[own] / gaps,
            "update": -known.residuals(self.mixing)[1] / gaps,
        }


def amplitudes_of(features: Features) -> Amplitudes:
    """Return a task's amplitudes: CCSD's from the hint ``ccsd`` or else solved for, or configuration interaction's.

    Raises:
        ValueError: if the hint has not one finite number a parameter, or the circuit is not UCCSD.
    """
    known = determinants(features)
    mixing = configuration_interaction(known)
    hint = features.hints.get("ccsd")
    if hint is not None:
        given = np.asarray(hint, dtype=np.float64)
        if given.shape != known.scales.shape or not np.isfinite(given).all():
            raise ValueError(
                f"The hint ccsd must have {known.scales.size} finite angles, one a parameter of the ansatz, but "
                f"{given.size} came. Leave it out: CCSD is solved from the operator then."
            )
        return Amplitudes(known, given * known.scales, True, mixing)
    found = ccsd(known)
    return Amplitudes(known, mixing if found is None else found, found is not None, mixing)
