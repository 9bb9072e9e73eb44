from __future__ import annotations

import pytest
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.layerwise import SEARCHES, climb
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rating import Array, answers, energies
from qiskit_metainit.task import Task

OPERATOR = MaxCut.from_edges([(0, 1), (1, 2), (2, 0), (2, 3, 2.0)]).operator


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("reps", [1, 3])
def test_a_climb_is_the_search_on_the_landscapes_of_all_depths(name: str, reps: int) -> None:
    engine, asked = Statevector(), list[tuple[int, float]]()
    tasks = {depth: Task.qaoa(OPERATOR, reps=depth) for depth in range(1, reps + 1)}

    def energy(depth: int, natural: Array) -> float:
        radians = natural * tasks[depth].features.unit.numpy()
        asked.append((depth, float(energies(engine, [tasks[depth]], radians[None])[0])))
        return asked[-1][1] / tasks[depth].scale

    start = answers(SkInfinity(), [tasks[1]], engine)[0] / tasks[1].features.unit.numpy()
    point, count = SEARCHES[name](energy, reps, start=start, rhobeg=0.5, rhoend=1e-2, cap=30)
    found = climb(name, engine, tasks[reps], rhobeg=0.5, rhoend=1e-2, cap=30)
    assert found.point == pytest.approx(point * tasks[reps].features.unit.numpy())
    assert found.evaluations == count == len(asked)
    last = [(place, each) for place, (depth, each) in enumerate(asked, start=1) if depth == reps]
    assert [place for place, _ in found.visits] == [place for place, _ in last]
    assert [each for _, each in found.visits] == pytest.approx([each for _, each in last])
    assert energies(engine, [tasks[reps]], found.point[None])[0] == pytest.approx(min(each for _, each in last))


@pytest.mark.parametrize("name", SEARCHES)
def test_units_of_the_weights_change_no_count(name: str) -> None:
    factor = 2.0**20  # a power of two: COBYLA amplifies the last digit
    first, other = (climb(name, Statevector(), Task.qaoa(OPERATOR * c, reps=2)) for c in (1.0, factor))
    assert other.evaluations == first.evaluations
    assert [each for _, each in other.visits] == pytest.approx([each * factor for _, each in first.visits])


def test_what_cannot_climb_is_refused() -> None:
    engine = Statevector()
    with pytest.raises(ValueError, match="one of interp, fourier, but 'grid' came"):
        climb("grid", engine, Task.qaoa(OPERATOR, reps=1))
    with pytest.raises(ValueError, match="X or Y terms"):
        climb("interp", engine, Task.qaoa(SparsePauliOp(["ZZ", "XI"]), reps=1))
    with pytest.raises(ValueError, match="standard QAOA circuit"):
        climb("interp", engine, Task.from_circuit(efficient_su2(2, reps=1), SparsePauliOp("ZZ")))
