"""Recognition of Hubbard models and their ansatz from circuits alone."""

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_nature.second_q.hamiltonians import FermiHubbardModel
from qiskit_nature.second_q.hamiltonians.lattices import LineLattice
from qiskit_nature.second_q.mappers import JordanWignerMapper, ParityMapper
from qiskit_nature.second_q.operators import FermionicOp

from qiskit_metainit.circuits.hubbard import OpenLattice, hubbard_ansatz
from qiskit_metainit.features import of_circuit
from qiskit_metainit.lattice import HubbardForm, hubbard_form
from qiskit_metainit.lattice_schedules import not_hubbard
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.hubbard import Hubbard


def read(circuit: QuantumCircuit, operator: SparsePauliOp) -> HubbardForm:
    return hubbard_form(of_circuit(circuit, operator).form)


def same(one: HubbardForm, other: HubbardForm) -> None:
    assert (one.columns, one.rows, one.layers, one.part, one.layer) == (
        other.columns,
        other.rows,
        other.layers,
        other.part,
        other.layer,
    )
    assert one.interaction == pytest.approx(other.interaction)
    assert one.factor == pytest.approx(other.factor)


@pytest.fixture
def ladder() -> Problem:
    return Hubbard.from_lattice(3, 2, interaction=2.8, hopping=0.7, layers=2)


@pytest.mark.parametrize(("columns", "rows", "width"), [(2, 1, 2), (4, 1, 3), (2, 2, 3), (3, 2, 4), (4, 2, 4)])
def test_chains_and_ladders_are_told_apart(columns: int, rows: int, width: int) -> None:
    lattice = OpenLattice(columns, rows)
    problem = Hubbard.from_lattice(columns, rows, interaction=2.8, hopping=0.7, layers=3)
    found = read(hubbard_ansatz(lattice, layers=3), problem.operator)
    assert (found.columns, found.rows, found.layers) == (columns, rows, 3)
    assert found.interaction == pytest.approx(4.0)
    expected = {(2, 1): (0, 1), (2, 2): (0, 1, 3)}.get((columns, rows), (0, 1, 2, 3)[:width])
    assert found.part == expected * 3
    assert found.layer == tuple(np.repeat([0, 1, 2], width))
    assert found.factor == pytest.approx((1.0,) * 3 * width)  # angles of this ansatz are those of U = t = 1


@pytest.mark.parametrize("level", [0, 1])
def test_a_compiled_circuit_is_recognised_as_well(ladder: Problem, level: int) -> None:
    compiled = transpile(ladder.ansatz, basis_gates=["rz", "sx", "x", "cx"], optimization_level=level)
    same(read(compiled, ladder.operator), read(ladder.ansatz, ladder.operator))


def test_qubits_may_be_in_any_order(ladder: Problem, rng: np.random.Generator) -> None:
    order = rng.permutation(12).tolist()
    moved = QuantumCircuit(12)
    moved.compose(ladder.ansatz, order, inplace=True)
    same(read(moved, ladder.operator.apply_layout(order)), read(ladder.ansatz, ladder.operator))


def test_disorder_and_other_scales_of_the_angles_go_into_the_factors() -> None:
    problem = Hubbard.from_lattice(4, interaction=3.0, hopping=2.0, layers=1, strengths=(0.5, 1.5, 0.7))
    a, b, c = problem.ansatz.parameters
    scaled = problem.ansatz.assign_parameters({a: 2.0 * ParameterVector("x", 3)[0], b: b, c: -c}, inplace=False)
    found = read(scaled, problem.operator)
    order = [str(parameter) for parameter in scaled.parameters]
    mean = 0.9  # of the strengths
    factors = {"x[0]": 0.5, "theta[1]": 1 / mean, "theta[2]": -1 / mean}
    assert found.interaction == pytest.approx(1.5 / mean)
    assert found.factor == pytest.approx([factors[name] for name in order])


def evolved(operator: SparsePauliOp, angle) -> QuantumCircuit:
    circuit = QuantumCircuit(operator.num_qubits)
    circuit.append(PauliEvolutionGate(operator, angle), circuit.qubits)
    return circuit


@pytest.mark.parametrize("mapper", [JordanWignerMapper(), ParityMapper()], ids=["jordan_wigner", "parity"])
def test_another_mapping_of_the_fermions_is_recognised(mapper, rng: np.random.Generator) -> None:
    """A circuit written with fermions: two sites, one particle of each spin, with the singles of n n evolved too."""
    model = FermiHubbardModel(LineLattice(2).uniform_parameters(-1.0, 0.0), onsite_interaction=3.0)
    operator = mapper.map(model.second_q_op())
    size = {"num_spin_orbitals": 4}
    turn = [FermionicOp({f"+_{2 + s} -_{s}": 1j, f"+_{s} -_{2 + s}": -1j}, **size) for s in (0, 1)]
    hops = [FermionicOp({f"+_{2 + s} -_{s}": -1.0, f"+_{s} -_{2 + s}": -1.0}, **size) for s in (0, 1)]
    meet = [FermionicOp({f"+_{2 * i} -_{2 * i} +_{2 * i + 1} -_{2 * i + 1}": 1.0}, **size) for i in (0, 1)]
    theta = ParameterVector("theta", 4)
    circuit = QuantumCircuit(4)
    occupied = [1, 1, 0, 0]
    bits = np.cumsum(occupied) % 2 if isinstance(mapper, ParityMapper) else occupied
    circuit.x(np.flatnonzero(bits).tolist())
    circuit.compose(evolved(mapper.map(turn[0] + turn[1]), np.pi / 4), inplace=True)
    for layer in range(2):
        for part, terms in enumerate((meet, hops)):
            mapped = mapper.map(terms[0] + terms[1])
            kept = mapped[(mapped.paulis.x | mapped.paulis.z).any(axis=1)]
            circuit.compose(evolved(kept, theta[2 * layer + part]), inplace=True)
    found = read(circuit, operator)
    assert (found.columns, found.rows, found.interaction, found.part) == (2, 1, 3.0, (0, 1, 0, 1))
    own = Hubbard.from_lattice(2, interaction=3.0, layers=2)
    point = rng.normal(size=4)
    energies = [
        Statevector(c.assign_parameters(point * f).decompose()).expectation_value(o).real
        for c, o, f in ((circuit, operator, np.array(found.factor)), (own.ansatz, own.operator, 1.0))
    ]
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)  # the same angles mean the same state


def reordered(problem: Problem) -> QuantumCircuit:
    """Return hops first, then the interaction."""
    ansatz = problem.ansatz
    cut = next(k for k, item in enumerate(ansatz.data) if item.operation.name == "rzz")
    layer = len(ansatz.data) - cut
    moved = ansatz.copy_empty_like()
    interaction = [item for item in ansatz.data[cut:] if item.operation.name == "rzz"]
    hops = [item for item in ansatz.data[cut:] if item.operation.name != "rzz"]
    assert len(interaction) + len(hops) == layer
    for item in [*ansatz.data[:cut], *hops, *interaction]:
        moved.append(item)
    return moved


def neel(problem: Problem) -> QuantumCircuit:
    circuit = problem.ansatz.copy_empty_like()
    cut = next(k for k, item in enumerate(problem.ansatz.data) if item.operation.name == "rzz")
    circuit.x([0, 3, 4, 7])
    for item in problem.ansatz.data[cut:]:
        circuit.append(item)
    return circuit


def without_last_gate(problem: Problem) -> QuantumCircuit:
    circuit = problem.ansatz.copy_empty_like()
    for item in problem.ansatz.data[:-1]:
        circuit.append(item)
    return circuit


def free_gate(problem: Problem) -> QuantumCircuit:
    circuit = problem.ansatz.copy()
    circuit.rx(0.3, 0)
    return circuit


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (reordered, "begin with the interaction"),
        (neel, "ground state of free fermions is needed"),
        (without_last_gate, "both spins together"),
        (free_gate, "mixed"),
    ],
)
def test_other_circuits_are_refused_with_a_reason(circuit, message: str) -> None:
    problem = Hubbard.from_lattice(4, interaction=2.0, layers=1)
    features = of_circuit(circuit(problem), problem.operator)
    with pytest.raises(ValueError, match=message):
        hubbard_form(features.form)
    assert message in (not_hubbard(features) or "")


def test_other_operators_are_refused_with_a_reason() -> None:
    problem = Hubbard.from_lattice(4, interaction=2.0, layers=1)
    cases = {
        "repulsive U": SparsePauliOp(["ZZIIIIII", "IIZZIIII"], [0.5, 0.7]),
        "no hops of it": problem.operator + SparsePauliOp("XIIIIIII"),
        "no hops": problem.operator[~problem.operator.paulis.x.any(axis=1)],
        "drives others": Hubbard.from_lattice(2, 2, interaction=2.0, layers=1).operator,
    }
    for message, operator in cases.items():
        with pytest.raises(ValueError, match=message):
            read(problem.ansatz, operator)


def test_other_fillings_and_couplings_are_refused() -> None:
    doped = Hubbard.from_lattice(6, interaction=2.0, layers=1, particles=2)
    with pytest.raises(ValueError, match=r"half filling .3 fermions of each spin. is needed, but 2 and 2 came"):
        read(doped.ansatz, doped.operator)
    strong = Hubbard.from_lattice(2, interaction=40.0, layers=1)
    assert "U/t between" in str(not_hubbard(of_circuit(strong.ansatz, strong.operator)))
