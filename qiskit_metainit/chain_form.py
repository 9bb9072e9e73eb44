"""A spin chain in a Bell-pair circuit, recognised from Pauli rotations, and the symmetries that make it canonical."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from qiskit_metainit.circuits.spin_chain import bell_pair_ansatz, bonds
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.pauli_form import PauliForm
from qiskit_metainit.rotations import ZERO
from qiskit_metainit.symmetry import Pauli, PauliSum

_EQUAL = 1e-9  # relative difference of couplings that counts as none
_LEAST = 4  # sites

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Canonical:
    """One of the models that are alike by symmetry: ``H = sum_i (XX + u YY + v ZZ)``, 1 >= u >= abs(v), from singlets.

    Letters permute under a Clifford on every site, and two of three couplings change sign together under a Pauli on
    every second site, as every bond joins an even site with an odd one. Both take Bell pairs to Bell pairs and
    rotations to rotations, so every point has its like of the same energy. Of the Bell states singlets are then the
    ground state of a bond.
    """

    u: float
    """Second largest coupling by the largest."""
    v: float
    """Smallest coupling by the largest; its sign is that of the product of all three."""
    letters: tuple[int, int, int]
    """Which of X, Y, Z (0, 1, 2) has the largest, second largest and smallest coupling."""
    signs: tuple[int, int, int]
    """What the angles of these letters are multiplied with; their product is +1."""

    @classmethod
    def of(cls, couplings: Sequence[float]) -> Canonical:
        """Return the canonical form of ``-sum (Jx XX + Jy YY + Jz ZZ)``.

        Args:
            couplings: J of X, Y, Z, not all zero.

        >>> form = Canonical.of((1.0, -4.0, 2.0))
        >>> form.u, form.v, form.letters, form.signs
        (0.5, 0.25, (1, 2, 0), (1, -1, -1))
        """
        sizes = -np.asarray(couplings, dtype=np.float64)
        order = np.argsort(-np.abs(sizes), kind="stable")
        first, second, third = sizes[order]
        largest = abs(first)
        signs = [1 if value >= 0 else -1 for value in (first, second)]
        product = signs[0] * signs[1]
        letters = (int(order[0]), int(order[1]), int(order[2]))
        return cls(
            float(abs(second) / largest), float(product * third / largest), letters, (signs[0], signs[1], product)
        )

    @property
    def bell(self) -> tuple[int, int, int]:
        """Signs of XX, YY, ZZ of the pairs."""
        result = [0, 0, 0]
        for letter, sign in zip(self.letters, self.signs, strict=True):
            result[letter] = -sign
        return result[0], result[1], result[2]


@dataclass(frozen=True, eq=False)
class ChainForm:
    """A Bell-pair circuit of L layers on n sites, and the model it is for."""

    num_sites: int
    """n."""
    layers: int
    """L."""
    periodic: bool
    """Whether it is a ring."""
    couplings: tuple[float, float, float]
    """Jx, Jy, Jz of ``H = - sum (Jx XX + Jy YY + Jz ZZ)``; a field would leave but few of the symmetries."""
    start: tuple[int, int]
    """Signs of XX and ZZ of the pairs at zero angles."""
    order: tuple[int, ...]
    """(P,) which parameter of the circuit is the k-th of ``bell_pair_ansatz``."""
    slopes: Array
    """(P,) radians a rotation turns per radian of its parameter, in the order of ``bell_pair_ansatz``."""

    @cached_property
    def canonical(self) -> Canonical:
        """The model by symmetry."""
        return Canonical.of(self.couplings)

    @property
    def sizes(self) -> Float[Tensor, " 3"]:
        """Couplings of the canonical model: 1, u, v."""
        return torch.tensor([1.0, self.canonical.u, self.canonical.v], dtype=torch.float64)

    @property
    def stage(self) -> Float[Tensor, " L"]:
        """Place of every layer, s = (l - 1/2) / L."""
        return (torch.arange(self.layers, dtype=torch.float64) + 0.5) / self.layers

    @cached_property
    def gathered(self) -> tuple[Tensor, Tensor]:
        """For each of the P parameters, which of (pi, 0, canonical angles in order) it is, and its factor."""
        place = torch.empty(len(self.order), dtype=torch.int64)
        factor = torch.ones(len(self.order), dtype=torch.float64)
        bell_x, _, bell_z = self.canonical.bell
        place[0] = int(bell_z == self.start[1])  # RX(pi) changes the sign of ZZ, RZ(pi) that of XX
        place[1] = int(bell_x == self.start[0])
        halves = 2 + 3 * torch.arange(2 * self.layers)
        for rank, (letter, sign) in enumerate(zip(self.canonical.letters, self.canonical.signs, strict=True)):
            place[halves + letter] = halves + rank
            factor[halves + letter] = sign
        inverse = torch.tensor(self.order).argsort()
        return place[inverse], (factor / torch.as_tensor(self.slopes))[inverse]


_KNOWN: WeakKeyDictionary[Features, ChainForm | str] = WeakKeyDictionary()


def chain_form(features: Features) -> ChainForm | str:
    """Return what a task is as a spin chain in a Bell-pair circuit, or why it is none, as "..., but ..." of a sentence.

    Qubits may be in any order, and the circuit compiled to other gates.
    """
    if features not in _KNOWN:
        try:
            _KNOWN[features] = _recognised(features)
        except _OtherError as reason:
            _KNOWN[features] = str(reason)
    return _KNOWN[features]


def needs_chain(name: str, features: Features) -> str | None:
    """Return the reason why a model of this name for Bell-pair circuits does not serve a task, or None."""
    form = chain_form(features)
    return f"{name} needs {form}" if isinstance(form, str) else None


def chains(features: FeatureBatch) -> list[ChainForm]:
    """Return what B tasks are.

    Raises:
        ValueError: if one is no chain in a Bell-pair circuit.
    """
    forms = []
    for item in features.items:
        form = chain_form(item)
        if isinstance(form, str):
            raise ValueError(f"This needs {form}. Ask unsupported(features) before.")
        forms.append(form)
    return forms


def chain_points(forms: Sequence[ChainForm], angles: Sequence[Float[Tensor, "L 2 3"]]) -> Float[Tensor, "B P"]:
    """Return the points, zero-padded, of canonical angles.

    Args:
        forms: B chains.
        angles: of each the rotations on odd and even bonds, letters by the sizes of their couplings.
    """
    rows = []
    for form, own in zip(forms, angles, strict=True):
        place, factor = form.gathered
        rows.append(torch.cat([own.new_tensor([torch.pi, 0.0]), own.flatten()])[place] * factor)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def chain_probes() -> list[tuple[SparsePauliOp, QuantumCircuit]]:
    """Return a few small chains and rings with their circuits."""
    probes = []
    for size, layers, periodic, couplings in (
        (4, 2, False, (0.3, -1.1, 0.7)),
        (6, 3, False, (-1.2, -0.9, -1.0)),
        (6, 1, True, (0.2, 0.1, -2.0)),
    ):
        terms = [
            (letter * 2, [*bond], -value)
            for bond in bonds(size, periodic=periodic)
            for letter, value in zip("XYZ", couplings, strict=True)
        ]
        operator = SparsePauliOp.from_sparse_list(terms, num_qubits=size)
        probes.append((operator, bell_pair_ansatz(size, layers, periodic=periodic)))
    return probes


class _OtherError(Exception):
    """Something else came."""


def _recognised(features: Features) -> ChainForm:
    form = features.form
    if form is None:
        raise _OtherError("a circuit of Pauli rotations after a Clifford, but another one came")
    couplings, neighbours = _model(form.operator)
    sites = _walk(neighbours)
    periodic = len(neighbours[sites[0]]) == 2
    values = _Stabilizers(form.stabilizers)
    if periodic and not values.pair(*sites[:2]):
        sites = [*sites[1:], sites[0]]
    pairs = list(zip(sites[::2], sites[1::2], strict=True))
    signs = {values.pair(first, second) for first, second in pairs}
    start = signs.pop()
    if start is None or signs:
        raise _OtherError("one Bell state on every second bond, but the circuit starts from other states")
    even = frozenset(_mask(pair) for pair in pairs)
    between = zip(sites[1::2], [*sites[2::2], *(sites[:1] if periodic else ())], strict=False)
    odd = frozenset(_mask(pair) for pair in between)
    order, slopes, layers = _parameters(form, even, odd)
    return ChainForm(len(sites), layers, periodic, couplings, start, order, slopes)


def _mask(qubits: Iterable[int]) -> int:
    return sum(1 << qubit for qubit in qubits)


# the Hamiltonian


def _model(operator: PauliSum) -> tuple[tuple[float, float, float], dict[int, list[int]]]:
    """Return couplings and each site's neighbours; qubits that only route are no sites."""
    largest = np.abs(operator.coefficients[(operator.x | operator.z) != 0]).max(initial=0.0)
    found: list[dict[int, float]] = [{}, {}, {}]
    for x, z, value in zip(operator.x.tolist(), operator.z.tolist(), operator.coefficients.tolist(), strict=True):
        pauli = Pauli(x, z)
        coefficient = float((value / 1j**pauli.ys).real)
        if abs(coefficient) <= 1e-12 * largest or not pauli.support:
            continue
        letter = _letter(pauli)
        if pauli.support.bit_count() == 2 and letter is not None:
            found[letter][pauli.support] = coefficient
        elif letter == 2 and pauli.support.bit_count() == 1:
            raise _OtherError(f"a chain without field, but h = {-coefficient:g} came")
        else:
            raise _OtherError("XX, YY and ZZ on bonds, but the operator has other terms")
    bonds = {bond for part in found for bond in part}
    neighbours: dict[int, list[int]] = {}
    for bond in bonds:
        first, second = (qubit for qubit in range(bond.bit_length()) if bond >> qubit & 1)
        neighbours.setdefault(first, []).append(second)
        neighbours.setdefault(second, []).append(first)
    couplings = [_common(part, len(bonds), largest) for part in found]
    return (-couplings[0], -couplings[1], -couplings[2]), neighbours


def _letter(pauli: Pauli) -> int | None:
    """Return 0, 1, 2 for a product of X, Y or Z only."""
    if not pauli.z:
        return 0
    return 2 if not pauli.x else 1 if pauli.x == pauli.z else None


def _common(values: dict[int, float], count: int, scale: float) -> float:
    if not values:
        return 0.0
    numbers = list(values.values())
    if len(numbers) != count or max(numbers) - min(numbers) > _EQUAL * scale:
        raise _OtherError("the same couplings everywhere, but they differ from place to place")
    return numbers[0]


def _walk(neighbours: Mapping[int, Sequence[int]]) -> list[int]:
    """Return the sites in order along the chain, from an end if there is one."""
    size, degrees = len(neighbours), {len(near) for near in neighbours.values()}
    ends = [site for site, near in neighbours.items() if len(near) == 1]
    if size < _LEAST or size % 2 or not degrees <= {1, 2} or len(ends) not in (0, 2):
        raise _OtherError(
            f"a chain or ring of an even number of sites, at least {_LEAST}, but other couplings of {size} sites came"
        )
    path = ends[:1] or [min(neighbours)]
    while len(path) < size:
        ahead = [site for site in neighbours[path[-1]] if site not in path[-2:]]
        if not ahead or ahead[0] == path[0]:
            raise _OtherError("one chain or ring, but there are several parts")
        path.append(ahead[0])
    return path


# the circuit


class _Stabilizers:
    """Signs of the Paulis that a stabilizer state is an eigenstate of."""

    def __init__(self, generators: Iterable[tuple[Pauli, int]]) -> None:
        self._rows: dict[tuple[int, int], tuple[Pauli, int]] = {}  # reduced, by (kind of mask, bit) of the pivot
        for pauli, sign in generators:
            rest, sign = self._reduced(pauli, sign)
            if rest.x:
                self._rows[0, rest.x.bit_length() - 1] = rest, sign
            elif rest.z:
                self._rows[1, rest.z.bit_length() - 1] = rest, sign

    def pair(self, first: int, second: int) -> tuple[int, int] | None:
        """Return the signs of XX and ZZ of two qubits in a Bell state, or None."""
        mask = _mask((first, second))
        signs = []
        for pauli in (Pauli(mask, 0), Pauli(0, mask)):
            rest, sign = self._reduced(pauli, 1)
            if rest.support:
                return None
            signs.append(sign)
        return signs[0], signs[1]

    def _reduced(self, pauli: Pauli, sign: int) -> tuple[Pauli, int]:
        """Multiply with rows until no pivot of theirs is left; those of X come first, as theirs may bring Z."""
        for (kind, bit), row in sorted(self._rows.items(), key=lambda item: (item[0][0], -item[0][1])):
            if (pauli.z if kind else pauli.x) >> bit & 1:
                pauli, sign = _times(pauli, sign, *row)
        return pauli, sign


def _times(left: Pauli, sign: int, right: Pauli, other: int) -> tuple[Pauli, int]:
    """Return the product of two commuting signed Paulis."""
    result = Pauli(left.x ^ right.x, left.z ^ right.z)
    power = left.ys + right.ys + 2 * (left.z & right.x).bit_count() - result.ys
    return result, sign * other * (1 - power % 4)


def _parameters(form: PauliForm, even: frozenset[int], odd: frozenset[int]) -> tuple[tuple[int, ...], Array, int]:
    """Return the order and the slopes of the parameters, and the number of layers."""
    for _, angle in form.rotations:
        if len(angle.slopes) != 1 or abs(angle.constant) > ZERO:
            raise _OtherError("one parameter a rotation and nothing added to it, but other angles came")
    slopes = np.empty(form.num_parameters)
    kinds: dict[tuple[str, int], list[tuple[int, int]]] = {}  # (bonds, letter) -> (first place, parameter)
    for index, driven in enumerate(form.driven):
        if not driven or max(one[2] for one in driven) - min(one[2] for one in driven) > ZERO:
            raise _OtherError("parameters that drive what they drive alike, but others came")
        slopes[index] = driven[0][2]
        supports = [pauli.support for _, pauli, _ in driven]
        letters = {_letter(pauli) for _, pauli, _ in driven}
        where = _where(supports, even, odd)
        letter = letters.pop()
        if where is None or letter is None or letters:
            raise _OtherError("rotations about XX, YY or ZZ on all even or all odd bonds, but others came")
        kinds.setdefault((where, letter), []).append((min(place for place, _, _ in driven), index))
    layers = len(kinds.get(("odd", 0), ()))
    wanted = {("pairs", 0): 1, ("pairs", 2): 1} | {(where, k): layers for where in ("odd", "even") for k in range(3)}
    if not layers or {kind: len(found) for kind, found in kinds.items()} != wanted:
        raise _OtherError(
            "RX and RZ on one qubit a pair and then the same number of RXX, RYY and RZZ angles on odd and even bonds, "
            "but other rotations came"
        )
    order = [kinds["pairs", 0][0][1], kinds["pairs", 2][0][1]]
    columns = [[index for _, index in sorted(kinds[where, k])] for where in ("odd", "even") for k in range(3)]
    order += [column[layer] for layer in range(layers) for column in columns]
    half = {index: max(0, (k - 2) // 3 + 1) if k > 1 else 0 for k, index in enumerate(order)}
    latest: dict[int, int] = {}
    for pauli, angle in form.rotations:  # within half a layer all commute, so halves must follow each other on a qubit
        now = half[angle.slopes[0][0]]
        for qubit in range(form.num_qubits):
            if pauli.support >> qubit & 1:
                if latest.get(qubit, 0) > now:
                    raise _OtherError("odd bonds, then even bonds in every layer, but another order came")
                latest[qubit] = now
    return tuple(order), slopes[order], layers


def _where(supports: Sequence[int], even: frozenset[int], odd: frozenset[int]) -> str | None:
    """Return "even" or "odd" for all bonds of a kind, "pairs" for one qubit of each even bond."""
    if len(set(supports)) != len(supports):
        return None
    if all(support.bit_count() == 1 for support in supports):
        hit = [sum(bool(bond & support) for support in supports) for bond in even]
        return "pairs" if hit == [1] * len(even) else None
    return {even: "even", odd: "odd"}.get(frozenset(supports))
