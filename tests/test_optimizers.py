"""How optimisers ask for energies: in groups that are told beforehand, and nothing twice."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qiskit_algorithms.optimizers import (
    ADAM,
    AQGD,
    CG,
    COBYLA,
    L_BFGS_B,
    NELDER_MEAD,
    NFT,
    POWELL,
    QNSPSA,
    SLSQP,
    SPSA,
    TNC,
    GradientDescent,
    Optimizer,
)
from qiskit_algorithms.utils import algorithm_globals

from qiskit_metainit.deployment.optimizers import groups, minimizer, stay
from qiskit_metainit.deployment.stored import as_json, from_json
from qiskit_metainit.deployment.workload import make_workload
from qiskit_metainit.problems.maxcut import MaxCut

pytestmark = [
    pytest.mark.filterwarnings("ignore:scipy.optimize. The `disp` and `iprint` options:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:COBYLA. Invalid MAXFUN:UserWarning"),
]

RATES: dict[str, Any] = {"learning_rate": 0.1, "perturbation": 0.1}
TARGET = np.array([0.3, -0.7, 0.2])


class Asked:
    """A landscape as runs ask it: one point at a time or many, written down."""

    def __init__(self, size: int = 3, noise: float = 0.0) -> None:
        self.size, self.noise, self.chance = size, noise, np.random.default_rng(5)
        self.points: list[np.ndarray] = []
        self.groups: list[int] = []

    def __call__(self, x: Any) -> Any:
        asked = np.asarray(x, dtype=float)
        rows = asked.reshape(-1, self.size)
        self.points += list(rows)
        self.groups.append(len(rows))
        values = ((rows - TARGET[: self.size]) ** 2).sum(1) + self.noise * self.chance.normal(size=len(rows))
        return float(values[0]) if asked.ndim == 1 and len(rows) == 1 else values.tolist()


def fidelity(first: Any, second: Any) -> Any:
    found = np.exp(-((np.asarray(first) - np.asarray(second)) ** 2).sum(-1))
    return found.tolist() if found.ndim else float(found)


@pytest.mark.parametrize(
    "spsa",
    [
        SPSA(maxiter=4, **RATES),
        SPSA(maxiter=4),
        SPSA(maxiter=4, resamplings=3, **RATES),
        SPSA(maxiter=4, resamplings={1: 2, 3: 5}, **RATES),
        SPSA(maxiter=3, blocking=True, **RATES),
        SPSA(maxiter=3, blocking=True, allowed_increase=0.5, **RATES),
        SPSA(maxiter=3, second_order=True, resamplings={2: 2}, **RATES),
        SPSA(maxiter=3, callback=lambda *told: None, **RATES),
        QNSPSA(fidelity, maxiter=3, **RATES),
    ],
)
def test_the_groups_of_spsa_are_told_exactly(spsa: SPSA) -> None:
    told = groups(spsa, 3)
    assert told is not None
    asked = Asked(noise=0.1)
    minimizer(spsa)(asked, np.zeros(3), jac=None, bounds=None)
    assert asked.groups == list(told)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize(
    "optimizer",
    [
        COBYLA(maxiter=2),
        COBYLA(maxiter=20, rhobeg=0.3),
        NELDER_MEAD(maxiter=4),
        NELDER_MEAD(maxfev=7),
        NELDER_MEAD(maxiter=4, maxfev=None),
        NELDER_MEAD(maxiter=100, maxfev=11),
        L_BFGS_B(maxiter=0, eps=0.1),
        L_BFGS_B(maxiter=2, eps=0.1),
        L_BFGS_B(maxfun=2, eps=0.1),
        L_BFGS_B(maxfun=5, eps=0.1, options={"maxls": 3}),
    ],
)
def test_no_more_is_asked_than_was_told(optimizer: Optimizer, noise: float, size: int) -> None:
    told = groups(optimizer, size)
    assert told is not None
    asked = Asked(size, noise)
    minimizer(optimizer)(asked, np.zeros(size), jac=None, bounds=None)
    most = list(told)
    assert asked.groups == most[: len(asked.groups)]
    assert len(most) < 100


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("settings", [{"maxiter": 2}, {"maxiter": 3, "eps": 0.3}, {"maxfun": 5}])
def test_line_searches_that_fail_and_are_repeated_are_in_the_bound(settings: dict[str, Any], size: int) -> None:
    optimizer = L_BFGS_B(**{"eps": 0.1, **settings})
    told = groups(optimizer, size)
    assert told is not None
    most, rng = len(list(told)), np.random.default_rng(0)
    asked = []
    for _ in range(60):
        target, count = rng.normal(size=size), itertools.count()

        def energies(x: Any, target: np.ndarray = target, count: Iterator[int] = count) -> list[float]:
            next(count)
            return list(-np.cos(np.reshape(x, (-1, size)) - target).sum(1))

        minimizer(optimizer)(energies, rng.normal(size=size))
        asked.append(next(count))
    assert max(asked) <= most


def test_the_users_own_optimiser_stays_as_it_was() -> None:
    tnc = TNC(maxiter=5, eps=0.1)
    before = tnc.settings

    def stop(x: Any) -> Any:
        raise RuntimeError("the budget")

    with pytest.raises(RuntimeError, match="the budget"):
        minimizer(tnc)(stop, np.zeros(3))
    assert tnc.settings == before


def test_who_stays_asks_for_nothing_and_others_do_not_tell() -> None:
    told = groups(stay, 3)
    assert told is not None
    assert list(told) == []
    assert groups(ADAM(), 3) is None
    assert groups(lambda fun, x0, jac, bounds: None, 3) is None


@pytest.mark.parametrize("size", [1, 3])
def test_l_bfgs_b_has_value_and_slope_from_one_job_and_asks_for_no_point_twice(size: int) -> None:
    optimizer = L_BFGS_B(maxiter=20, eps=1e-6)
    asked = Asked(size)
    found = minimizer(optimizer)(asked, np.zeros(size), jac=None, bounds=None)
    np.testing.assert_allclose(found.x, TARGET[:size], atol=1e-5)
    assert set(asked.groups) == {size + 1}
    assert len(np.unique(asked.points, axis=0)) == len(asked.points)
    np.testing.assert_allclose(found.x, optimizer.minimize(Asked(size), np.zeros(size)).x, atol=1e-5)
    assert optimizer.settings["max_evals_grouped"] == 1  # the user's own is as it was


@pytest.mark.parametrize(
    "optimizer",
    [
        ADAM(maxiter=40, lr=0.1, eps=0.01),
        AQGD(maxiter=30, eta=0.3),
        CG(maxiter=20, eps=0.01),
        SLSQP(maxiter=20, eps=0.01),
        TNC(maxiter=40, eps=0.01),
        GradientDescent(maxiter=30, learning_rate=0.3, perturbation=0.01),
        POWELL(maxfev=200),
        NFT(maxfev=60),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_other_optimisers_of_qiskit_algorithms_go_on(optimizer: Optimizer) -> None:
    asked = Asked()
    found = minimizer(optimizer)(asked, np.zeros(3), jac=None, bounds=None)
    values = Asked()
    assert values(np.asarray(found.x)) < values(np.zeros(3))


@pytest.mark.parametrize(
    "optimizer",
    [
        SPSA(3, learning_rate=0.1 * 0.9 ** np.arange(3), perturbation=0.1, resamplings={1: 4, 3: 2}),
        SPSA(4, last_avg=3, **RATES),
        SPSA(np.int64(4), second_order=True, initial_hessian=np.eye(3), **RATES),
        COBYLA(maxiter=np.int64(6)),
        L_BFGS_B(maxiter=2, eps=0.1, options={"maxls": 5}),
        AQGD(maxiter=[2, 2], eta=[0.3, 0.1], momentum=[0.0, 0.0]),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_settings_are_stored_whole(optimizer: Optimizer) -> None:
    workload = make_workload(MaxCut.from_edges([(0, 1), (1, 2)]), reps=1, optimizer=optimizer)
    again = from_json(json.loads(json.dumps(as_json(workload)))).optimizer
    points, ends = [], []
    for one in (optimizer, again):
        algorithm_globals.random_seed = 3
        asked = Asked()
        ends.append(minimizer(one)(asked, np.zeros(3)).x)
        points.append(asked.points)
    np.testing.assert_array_equal(*points)
    np.testing.assert_array_equal(*ends)
