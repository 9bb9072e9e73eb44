"""Expectation values from the counts of any sampler: every shot is asked for, none hides behind a precision."""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import ClassicalRegister, QuantumCircuit
from qiskit.primitives import (
    BaseEstimatorV2,
    BasePrimitiveJob,
    BaseSamplerV2,
    DataBin,
    EstimatorPubLike,
    PrimitiveResult,
    PubResult,
    SamplerPubResult,
)
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray, ObservablesArrayLike
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers import JobStatus
from qiskit.quantum_info import PauliList, SparseObservable, SparsePauliOp

from qiskit_metainit.deployment.adapters.answered import AnsweredJob
from qiskit_metainit.readout import ReadoutCalibration, backend_qubits, outcomes, shot_energies

_REGISTER = "basis"


def num_bases(observables: ObservablesArrayLike) -> int:
    """Return in how many bases the observables are measured together; a point costs that many times the shots.

    >>> num_bases(SparsePauliOp(["ZZI", "IZZ", "III"])), num_bases(SparsePauliOp(["ZZ", "XX", "YY"]))
    (1, 3)
    """
    array = ObservablesArray.coerce(observables)
    return len(_bases(_labels([_terms(array, index) for index in np.ndindex(*array.shape)])))


@final
class SampledEstimator(BaseEstimatorV2):
    """An estimator that measures each basis of qubit-wise commuting Pauli strings with exactly the shots asked for.

    points x bases x shots is what a PUB costs (``num_bases``): terms are grouped by Qiskit's ``group_commuting``, their
    common basis is rotated into that of the measurement by rz and sx, and all bases of all PUBs run in one job of the
    sampler, parametric circuits as parametric PUBs. A diagonal observable has one basis and no rotation; the identity
    costs nothing. Observables that are wanted at the same points share their bases.

    Circuits go to the sampler as they come but for the rotations: ``layout_safe(SampledEstimator(sampler))`` transpiles
    an ansatz once for all bases, ``SampledEstimator(layout_safe(sampler))`` once a basis.

    Standard errors come from the variance of the shots' energies in each basis, so covariances of terms are in them;
    they are nan for a single shot.

    Attributes:
        sampler: what runs the circuits.
        shots: of each basis at each point, where no precision is asked for; a precision asks for
            ceil(1 / precision^2).
        readout: of the backend's qubits, to take readout errors out; None takes outcomes as they are.
        jobs: calls of the sampler so far.
        circuits: bound circuits in them.
        shots_taken: shots of them all, counted when the results are first read.
    """

    def __init__(self, sampler: BaseSamplerV2, shots: int, *, readout: ReadoutCalibration | None = None) -> None:
        if not isinstance(sampler, BaseSamplerV2):
            raise TypeError(
                f"A sampler primitive (BaseSamplerV2) is needed, but a {type(sampler).__name__} came. "
                "Wrap a backend with qiskit.primitives.BackendSamplerV2(backend=...)."
            )
        if shots < 1:
            raise ValueError(f"At least one shot a basis is needed, but shots={shots} came.")
        self.sampler = sampler
        self.shots = shots
        self.readout = readout
        self.jobs = self.circuits = self.shots_taken = 0
        self._measured: dict[tuple[int, str], tuple[weakref.ref[QuantumCircuit], int, QuantumCircuit]] = {}

    def run(self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None) -> BasePrimitiveJob:
        """Estimate every PUB, all in one job of the sampler; none is sent where every observable is the identity.

        Args:
            pubs: circuits without classical bits, observables and parameter values of shapes that broadcast.
            precision: for PUBs without their own: 1 / sqrt(shots) of each basis, whatever the observable's size.

        Returns:
            A job whose results hold ``evs`` and ``stds``; their metadata tell ``shots`` (of each basis) and ``bases``.

        Raises:
            ValueError: if a circuit has classical bits, or a precision is not positive.
        """
        plans = [self._plan(EstimatorPub.coerce(pub, precision)) for pub in pubs]
        sent = [pub for plan in plans for part in plan.parts for pub in part.pubs]
        if not sent:
            return AnsweredJob(
                _NoJob(), lambda: PrimitiveResult([_result(plan, [[] for _ in plan.parts], None) for plan in plans])
            )
        job = self.sampler.run(sent)
        self.jobs += 1
        self.circuits += sum(math.prod(pub.shape) for pub in sent)

        def collect() -> PrimitiveResult:
            results = job.result()
            self.shots_taken += sum(
                math.prod(pub.shape) * result.data[_REGISTER].num_shots
                for pub, result in zip(sent, results, strict=True)
            )
            raw = iter(results)
            found = [
                _result(plan, [[next(raw) for _ in part.pubs] for part in plan.parts], self.readout) for plan in plans
            ]
            return PrimitiveResult(found, metadata={"version": 2})

        return AnsweredJob(job, collect)

    def _plan(self, pub: EstimatorPub) -> _Plan:
        if pub.circuit.num_clbits:
            raise ValueError(
                "A circuit without classical bits is needed, but this one has some. Call "
                "circuit.remove_final_measurements() first: an estimator measures by itself."
            )
        shots = self.shots if pub.precision is None else shots_of(pub.precision)
        array, values = pub.observables, pub.parameter_values
        terms = [_terms(array, index) for index in np.ndindex(*array.shape)]
        rows, wanted = np.broadcast_arrays(
            np.arange(values.size).reshape(values.shape), np.arange(array.size).reshape(array.shape)
        )
        observables: dict[int, set[int]] = {}
        for row, observable in zip(rows.ravel().tolist(), wanted.ravel().tolist(), strict=True):
            observables.setdefault(row, set()).add(observable)
        together: dict[tuple[int, ...], list[int]] = {}
        for row, found in observables.items():
            together.setdefault(tuple(sorted(found)), []).append(row)
        parameters = tuple(pub.circuit.parameters)
        points = values.as_array(parameters).reshape(values.size, len(parameters)) if parameters else None
        parts = []
        for key, own in together.items():
            bases = _bases(_labels([terms[observable] for observable in key]))
            if points is None:
                bound = BindingsArray(shape=(len(own),))
            else:
                bound = BindingsArray({parameters: points[own]}, shape=(len(own),))
            pubs = [SamplerPub(self._measure(pub.circuit, basis), bound, shots) for basis, _ in bases]
            parts.append(_Part(tuple(own), key, bases, tuple(pubs)))
        return _Plan(pub, shots, terms, rows, wanted, tuple(parts))

    def _measure(self, circuit: QuantumCircuit, basis: str) -> QuantumCircuit:
        """Return the circuit measured in a basis, the same object every time: samplers may remember what they ran."""
        key, size = (id(circuit), basis), len(circuit.data)
        known = self._measured.get(key)
        if known is None or known[0]() is not circuit or known[1] != size:
            measured = circuit.copy()
            qubits = _support(basis)
            measured.add_register(ClassicalRegister(len(qubits), _REGISTER))
            for bit, qubit in enumerate(qubits):
                letter = basis[-1 - qubit]
                if letter == "X":
                    measured.rz(np.pi / 2, qubit)
                if letter != "Z":
                    measured.sx(qubit)  # sx^dagger Z sx = Y
                measured.measure(qubit, bit)
            gone = weakref.ref(circuit, lambda _: self._measured.pop(key, None))
            known = self._measured[key] = gone, size, measured
        return known[2]


@dataclass(frozen=True, eq=False)
class _Part:
    rows: tuple[int, ...]
    """Points, of the raveled parameter values."""
    observables: tuple[int, ...]
    """Wanted at each of them."""
    bases: tuple[tuple[str, tuple[str, ...]], ...]
    """Each with its Pauli strings."""
    pubs: tuple[SamplerPub, ...]
    """One a basis."""


@dataclass(frozen=True, eq=False)
class _Plan:
    pub: EstimatorPub
    shots: int
    terms: list[dict[str, float]]
    """Of each observable, raveled."""
    rows: NDArray[np.int64]
    """Of the result's shape: which point,"""
    wanted: NDArray[np.int64]
    """and which observable."""
    parts: tuple[_Part, ...]


@final
class _NoJob:
    """Nothing to run."""

    def job_id(self) -> str:
        return "no job"

    def __getattr__(self, name: str) -> object:
        return lambda: {"status": JobStatus.DONE, "done": True, "in_final_state": True}.get(name, False)


def shots_of(precision: float) -> int:
    """Return the shots a precision stands for, 1 / precision^2."""
    if not precision > 0:
        raise ValueError(f"A positive precision is needed, but {precision} came. 1 / sqrt(shots) asks for the shots.")
    exact = 1.0 / precision**2
    return max(1, math.ceil(exact * (1 - 1e-9)))  # 1/sqrt(1000)^2 is a hair above 1000


def _terms(array: ObservablesArray, index: tuple[int, ...]) -> dict[str, float]:
    """Return an observable as Pauli strings; projectors are expanded."""
    sparse = SparseObservable.from_list(list(array[index].items())).as_paulis()
    operator = SparsePauliOp.from_sparse_observable(sparse).simplify()
    return dict(zip(operator.paulis.to_labels(), operator.coeffs.real.tolist(), strict=True))


def _labels(terms: Sequence[dict[str, float]]) -> tuple[str, ...]:
    return tuple(sorted({label for found in terms for label in found if label.strip("I")}))


@functools.lru_cache(maxsize=256)
def _bases(labels: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the measurement bases of Pauli strings, each with its own."""
    if not labels:
        return ()
    groups = []
    for group in PauliList(list(labels)).group_commuting(qubit_wise=True):
        own = tuple(group.to_labels())
        basis = "".join(next((letter for letter in place if letter != "I"), "I") for place in zip(*own, strict=True))
        groups.append((basis, own))
    return tuple(groups)


def _support(label: str) -> list[int]:
    return [qubit for qubit, letter in enumerate(reversed(label)) if letter != "I"]


def _result(
    plan: _Plan, answers: Sequence[Sequence[SamplerPubResult]], readout: ReadoutCalibration | None
) -> PubResult:
    """Return the expectation values of a PUB out of the outcomes of each part's bases."""
    means = np.zeros((plan.pub.parameter_values.size, len(plan.terms)))
    variances = np.zeros_like(means)
    for observable, terms in enumerate(plan.terms):
        means[:, observable] = sum(value for label, value in terms.items() if not label.strip("I"))
    for part, results in zip(plan.parts, answers, strict=True):
        for (basis, labels), result in zip(part.bases, results, strict=True):
            measured = _support(basis)
            errors = readout and readout.on(backend_qubits(result, _REGISTER, measured))
            shots = outcomes(result.data[_REGISTER])
            for observable in part.observables:
                own = [label for label in labels if label in plan.terms[observable]]
                if not own:
                    continue
                support = np.array([[label[-1 - qubit] != "I" for qubit in measured] for label in own])
                coefficients = np.array([plan.terms[observable][label] for label in own])
                for row, point in zip(part.rows, shots, strict=True):
                    energies = shot_energies(point, support, coefficients, errors)
                    means[row, observable] += energies.mean()
                    spread = energies.var(ddof=1) if len(energies) > 1 else math.nan
                    variances[row, observable] += spread / len(energies)
    data = DataBin(
        evs=means[plan.rows, plan.wanted], stds=np.sqrt(variances)[plan.rows, plan.wanted], shape=plan.rows.shape
    )
    metadata = {
        "target_precision": plan.pub.precision,
        "shots": min((result.data[_REGISTER].num_shots for part in answers for result in part), default=plan.shots),
        "bases": max((len(part.bases) for part in plan.parts), default=0),
        "circuit_metadata": plan.pub.circuit.metadata,
    }
    return PubResult(data, metadata=metadata)
