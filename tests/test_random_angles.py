"""Random and equal angles: their distributions and where they come from."""

import math

import numpy as np
import pytest
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.features import of_qaoa, stack
from qiskit_metainit.models.random_angles import RandomAngles
from qiskit_metainit.models.same_angle import SameAngle
from qiskit_metainit.task import Task

WIDE = Task.from_circuit(efficient_su2(6, reps=40), SparsePauliOp(["ZZIIII", "XXXIII"])).features


def drawn(**settings: object) -> np.ndarray:
    return RandomAngles(**settings).begin(stack([WIDE]))[0][0].numpy()


def test_the_reduced_domain_is_uniform_and_of_its_width() -> None:
    angles = drawn()
    assert np.abs(angles).max() <= 0.05 * math.pi
    assert angles.std() == pytest.approx(0.05 * math.pi / math.sqrt(3), rel=0.1)
    assert np.abs(drawn(width=1.0)).max() > 0.9


def test_the_variance_is_the_theorems() -> None:
    # S = 2 and 20 layers: 1/176; the paper's own figure.
    assert drawn(distribution="normal", locality=2, layers=20).std() == pytest.approx(math.sqrt(1 / 176), rel=0.15)
    # By default S = 3 qubits in a term and L = 82, two rotations a qubit in each of 41 layers.
    assert drawn(distribution="normal").std() == pytest.approx(math.sqrt(1 / (4 * 3 * 84)), rel=0.15)
    assert abs(drawn(distribution="normal").mean()) < 0.01


def test_the_depth_of_qaoa_is_its_p() -> None:
    task = of_qaoa(SparsePauliOp("ZZ"), 2)
    many = [RandomAngles(distribution="normal", seed=s).begin(stack([task]))[0][0].numpy() for s in range(300)]
    assert (np.array(many) / 1.0).std() == pytest.approx(math.sqrt(1 / (4 * 2 * 4)), rel=0.1)


def test_seeds_draw_other_angles_and_the_same_again() -> None:
    assert not np.allclose(drawn(), drawn(seed=1))
    assert np.array_equal(drawn(seed=1), drawn(seed=1))


def test_every_parameter_gets_the_same_angle_and_padding_none() -> None:
    batch = stack([of_qaoa(SparsePauliOp("ZZ"), 1), of_qaoa(SparsePauliOp("ZZ"), 3)])
    points = SameAngle(value=math.pi).begin(batch)[0]
    assert points[0].tolist() == [math.pi] * 2 + [0.0] * 4
    assert points[1].tolist() == [math.pi] * 6


def test_an_unknown_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match="'uniform' or 'normal', but 'cauchy' came"):
        RandomAngles(distribution="cauchy")
