from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
from qiskit import transpile
from qiskit.quantum_info import Statevector
from qiskit_nature.second_q.drivers import PySCFDriver
from qiskit_nature.second_q.mappers import BravyiKitaevMapper, JordanWignerMapper, ParityMapper
from qiskit_nature.second_q.transformers import ActiveSpaceTransformer, FreezeCoreTransformer

from qiskit_metainit import chemistry
from qiskit_metainit.chemistry import Integrals, hints, release
from qiskit_metainit.circuits.uccsd import uccsd_ansatz
from qiskit_metainit.ground import ground_energy
from qiskit_metainit.problems._electrons import qubit_operator
from qiskit_metainit.problems._geometries import SHAPES, draw
from qiskit_metainit.problems.molecule import Molecule

pytest.importorskip("pyscf")
SIZES = {"H2": 4, "H3+": 6, "H4": 8, "H6": 12, "LiH": 10, "BeH2": 12, "H2O": 12, "NH3": 14, "N2": 12}


def solved(geometry: str, **settings: Any) -> Any:
    driver = PySCFDriver(atom=geometry, **settings)
    problem = driver.run()
    release(driver._calc)
    return FreezeCoreTransformer().transform(problem)


@pytest.mark.parametrize("name", ["H2", "H3+", "H4", "LiH"])
def test_levels_hints_and_ansatz_belong_together(name: str, rng: np.random.Generator) -> None:
    problem = Molecule(molecules=[name]).sample(rng)
    assert problem.num_qubits == SIZES[name]
    assert problem.ansatz is not None
    assert problem.levels is not None
    start = problem.ansatz.assign_parameters(problem.hints["ccsd"]).decompose(reps=2)
    energy = float(Statevector(start).expectation_value(problem.operator).real)
    exact = ground_energy(problem.operator)
    # Better than Hartree-Fock by far, and no lower than the best angles; these are no lower than the ground state.
    assert -1e-7 < problem.levels.excess(energy) < 0.02
    assert problem.levels.lowest > exact - 1e-8
    assert problem.hints["molecule"] == name


def test_every_family_has_the_announced_size(rng: np.random.Generator) -> None:
    assert set(SIZES) == set(SHAPES)
    for name in ("BeH2", "H2O", "N2"):
        assert Molecule(molecules=[name], reference="none").sample(rng).num_qubits == SIZES[name]


def test_the_parity_mapping_takes_two_qubits_away() -> None:
    seeds = [np.random.default_rng(3) for _ in range(2)]
    plain, reduced = (
        Molecule(molecules=["H3+"], mapping=mapping).sample(seed)
        for mapping, seed in zip(("jordan_wigner", "parity"), seeds, strict=True)
    )
    assert reduced.num_qubits == plain.num_qubits - 2
    assert plain.levels is not None
    assert reduced.levels is not None
    assert reduced.levels.lowest == pytest.approx(plain.levels.lowest, abs=1e-7)


@pytest.mark.parametrize(
    ("mapping", "mapper"),
    [
        ("jordan_wigner", JordanWignerMapper()),
        ("parity", ParityMapper(num_particles=(1, 1))),
        ("bravyi_kitaev", BravyiKitaevMapper()),
    ],
)
def test_the_operator_is_that_of_qiskit_nature(mapping: str, mapper: Any) -> None:
    problem = solved("Li 0 0 0; H 0 0 1.4")
    ours = qubit_operator(Integrals.of(problem), mapping)
    theirs = mapper.map(problem.hamiltonian.second_q_op())
    assert np.abs((ours - theirs).simplify().coeffs).max() < 1e-9


def test_the_shift_makes_the_total_energy() -> None:
    from pyscf import fci, gto, scf

    problem = Molecule.from_geometry("H 0 0 0; H 0 0 0.74")
    field = scf.RHF(gto.M(atom="H 0 0 0; H 0 0 0.74", basis="sto-3g", verbose=0)).run()
    expected = fci.FCI(field).kernel()[0]
    release(field)
    assert ground_energy(problem.operator) + problem.hints["shift"] == pytest.approx(expected, abs=1e-7)


def test_positions_vary_in_all_their_distances(rng: np.random.Generator) -> None:
    for name, shape in SHAPES.items():
        drawn = np.stack([draw(shape, (0.8, 1.8), rng) for _ in range(30)])
        apart = np.linalg.norm(drawn[:, :, None] - drawn[:, None], axis=3)
        left, right = np.triu_indices(len(shape.atoms), 1)
        lengths = apart[:, left, right]
        assert lengths.min() > 0.5
        spread = np.linalg.svd(lengths - lengths.mean(axis=0), compute_uv=False) / np.sqrt(30)
        degrees = 1 if len(shape.atoms) == 2 else 3  # a bond; two bonds and an angle, or more
        assert (spread > 0.01).sum() >= degrees, name


@pytest.mark.parametrize("kind", ["jordan_wigner", "parity", "reduced", "bravyi_kitaev"])
def test_hints_match_the_parameters_of_any_order_and_mapping(kind: str, rng: np.random.Generator) -> None:
    problem = solved("H 0 0 0; H 0 0.1 0.9; H 0 0 1.9; H 0.2 0.1 2.7")
    mapper = {
        "jordan_wigner": JordanWignerMapper(),
        "parity": ParityMapper(),
        "reduced": ParityMapper(num_particles=(2, 2)),
        "bravyi_kitaev": BravyiKitaevMapper(),
    }[kind]
    circuit = uccsd_ansatz(4, (2, 2), mapper)
    plain = hints(problem, circuit)["ccsd"]
    operator = mapper.map(problem.hamiltonian.second_q_op())
    energy = Statevector(circuit.assign_parameters(plain).decompose(reps=2)).expectation_value(operator).real
    zero = Statevector(circuit.assign_parameters(0.0 * np.array(plain)).decompose(reps=2)).expectation_value(operator)
    exact = ground_energy(operator)
    assert energy - exact < 0.02 * (zero.real - exact)
    order = rng.permutation(circuit.num_parameters)
    shuffled = circuit.copy_empty_like()
    own = list(circuit.parameters)
    head = [each for each in circuit.data if not each.params]
    gates = [each for each in circuit.data if each.params]
    for each in [*head, *(gates[int(place)] for place in order)]:
        shuffled.append(each.operation, each.qubits)
    renamed = shuffled.assign_parameters({own[k]: -own[int(place)] for k, place in enumerate(order)})
    found = np.array(hints(problem, renamed)["ccsd"])
    np.testing.assert_allclose(found[order], -np.array(plain), atol=1e-8)


def test_hints_match_a_transpiled_ansatz_on_a_layout() -> None:
    problem = solved("H 0 0 0; H 0 0 1.0")
    circuit = uccsd_ansatz(2, (1, 1), JordanWignerMapper())
    ring = [[i, (i + 1) % 6] for i in range(6)]
    placed = transpile(
        circuit,
        basis_gates=["rz", "sx", "x", "cx"],
        coupling_map=ring,
        initial_layout=[4, 1, 0, 3],
        optimization_level=1,
        seed_transpiler=0,
    )
    np.testing.assert_allclose(hints(problem, placed)["ccsd"], hints(problem, circuit)["ccsd"], atol=1e-8)


def test_hints_of_an_active_space_and_of_another_ansatz() -> None:
    problem = ActiveSpaceTransformer(2, 3).transform(solved("Li 0 0 0; H 0 0 1.6"))
    circuit = uccsd_ansatz(3, (1, 1), JordanWignerMapper())
    assert len(hints(problem, circuit)["ccsd"]) == circuit.num_parameters
    assert hints(problem, uccsd_ansatz(4, (1, 1), JordanWignerMapper())) == {}


def test_open_shells_are_refused_at_once() -> None:
    problem = solved("O 0 0 0; O 0 0 1.2", spin=2)
    circuit = uccsd_ansatz(2, (1, 1), JordanWignerMapper())
    with pytest.raises(ValueError, match="closed shell"):
        hints(problem, circuit)
    with pytest.raises(ValueError, match="closed shell"):
        Molecule.from_problem(problem)
    with pytest.raises(ValueError, match="even number of electrons"):
        Molecule.from_geometry("H 0 0 0; H 0 0 1; H 0 1 0")


@pytest.mark.parametrize(
    ("geometry", "settings", "what"),
    [
        ("H 0 0; H 0 0 1", {}, "A geometry such as"),
        ("H 0 0 0; H 0 0 0.74", {"active": (2, 9)}, "active space"),
        ("H 0 0 0; H 0 0 0.74", {"mapping": "jw"}, "Each of mapping"),
        ("H 0 0 0; H 0 0 0.74", {"reference": "fci"}, "Each of reference"),
        ("He 0 0 0", {}, "virtual orbital"),
        (
            "H -0.034 -0.027 -0.013; H 1 -0.014 -0.052; H 0.199 0.947 -0.021; H 1.104 0.893 -0.063",
            {},
            "exciting one or two electrons",
        ),
    ],
)
def test_bad_molecules_are_refused(geometry: str, settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Molecule.from_geometry(geometry, **settings)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"molecules": ["HF"]}, "Each of molecules"),
        ({"stretch": [1.0]}, "stretch"),
        ({"stretch": [2.0, 1.0]}, "stretch"),
        ({"mapping": "jw"}, "mapping"),
        ({"reference": "fci"}, "reference"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Molecule(**settings)


def test_unconverged_hartree_fock_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    run = PySCFDriver.run

    def hasty(self: PySCFDriver) -> Any:
        self.max_cycle = 1
        return run(self)

    monkeypatch.setattr(PySCFDriver, "run", hasty)
    with pytest.raises(ValueError, match="Converged Hartree-Fock"):
        Molecule.from_geometry("O 0 0 0; H 0 0 1.01; H 0 0.9 -0.31")


def test_without_pyscf_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "pyscf":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (
        lambda: Molecule().sample(rng),
        lambda: Molecule.from_geometry("H 0 0 0; H 0 0 1"),
        chemistry.require_pyscf,
    ):
        with pytest.raises(ImportError, match=r"qiskit-metainit\[chemistry\]"):
            call()
