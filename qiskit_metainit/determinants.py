"""UCCSD read from its Pauli rotations: which determinants it excites, and what the Hamiltonian does among them.

Neither fermions nor orbitals are needed, so it works for any mapping and any compilation of the circuit. Parameter k
drives an anti-Hermitian ``A_k = tau_k - tau_k+``, where tau_k takes the reference |0> to the determinant
``|k> = tau_k |0>``, sign included: then a small angle *is* the amplitude of |k>. Matrix elements of the qubit operator
between basis states take the place of integrals (Slater-Condon rules, if you like).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qiskit_metainit.features import Features
from qiskit_metainit.pauli_form import PauliForm

Real = NDArray[np.float64]
Index = NDArray[np.int64]

LARGEST = 100_000
"""Determinants of up to four excitations that are looked at, at most."""
_RANKS = 4  # of the excitations that the Hamiltonian couples to singles and doubles
_SMALL = 1e-9


@dataclass(frozen=True, eq=False)
class Determinants:
    """The P parameters of UCCSD as excitations, among N determinants of up to four of them; |0> comes first."""

    form: PauliForm
    """The circuit and the operator."""
    states: Index
    """(N,) basis states, by rank, |0> and then whatever order within."""
    ranks: Index
    """(N,) excited electrons of each, ascending."""
    places: Index
    """(P,) each parameter's determinant among the N."""
    scales: Real
    """(P,) s with A_k |0> = s_k |k>, positive; the angle is amplitude / s."""
    signs: Real
    """(P,) of |k> against its basis state."""
    moves: tuple[Index, Index, Index, Real]
    """``tau_k |source> = sign |target>`` of all parameters: (k, target, source, sign), places among the N."""

    @property
    def single(self) -> NDArray[np.bool_]:
        """(P,) whether a parameter excites one electron."""
        return np.asarray(self.ranks[self.places] == 1)

    @cached_property
    def rows(self) -> sparse.csr_array:
        """(1 + P', N) the Hamiltonian's rows of the determinants of up to two excitations, less the reference energy.

        The basis states' own signs, in the order of ``states``.
        """
        targets = self.states[self.ranks <= 2]
        order = np.argsort(self.states)
        operator = self.form.operator
        flips, kind = np.unique(operator.x, return_inverse=True)
        # <i|X^x Z^z|j> = (-1)^|z & j| where j = i ^ x
        parts = []
        for place, flip in enumerate(flips.tolist()):
            sources = targets ^ flip
            found = np.searchsorted(self.states, sources, sorter=order).clip(max=len(order) - 1)
            columns = order[found]
            known = np.flatnonzero(self.states[columns] == sources)
            if known.size:
                chosen = kind == place
                odd = np.bitwise_count(operator.z[chosen][:, None] & sources[known][None]) & 1
                values = operator.coefficients[chosen] @ (1.0 - 2.0 * odd)
                parts.append((values, known, columns[known]))
        values, row, column = (np.concatenate(each) for each in zip(*parts, strict=True))
        if np.abs(values.imag).max() > 1e-7 * np.abs(values).max():
            raise ValueError(
                "Real matrix elements between determinants are needed, but these are complex. Take real orbitals."
            )
        matrix = sparse.csr_array((values.real, (row, column)), shape=(len(targets), len(self.states)))
        matrix = matrix - float(matrix[0, 0]) * sparse.eye_array(*matrix.shape, format="csr")
        matrix.data[np.abs(matrix.data) < 1e-14] = 0.0
        matrix.eliminate_zeros()
        return sparse.csr_array(matrix)

    @cached_property
    def energy(self) -> float:
        """``<0|H|0>``."""
        diagonal = self.form.operator.x == 0
        odd = np.bitwise_count(self.form.operator.z[diagonal] & self.states[0]) & 1
        return float(np.real(self.form.operator.coefficients[diagonal] @ (1.0 - 2.0 * odd)))

    @cached_property
    def couplings(self) -> Real:
        """(P,) ``<k|H|0>``."""
        return np.asarray(self.signs * self.rows[self.places, [0] * len(self.places)])

    @cached_property
    def matrix(self) -> Real:
        """(P, P) ``<j|H|k>``, less the reference energy on the diagonal."""
        block = self.rows[self.places][:, self.places].toarray()
        return np.asarray(self.signs[:, None] * block * self.signs)

    @property
    def gaps(self) -> Real:
        """(P,) ``<k|H|k> - <0|H|0>``."""
        return np.asarray(np.diagonal(self.matrix))

    @cached_property
    def products(self) -> tuple[Index, Index, Index, Real]:
        """``tau_j |k> = sign |l>`` among the parameters' own determinants: (l, j, k, sign)."""
        own = np.full(len(self.states), -1)
        own[self.places] = np.arange(len(self.places))
        which, target, source, sign = self.moves
        both = (own[target] >= 0) & (own[source] >= 0)
        left, right = own[target[both]], own[source[both]]
        return left, which[both], right, sign[both] * self.signs[left] * self.signs[right]

    def excited(self, amplitudes: Real, vector: Real, *, back: bool = False) -> Real:
        """Return ``T = sum_k amplitudes_k tau_k``, or its adjoint, times a vector over the N determinants."""
        operator = self._cluster(amplitudes)
        return np.asarray((operator.T if back else operator) @ vector)

    def exponential(self, amplitudes: Real, vector: Real) -> Real:
        """Return ``exp(sum_k amplitudes_k tau_k)`` times a vector over the N determinants."""
        operator = self._cluster(amplitudes)
        result, power = vector.copy(), vector
        for order in range(1, _RANKS + 1):
            power = operator @ power / order
            result += power
        return result

    def _cluster(self, amplitudes: Real) -> sparse.csr_array:
        which, target, source, sign = self.moves
        size = len(self.states)
        return sparse.csr_array((sign * amplitudes[which], (target, source)), shape=(size, size))

    def residuals(self, amplitudes: Real) -> tuple[float, Real]:
        """Return correlation energy and (P,) residuals of coupled cluster, ``<k|exp(-T) (H - E0) exp(T)|0>``.

        Zero residuals are the CCSD equations (Bartlett and Musial 2007, Rev. Mod. Phys. 79, 291, eqs. 54-56).
        """
        start = np.zeros(len(self.states))
        start[0] = 1.0
        image = np.zeros(len(self.states))
        image[: self.rows.shape[0]] = self.rows @ self.exponential(amplitudes, start)
        found = self.exponential(-amplitudes, image)
        return float(found[0]), self.signs * found[self.places]


_KNOWN: WeakKeyDictionary[PauliForm, Determinants | str] = WeakKeyDictionary()


def refusal(name: str, features: Features) -> str | None:
    """Return why a task's circuit is not UCCSD from one determinant ("it needs ..., but ..."), or None if it is."""
    if features.ansatz != "circuit":
        return f"{name} needs a UCCSD circuit, but QAOA came"
    found = "the circuit has gates that are no Pauli rotations" if features.form is None else _known(features.form)
    if isinstance(found, Determinants):
        return None
    return f"{name} needs a UCCSD circuit (one parameter an excitation of a single determinant), but {found}"


def determinants(features: Features) -> Determinants:
    """Return the determinants of a task's circuit; computed once.

    Raises:
        ValueError: if ``refusal`` tells why there are none.
    """
    found = None if features.form is None else _known(features.form)
    if not isinstance(found, Determinants):
        raise ValueError(f"{refusal('This', features)}.")
    return found


def _known(form: PauliForm) -> Determinants | str:
    if form not in _KNOWN:
        _KNOWN[form] = _recognise(form)
    return _KNOWN[form]


class _Actions:
    """What the generators A_k do to basis states: one Pauli flip each, of amplitude ``sum +-weights``."""

    def __init__(self, form: PauliForm) -> None:
        self.flips = np.array([driven[0][1].x for driven in form.driven], dtype=np.int64)
        self.strings = []
        for driven in form.driven:
            masks = np.array([pauli.z for _, pauli, _ in driven], dtype=np.int64)
            # -i slope/2 i^|x & z| X^x Z^z: real for a real excitation, as |x & z| is odd
            weights = np.array([(-1j * slope / 2 * 1j**pauli.ys).real for _, pauli, slope in driven])
            self.strings.append((masks, weights))

    def amplitudes(self, parameter: int, states: Index) -> Real:
        """Return <state ^ flip|A|state> of each state."""
        masks, weights = self.strings[parameter]
        odd = np.bitwise_count(masks[:, None] & states[None]) & 1
        return np.asarray(weights @ (1.0 - 2.0 * odd))


def _recognise(form: PauliForm) -> Determinants | str:
    """Return the determinants, or what came instead of UCCSD."""
    if form.start is None:
        return "it does not start from a basis state"
    if any(not driven for driven in form.driven) or any(
        len(angle.slopes) != 1 or angle.constant for _, angle in form.rotations
    ):
        return "a rotation has no parameter of its own"
    for place, driven in enumerate(form.driven):
        paulis = [pauli for _, pauli, _ in driven]
        if len({pauli.x for pauli in paulis}) > 1 or not paulis[0].x or any(not pauli.ys % 2 for pauli in paulis):
            return f"parameter {place} drives more than one excitation, or none"
    actions = _Actions(form)
    start = np.array([form.start], dtype=np.int64)
    count = len(actions.flips)
    raised = np.array([actions.amplitudes(k, start)[0] for k in range(count)])
    if len(set(actions.flips.tolist())) < count:
        return "an excitation comes twice"
    if (np.abs(raised) < _SMALL).any():
        return f"parameter {int(np.abs(raised).argmin())} does not excite the determinant that it starts from"
    single = _singles(actions, form.start)
    levels = _levels(actions, np.flatnonzero(single), form.start)
    if sum(map(len, levels)) > LARGEST:
        return f"its excitations lead to more than {LARGEST:,} determinants"
    own = form.start ^ actions.flips
    for rank in (1, 2):
        if not np.isin(own[single == (rank == 1)], levels[rank]).all():
            return "its excitations are no singles and products of two singles"
    states = np.concatenate(levels)
    ranks = np.repeat(np.arange(len(levels)), [len(level) for level in levels])
    order = np.argsort(states)
    places = order[np.searchsorted(states, own, sorter=order)]
    moves = _moves(actions, np.where(single, 1, 2), states, ranks, order)
    return Determinants(form, states, ranks, places, np.abs(raised), np.sign(raised), moves)


def _singles(actions: _Actions, start: int) -> NDArray[np.bool_]:
    """Return (P,) whether an excitation is not the product of two others.

    It is that of j and k if they lead from each other's determinants to its own, to which itself it does not lead from
    there: de-excitations, of a double to a single say, fail the second.
    """
    count = len(actions.flips)
    own = start ^ actions.flips
    reaches = np.stack([np.abs(actions.amplitudes(k, own)) > _SMALL for k in range(count)])  # [j, k]: A_j |k> != 0
    order = np.argsort(actions.flips)
    left, right = np.triu_indices(count, 1)
    wanted = actions.flips[left] ^ actions.flips[right]
    found = order[np.searchsorted(actions.flips, wanted, sorter=order).clip(max=count - 1)]
    good = (actions.flips[found] == wanted) & reaches[left, right] & reaches[right, left] & ~reaches[found, left]
    single = np.ones(count, dtype=bool)
    single[found[good]] = False
    return single


def _levels(actions: _Actions, singles: Index, start: int) -> list[Index]:
    """Return the determinants of 0, 1, .. single excitations, ascending; no further than to more than ``LARGEST``."""
    levels = [np.array([], dtype=np.int64), np.array([start], dtype=np.int64)]
    while len(levels) < _RANKS + 2 and sum(map(len, levels)) <= LARGEST:
        here = levels[-1]
        there = [here[np.abs(actions.amplitudes(k, here)) > _SMALL] ^ actions.flips[k] for k in singles.tolist()]
        found = np.unique(np.concatenate([np.array([], dtype=np.int64), *there]))
        levels.append(found[~np.isin(found, levels[-2])])
    return levels[1:]


def _moves(
    actions: _Actions, raises: Index, states: Index, ranks: Index, order: Index
) -> tuple[Index, Index, Index, Real]:
    parts = []
    for k, flip in enumerate(actions.flips.tolist()):
        amplitudes = actions.amplitudes(k, states)
        found = order[np.searchsorted(states, states ^ flip, sorter=order).clip(max=len(order) - 1)]
        known = (states[found] == states ^ flip) & (ranks[found] == ranks + raises[k]) & (np.abs(amplitudes) > _SMALL)
        source = np.flatnonzero(known)
        parts.append((np.full(source.size, k), found[source], source, np.sign(amplitudes[source])))
    which, target, source, sign = (np.concatenate(each) for each in zip(*parts, strict=True))
    return which, target, source, sign
