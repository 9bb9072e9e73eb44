"""Trainings that start from what was trained before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qiskit_metainit import MetaInitializer
from qiskit_metainit.jobs import adopt, line_up_vqe, train_artifact
from qiskit_metainit.models.graph_correction import GraphCorrection
from qiskit_metainit.models.refinement import Refinement
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problems.heisenberg import Heisenberg
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.training import Schedule

FAMILY = MaxCut(sizes=[5], weights=["exponential"])
SMALL: dict[str, Any] = {"width": 8, "layers": 1, "channels": 2}


def train(model: str, folder: Path, rate: float, start_from: str | None = None, **settings: Any) -> MetaInitializer:
    meta, _ = train_artifact(
        model,
        {**SMALL, **settings},
        FAMILY,
        reps=[1, 2],
        loss="final",
        steps=3,
        batch=4,
        seed=5,
        schedule=Schedule(learning_rate=rate, instances=8),
        folder=folder,
        start_from=start_from,
        progress=lambda *done: None,
    )
    return meta


def test_a_training_goes_on_from_an_artifact(tmp_path: Path, rng: np.random.Generator) -> None:
    first = train("graph_correction", tmp_path / "first", 1e-2)
    again = train("graph_correction", tmp_path / "again", 1e-30, str(tmp_path / "first"))
    refined = train("refinement", tmp_path / "refined", 1e-30, str(tmp_path / "first"), queries=2)
    operators = [FAMILY.sample(rng).operator for _ in range(3)]
    for operator in operators:
        expected = first.initial_point(operator, reps=2)
        np.testing.assert_allclose(again.initial_point(operator, reps=2), expected, rtol=1e-12)
        # Its steps are still zero: the answer is the proposal, with the inputs centred as they were.
        np.testing.assert_allclose(refined.initial_point(operator, reps=2), expected, rtol=1e-12)
    other = train("graph_correction", tmp_path / "other", 1e-30)
    assert np.abs(other.initial_point(operators[0], reps=2) - expected).max() > 0


@pytest.mark.parametrize(
    ("model", "trained"),
    [
        (GraphCorrection(**SMALL), GraphCorrection(**{**SMALL, "width": 9})),
        (GraphCorrection(**SMALL), Refinement(**SMALL)),
        (GraphCorrection(**SMALL), SkInfinity()),
    ],
)
def test_weights_that_do_not_fit_are_refused(model: Any, trained: Any) -> None:
    with pytest.raises(
        ValueError, match=r"To start from 'mine' a model with room for its weights is needed, but Graph"
    ):
        adopt(model, trained, "mine")


def test_optima_of_other_instances_are_interpolated_as_rows_of_their_own(rng: np.random.Generator) -> None:
    family = Heisenberg(sizes=[4], layers=[2])
    problems, others = ([family.sample(rng) for _ in range(count)] for count in (2, 5))
    models, baselines, own = line_up_vqe(["heisenberg"], problems, others)
    assert own == ["heisenberg"]
    assert {"spline", "nearest"} <= set(baselines)
    assert {"spline", "nearest"}.isdisjoint(line_up_vqe(["heisenberg"], problems)[1])
    assert models["nearest"].knots == [[problem.hints[key] for key in models["nearest"].hints] for problem in others]
    mixed = [*others, Heisenberg(sizes=[4], layers=[1]).sample(rng)]
    with pytest.raises(ValueError, match="Instances of one circuit"):
        line_up_vqe(["heisenberg"], problems, mixed)
