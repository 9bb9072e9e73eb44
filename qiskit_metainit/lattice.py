"""What Hubbard model and which variational Hamiltonian ansatz of it a circuit's Pauli form is.

Nothing but commutation, coefficients and angles is looked at, so the sites may be numbered in any order, and fermions
mapped by Jordan-Wigner, parity or Bravyi-Kitaev: the interaction of a site is a diagonal Pauli D, the hops of a bond
are four Paulis that anticommute with the D of its two sites.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from qiskit_metainit.circuits.hubbard import OpenLattice
from qiskit_metainit.pauli_form import PauliForm
from qiskit_metainit.symmetry import Pauli

PARTS = ("interaction", "even", "odd", "rungs")
"""What a parameter of a layer may drive, in this order."""
_CLOSE = 1e-6  # relative difference of what counts as equal
_Bond = tuple[int, int]
_known: WeakKeyDictionary[PauliForm, HubbardForm | str] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class HubbardForm:
    """A half-filled open chain or two-leg ladder, and L layers of its variational Hamiltonian ansatz."""

    columns: int
    """Sites along a leg."""
    rows: int
    """1 for a chain, 2 for a ladder."""
    interaction: float
    """U/t, with the mean t of the bonds."""
    layers: int
    """L."""
    part: tuple[int, ...]
    """(P,) what each parameter drives, as an index into ``PARTS``."""
    layer: tuple[int, ...]
    """(P,) in which layer, from 0."""
    factor: tuple[float, ...]
    """(P,) radians of each parameter that make an angle of 1: ``exp(-i sum_i n_up n_down)``, ``exp(-i H_hops / t)``."""


def hubbard_form(form: PauliForm | None) -> HubbardForm:
    """Return what Hubbard model and ansatz a form is.

    Raises:
        ValueError: if it is none that is known, with what is needed and what came.

    >>> from qiskit_metainit.features import of_circuit
    >>> from qiskit_metainit.problems.hubbard import Hubbard
    >>> problem = Hubbard.from_lattice(2, interaction=3.0, layers=2, hopping=1.5)
    >>> found = hubbard_form(of_circuit(problem.ansatz, problem.operator).form)
    >>> found.columns, found.rows, found.interaction, found.part, found.layer
    (2, 1, 2.0, (0, 1, 0, 1), (0, 0, 1, 1))
    """
    if form is None:
        raise ValueError("a circuit of Pauli rotations and Clifford gates is needed, but other gates came")
    if form not in _known:
        try:
            _known[form] = _Reader(form).read()
        except _OtherError as error:
            _known[form] = str(error)
    found = _known[form]
    if isinstance(found, str):
        raise ValueError(found)
    return found


class _OtherError(Exception):
    """The form is something else."""


class _Reader:
    """One form while it is read."""

    def __init__(self, form: PauliForm) -> None:
        self.form = form
        masks = zip(form.operator.x.tolist(), form.operator.z.tolist(), strict=True)
        self.terms: dict[Pauli, float] = {}
        for (x, z), coefficient in zip(masks, form.operator.coefficients.tolist(), strict=True):
            pauli = Pauli(x, z)
            if pauli.support:
                self.terms[pauli] = (coefficient / 1j**pauli.ys).real

    def read(self) -> HubbardForm:
        """Return what it is."""
        self._model()
        roles, ratios = self._parameters()
        order = self._order(roles)
        width = next((place for place, index in enumerate(order) if place and roles[index] is None), len(order))
        sequence = [roles[index] for index in order]
        if len(order) % width or sequence != sequence[:width] * (len(order) // width):
            raise _OtherError("layers of the same parts are needed, each begun by the interaction, but others came")
        columns, rows, names = self._shape([group for group in sequence[:width] if group is not None])
        self._check_start(rows, columns)
        part, layer = ([0] * len(order) for _ in range(2))
        radians = [0.0] * len(order)
        for place, index in enumerate(order):
            part[index], layer[index] = ([0, *names])[place % width], place // width
            radians[index] = 1.0 / (ratios[index] * (self.hopping if place % width else self.interaction))
        return HubbardForm(
            columns,
            rows,
            self.interaction / self.hopping,
            len(order) // width,
            tuple(part),
            tuple(layer),
            tuple(radians),
        )

    def _model(self) -> None:
        """Find sites, bonds, U and t in the operator."""
        self.sites = [pauli for pauli, value in self.terms.items() if not pauli.x and value > 0]
        strengths = [self.terms[site] for site in self.sites]
        if not strengths or max(strengths) - min(strengths) > _CLOSE * max(strengths):
            raise _OtherError("a Hubbard model with one repulsive U > 0 is needed, but another operator came")
        self.interaction = 4.0 * float(np.mean(strengths))
        bonds: dict[_Bond, list[Pauli]] = {}
        for pauli in self.terms:
            if pauli.x:
                ends = [place for place, site in enumerate(self.sites) if not site.commutes(pauli)]
                if len(ends) != 2:
                    raise _OtherError("a Hubbard model is needed, but the operator has terms that are no hops of it")
                bonds.setdefault((ends[0], ends[1]), []).append(pauli)
        self.bonds: dict[_Bond, float] = {}
        for bond, paulis in bonds.items():
            values = [2.0 * abs(self.terms[pauli]) for pauli in paulis]
            if len(paulis) != 4 or max(values) - min(values) > _CLOSE * max(values):
                raise _OtherError("a Hubbard model is needed, but some bond does not have equal hops of both spins")
            self.bonds[bond] = values[0]
        if not bonds:
            raise _OtherError("a Hubbard model with hopping is needed, but the operator has no hops")
        self.hopping = float(np.mean(list(self.bonds.values())))
        self.bond_of = {pauli: bond for bond, paulis in bonds.items() for pauli in paulis}
        self.singles = [pauli for pauli, value in self.terms.items() if not pauli.x and value < 0]
        if not self.singles and all(site.z.bit_count() == 2 for site in self.sites):  # cancelled by a potential of -U/2
            self.singles = [Pauli(0, 1 << bit) for site in self.sites for bit in _bits(site.z)]

    def _parameters(self) -> tuple[list[frozenset[_Bond] | None], list[float]]:
        """Return the bonds that each parameter drives (None for the interaction), and its angle per term of H."""
        roles: list[frozenset[_Bond] | None] = []
        ratios: list[float] = []
        for driven in self.form.driven:
            slopes: Counter[Pauli] = Counter()
            for place, pauli, slope in driven:
                angle = self.form.rotations[place][1]
                if len(angle.slopes) != 1 or angle.constant:
                    raise _OtherError("angles that are multiples of one parameter are needed, but others came")
                slopes[pauli] += slope  # type: ignore[assignment]
            if not slopes or any(pauli not in self.terms for pauli in slopes):
                raise _OtherError("parameters that drive terms of the Hubbard model are needed, but one drives others")
            values = [0.5 * slope / self.terms[pauli] for pauli, slope in slopes.items()]
            if max(values) - min(values) > _CLOSE * abs(values[0]):
                raise _OtherError(
                    "evolutions under parts of the Hubbard model are needed, but angles are in other ratios"
                )
            driven_sites = {pauli for pauli in slopes if not pauli.x}
            bonds = frozenset(self.bond_of[pauli] for pauli in slopes if pauli.x)
            if driven_sites:
                if bonds or driven_sites not in ({*self.sites}, {*self.sites, *self.singles}):
                    raise _OtherError(
                        "an interaction of all sites at once is needed, but a parameter drives another part"
                    )
            elif len(slopes) != 4 * len(bonds):
                raise _OtherError("hops of both spins together are needed, but a parameter drives some alone")
            roles.append(None if driven_sites else bonds)
            ratios.append(values[0])
        return roles, ratios

    def _order(self, roles: Sequence[frozenset[_Bond] | None]) -> list[int]:
        """Return the parameters in an order of whole parts that the rotations may be brought into by commuting."""
        mean = [float(np.mean([place for place, _, _ in driven])) for driven in self.form.driven]
        order = sorted(range(len(roles)), key=lambda index: mean[index])
        rank = {index: place for place, index in enumerate(order)}
        seen: list[tuple[int, Pauli]] = []
        for pauli, angle in self.form.rotations:
            here = rank[angle.slopes[0][0]] if angle.slopes else -1
            for other, earlier in reversed(seen):
                if other > here and not earlier.commutes(pauli):
                    raise _OtherError(
                        "a free-fermion state and then whole parts in turn are needed, but they are mixed"
                    )
            seen.append((here, pauli))
        if roles[order[0]] is not None:
            raise _OtherError("layers that begin with the interaction are needed, but others came")
        return order

    def _shape(self, groups: Sequence[frozenset[_Bond]]) -> tuple[int, int, list[int]]:
        """Return columns, rows and the names of a layer's groups of bonds."""
        size = len(self.sites)
        for rows in (1, 2):
            columns, rest = divmod(size, rows)
            if rest or columns < max(rows, 2):
                continue
            expected = OpenLattice(columns, rows).groups
            names = [1, 2][: len(expected) - (rows - 1)] + [3] * (rows - 1)
            if len(expected) == len(groups) and _embeds(groups, expected, size):
                return columns, rows, names
        raise _OtherError(
            "an open chain or two-leg ladder, with layers of the interaction, then hops along even bonds, odd bonds "
            f"and rungs, is needed, but {len(groups)} groups of {sum(map(len, groups))} bonds on {size} sites came"
        )

    def _check_start(self, rows: int, columns: int) -> None:
        """Refuse what does not start from half-filled free fermions."""
        size = rows * columns
        matrix = np.zeros((size, size))
        for (i, j), strength in self.bonds.items():
            matrix[i, j] = matrix[j, i] = strength
        lowest = -2.0 * float(np.sort(np.linalg.eigvalsh(matrix))[size - size // 2 :].sum())
        energy = self._mean({pauli: self.terms[pauli] for pauli in self.bond_of})
        spins = self._spins()
        counts = [0.5 * (len(spin) - self._mean(dict.fromkeys(spin, 1.0))) for spin in spins]
        if max(abs(count - size / 2) for count in counts) > _CLOSE * size:
            found = " and ".join(f"{count:.3g}" for count in counts)
            raise _OtherError(f"half filling ({size / 2:g} fermions of each spin) is needed, but {found} came")
        if abs(energy - lowest) > _CLOSE * abs(lowest):
            raise _OtherError(
                "the ground state of free fermions is needed at the start, with a hopping energy of "
                f"{lowest:.6g}, but a state of {energy:.6g} came"
            )

    def _spins(self) -> list[list[Pauli]]:
        """Return the operators Z of either spin: a hop anticommutes with two of one."""
        group = {single: {single} for single in self.singles}
        for hop in self.bond_of:
            touched = [single for single in self.singles if not single.commutes(hop)]
            for single in touched[1:]:
                joined = group[touched[0]] | group[single]
                for member in joined:
                    group[member] = joined
        spins = list({id(members): sorted(members, key=lambda p: p.z) for members in group.values()}.values())
        if [len(spin) for spin in spins] != [len(self.sites)] * 2:
            raise _OtherError("a Hubbard model whose particles can be counted by spin is needed, but another came")
        return spins

    def _mean(self, observable: dict[Pauli, float]) -> float:
        """Return the mean of a sum of Paulis in the state before the first parameter."""
        start = self.form.start
        if start is None:
            raise _OtherError("a start from a basis state is needed, but another state came")
        sums = dict(observable)
        for turn, angle in reversed([item for item in self.form.rotations if not item[1].slopes]):
            cosine, sine = np.cos(angle.constant), np.sin(angle.constant)
            turned: Counter[Pauli] = Counter()
            for pauli, value in sums.items():
                if pauli.commutes(turn):
                    turned[pauli] += value  # type: ignore[assignment]
                    continue
                other, sign = _times(turn, pauli)  # P -> cos P + sin i R P
                turned[pauli] += cosine * value
                turned[other] += sign * sine * value
            sums = {pauli: value for pauli, value in turned.items() if abs(value) > 1e-14}
            if len(sums) > 16 * len(self.sites) ** 2:  # more than products of two Majorana operators: no free fermions
                raise _OtherError("a Slater determinant is needed at the start, but another state came")
        return float(sum(v * (-1) ** (p.z & start).bit_count() for p, v in sums.items() if not p.x))


def _times(left: Pauli, right: Pauli) -> tuple[Pauli, int]:
    """Return the Pauli i L R of two that anticommute, and its sign."""
    found = Pauli(left.x ^ right.x, left.z ^ right.z)
    power = left.ys + right.ys + 2 * (left.z & right.x).bit_count() + 1 - found.ys
    return found, 1 - power % 4


def _bits(mask: int) -> Iterable[int]:
    return (bit for bit in range(mask.bit_length()) if mask >> bit & 1)


def _embeds(groups: Sequence[frozenset[_Bond]], expected: Sequence[Sequence[_Bond]], size: int) -> bool:
    """Return whether some numbering of the sites takes the groups of bonds to the expected ones, in order."""
    found: dict[int, dict[int, int]] = {}  # neighbours: the group of the bond to them
    wanted: dict[int, dict[int, int]] = {}
    for table, parts in ((found, groups), (wanted, expected)):
        for name, bonds in enumerate(parts):
            for i, j in bonds:
                if j in table.setdefault(i, {}):
                    return False
                table[i][j] = table.setdefault(j, {})[i] = name
    if len(found) != size or len(wanted) != size:
        return False
    for first in found:  # a site has one bond of a group at most, so where site 0 goes settles all
        place = {0: first}
        todo = [0]
        while todo:
            site = todo.pop()
            by_group = {name: other for other, name in found[place[site]].items()}
            if sorted(by_group) != sorted(wanted[site].values()) or len(by_group) != len(found[place[site]]):
                break
            for neighbour, name in wanted[site].items():
                if neighbour not in place:
                    place[neighbour] = by_group[name]
                    todo.append(neighbour)
                elif place[neighbour] != by_group[name]:
                    break
        else:
            if len(set(place.values())) == size and all(
                found[place[i]].get(place[j]) == name for i, row in wanted.items() for j, name in row.items()
            ):
                return True
    return False
