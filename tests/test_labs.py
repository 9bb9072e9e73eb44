"""Low autocorrelation binary sequences against their definition and the optima known for every short length."""

from __future__ import annotations

import collections
import json
from typing import Any

import numpy as np
import pytest

from qiskit_metainit.problem import Family, diagonal_values
from qiskit_metainit.problems.labs import Labs

# The least energies of lengths 3 to 14, as found by exhaustive search (Mertens 1996, table 1).
OPTIMA = {3: 1, 4: 2, 5: 2, 6: 7, 7: 3, 8: 8, 9: 12, 10: 13, 11: 5, 12: 10, 13: 6, 14: 19}


def energy(spins: list[int]) -> int:
    """The definition."""
    n = len(spins)
    return sum(sum(spins[i] * spins[i + k] for i in range(n - k)) ** 2 for k in range(1, n))


@pytest.mark.parametrize("length", range(3, 10))
def test_every_sequence_has_its_energy(length: int) -> None:
    problem = Labs.from_length(length)
    assert (problem.family, problem.maximise, problem.nodes) == ("labs", False, tuple(range(length)))
    values = diagonal_values(problem.operator)
    for index, value in enumerate(values):
        bitstring = format(index, f"0{length}b")
        spins = [1 - 2 * bit for bit in problem.decode(bitstring).values()]
        assert value == pytest.approx(energy(spins))
        assert problem.value(bitstring) == pytest.approx(value)


@pytest.mark.parametrize(("length", "least"), OPTIMA.items())
def test_the_ground_states_are_the_known_optima(length: int, least: int) -> None:
    assert diagonal_values(Labs.from_length(length).operator).min() == pytest.approx(least)


def test_products_are_of_two_and_four_spins_each_once() -> None:
    operator = Labs.from_length(12).operator
    assert set(operator.paulis.z.sum(axis=1).tolist()) == {0, 2, 4}
    assert len(operator.simplify()) == len(operator)


def test_the_barker_sequence_of_thirteen() -> None:
    problem = Labs.from_length(13)
    barker = "0000011001010"
    assert problem.value(barker) == pytest.approx(6)
    assert problem.value(barker[::-1]) == pytest.approx(6)
    assert 13**2 / (2 * problem.value(barker)) == pytest.approx(14.08, abs=0.01)


@pytest.mark.parametrize("length", [2, 0, -1, 3.0, True, "5", None])
def test_bad_lengths_are_refused(length: Any) -> None:
    with pytest.raises(ValueError, match="length must be an integer >= 3"):
        Labs.from_length(length)


def test_sizes_are_drawn_uniformly(rng: np.random.Generator) -> None:
    family = Labs(sizes=[3, 5, 7])
    assert isinstance(family, Family)
    counts = collections.Counter(family.sample(rng).num_qubits for _ in range(600))
    assert set(counts) == {3, 5, 7}
    assert all(abs(count - 200) < 50 for count in counts.values())


def test_settings_rebuild_the_family() -> None:
    family = Labs(sizes=range(4, 7))
    assert Labs(**json.loads(json.dumps(family.settings))) == family


@pytest.mark.parametrize("sizes", [[], [2], 6, "67", [4.0]])
def test_bad_sizes_are_refused(sizes: Any) -> None:
    with pytest.raises(ValueError, match="sizes must be a sequence of integers >= 3"):
        Labs(sizes=sizes)
