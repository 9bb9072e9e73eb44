"""Every family of VQE is trained through estimators as by exact simulation, with the parameter-shift rule and shots."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from qiskit.primitives import StatevectorEstimator

from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.jobs import make_engine
from qiskit_metainit.model import Model
from qiskit_metainit.models.amplitude_correction import AmplitudeCorrection
from qiskit_metainit.models.hubbard_schedule import HubbardSchedule
from qiskit_metainit.models.q_maml import QMaml
from qiskit_metainit.models.spin_chain import SpinChain
from qiskit_metainit.problem import Family
from qiskit_metainit.problems.distribution import Distribution
from qiskit_metainit.problems.heisenberg import Heisenberg
from qiskit_metainit.problems.hubbard import Hubbard
from qiskit_metainit.problems.molecule import Molecule
from qiskit_metainit.training import Report, Schedule

FAMILIES: dict[str, tuple[Callable[[], Family], Callable[[], Model]]] = {
    "heisenberg": (lambda: Heisenberg(sizes=[4], layers=[1]), lambda: SpinChain(width=8, layers=1)),
    "hubbard": (lambda: Hubbard(lattices=[[2, 1]], layers=[1]), lambda: HubbardSchedule(width=8, layers=1)),
    "molecule": (lambda: Molecule(molecules=["H2"]), lambda: AmplitudeCorrection(width=8)),
    "distribution": (
        lambda: Distribution(sizes=[2], layers=1),
        lambda: QMaml(inputs=4, num_parameters=4, vector="target", width=8),
    ),
}


def trained(name: str, engine: Engine, steps: int = 3) -> tuple[Report, dict[str, torch.Tensor]]:
    family, make = FAMILIES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
    meta = MetaInitializer(model, engine)
    settings: dict[str, Any] = {"loss": "root", "steps": steps, "batch": 2, "rng": 5}
    report = meta.train(family(), schedule=Schedule(instances=3, learning_rate=1e-2), **settings)
    assert meta.coverage is not None
    assert (meta.coverage.ansatz, meta.coverage.reps) == ("circuit", ())
    return report, model.state_dict()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_parameter_shift_rule_trains_as_exact_simulation_does(name: str) -> None:
    exact, weights = trained(name, Statevector())
    shifted, same = trained(name, ParameterShift(StatevectorEstimator()))
    np.testing.assert_allclose(shifted.losses, exact.losses, atol=1e-7)
    for key, value in weights.items():
        assert torch.allclose(same[key], value, atol=1e-5), key
    assert shifted.spent.circuits > exact.spent.circuits


@pytest.mark.parametrize("name", FAMILIES)
def test_shots_train_and_are_counted(name: str) -> None:
    engine = make_engine("parameter_shift", shots=200, rng=1)
    report, weights = trained(name, engine, steps=2)
    untrained = FAMILIES[name][1]().state_dict()
    assert np.isfinite(report.losses).all()
    assert report.shots > 0
    assert any(not torch.equal(weights[key], untrained[key]) for key in weights)
