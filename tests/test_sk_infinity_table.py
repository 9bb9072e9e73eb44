"""Tests of the stored SK-infinity angles against a direct, slow evaluation of the published iteration."""

import itertools
import json
import math
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

PUBLISHED_ENERGIES = {1: 0.3033, 2: 0.4075, 3: 0.4726, 4: 0.5157, 5: 0.5476, 6: 0.5721, 7: 0.5915, 8: 0.6073}
PUBLISHED_ANGLES = {
    3: ([0.3297, 0.5688, 0.6406], [0.5500, 0.3675, 0.2109]),
    5: ([0.2705, 0.4804, 0.5074, 0.5646, 0.6397], [0.5899, 0.4492, 0.3559, 0.2643, 0.1486]),
}


@pytest.fixture(scope="module")
def depths() -> dict[str, Any]:
    text = (files("qiskit_metainit.models") / "sk_infinity.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)["depths"]
    return table


def energy_oracle(gamma: NDArray[np.float64], beta: NDArray[np.float64]) -> float:
    """arXiv:2110.14206, infinite degree, as printed: every configuration, all of G, p rounds, no symmetry used."""
    p = len(gamma)
    phases = np.concatenate([gamma, [0.0], -gamma[::-1]])
    mixers = np.concatenate([beta, -beta[::-1]])  # between neighbours of (a_1, ..., a_p, a_0, a_-p, ..., a_-1)
    configurations = np.array(list(itertools.product([1.0, -1.0], repeat=2 * p + 1)))
    f = np.full(len(configurations), 0.5, dtype=complex)
    for position, angle in enumerate(mixers):
        same = configurations[:, position] == configurations[:, position + 1]
        f *= np.where(same, np.cos(angle), 1j * np.sin(angle))
    scaled = configurations * phases
    g = np.einsum("a,aj,ak->jk", f, configurations, configurations)
    for _ in range(p):
        weight = f * np.exp(-0.5 * np.einsum("jk,aj,ak->a", g, scaled, scaled))
        g = np.einsum("a,aj,ak->jk", weight, configurations, configurations)
    value = 0.5j * np.sum(phases * g[p] ** 2)
    assert abs(value.imag) < 1e-12
    return float(value.real)


def test_oracle_agrees_with_the_closed_form_of_one_layer() -> None:
    gamma, beta = 0.7, 0.3
    expected = gamma * math.sin(4 * beta) * math.exp(-2 * gamma**2)
    assert energy_oracle(np.array([gamma]), np.array([beta])) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("reps", [1, 2, 3])
def test_stored_energy_and_stationarity_by_the_oracle(depths: dict[str, Any], reps: int) -> None:
    row = depths[str(reps)]
    point = np.array(row["gamma"] + row["beta"])
    assert energy_oracle(point[:reps], point[reps:]) == pytest.approx(row["energy"], abs=1e-9)

    for axis in np.eye(2 * reps):
        step = 1e-5
        above = energy_oracle(*np.split(point + step * axis, 2))
        below = energy_oracle(*np.split(point - step * axis, 2))
        assert abs(above - below) / (2 * step) < 1e-8
        # A maximum along every axis, which a stationary point alone would not be.
        for shift in (1e-2, -1e-2):
            assert energy_oracle(*np.split(point + shift * axis, 2)) < row["energy"] - 1e-6


def test_energies_of_deeper_circuits_by_the_oracle(depths: dict[str, Any]) -> None:
    for reps in (4, 5):
        row = depths[str(reps)]
        assert energy_oracle(np.array(row["gamma"]), np.array(row["beta"])) == pytest.approx(row["energy"], abs=1e-9)


def test_table_is_complete(depths: dict[str, Any]) -> None:
    assert list(depths) == [str(reps) for reps in range(1, 11)]
    for reps, row in depths.items():
        assert len(row["gamma"]) == len(row["beta"]) == int(reps)


def test_energies_increase_and_match_the_published_ones(depths: dict[str, Any]) -> None:
    energies = [row["energy"] for row in depths.values()]
    assert np.all(np.diff(energies) > 0)
    # The Parisi value bounds every depth.
    assert energies[-1] < 0.763166
    for reps, published in PUBLISHED_ENERGIES.items():
        assert round(depths[str(reps)]["energy"], 4) == published


def test_one_layer_is_the_closed_form_optimum(depths: dict[str, Any]) -> None:
    assert depths["1"]["gamma"] == [0.5]
    assert depths["1"]["beta"] == [pytest.approx(math.pi / 8, abs=1e-10)]
    assert depths["1"]["energy"] == pytest.approx(1 / math.sqrt(4 * math.e), abs=1e-10)


@pytest.mark.parametrize("reps", sorted(PUBLISHED_ANGLES))
def test_angles_match_the_published_ones(depths: dict[str, Any], reps: int) -> None:
    gamma, beta = PUBLISHED_ANGLES[reps]
    assert [round(angle, 4) for angle in depths[str(reps)]["gamma"]] == gamma
    assert [round(angle, 4) for angle in depths[str(reps)]["beta"]] == beta
