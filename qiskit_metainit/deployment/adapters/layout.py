"""Primitives that run any circuit on any backend.

``qiskit_algorithms`` sends high-level gates with bound angles, and lays out circuits but not observables (its issue
262). Transpiling *inside* the primitive avoids both: outcomes come back by classical bit and observables go along with
their circuits, so no layout is ever seen.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final, overload

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives import (
    BackendSamplerV2,
    BaseEstimatorV2,
    BasePrimitiveJob,
    BaseSamplerV2,
    BitArray,
    DataBin,
    EstimatorPubLike,
    PrimitiveResult,
    SamplerPubLike,
    SamplerPubResult,
    StatevectorEstimator,
    StatevectorSampler,
)
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparseObservable
from qiskit.transpiler import PassManager
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import EstimatorV2 as AerEstimator
from qiskit_aer.primitives import SamplerV2 as AerSampler

from qiskit_metainit.backends import ONE_THREAD, Rng
from qiskit_metainit.deployment.adapters.answered import AnsweredJob
from qiskit_metainit.deployment.adapters.templates import Parsed, Structure, Template, Templates, transpile

_Group: TypeAlias = tuple[Structure, int | None]
"""What runs together: one structure, one number of shots (None: the wrapped sampler's default)."""


def shot_sampler(backend: BackendV2 | None, rng: Rng) -> LayoutSafeSampler:
    """Return a layout-safe sampler with real shot noise on a simulator.

    A seed would freeze Aer's shot noise, the same at every call; here every call draws its own from ``rng``: calls
    differ, and the same ``rng`` gives the same sequence of calls.

    Args:
        backend: an ``AerSimulator`` (``noisy_simulator`` makes one) or any whose ``run`` takes ``seed_simulator``; None
            for a noiseless one.
        rng: where the calls' seeds come from.
    """
    return layout_safe(_FreshSeedSampler(backend or AerSimulator(**ONE_THREAD), np.random.default_rng(rng)))


@overload
def layout_safe(
    primitive: BaseSamplerV2,
    backend: BackendV2 | None = None,
    *,
    pass_manager: PassManager | None = None,
    seeds: int = 4,
) -> LayoutSafeSampler: ...
@overload
def layout_safe(  # type: ignore[overload-cannot-match]  # for mypy both are Any, as Qiskit ships no types
    primitive: BaseEstimatorV2,
    backend: BackendV2 | None = None,
    *,
    pass_manager: PassManager | None = None,
    seeds: int = 4,
) -> LayoutSafeEstimator: ...
def layout_safe(
    primitive: BaseSamplerV2 | BaseEstimatorV2,
    backend: BackendV2 | None = None,
    *,
    pass_manager: PassManager | None = None,
    seeds: int = 4,
) -> LayoutSafeSampler | LayoutSafeEstimator:
    """Return a primitive that takes any circuit and gives it to ``primitive`` in the form its backend runs.

    One that is layout-safe already comes back as it is, unless a backend or a pass manager is given. A fake device of
    156 qubits simulates some 10 s a job: give its primitive ``active_simulator(backend)``, which takes some 0.1 s.

    Args:
        primitive: what runs the circuits, a sampler or an estimator.
        backend: what they are transpiled for. None asks the primitive; Qiskit's statevector primitives get plain gates.
        pass_manager: transpiles instead, if given; it sees angles as parameters.
        seeds: number of transpiler seeds tried; the fewest two-qubit gates win, then the least depth.

    Raises:
        ValueError: if the primitive does not tell its backend, or ``seeds`` is not positive.
        TypeError: if it is neither a sampler nor an estimator.
    """
    if seeds < 1:
        raise ValueError(f"At least one transpiler seed is needed, but seeds={seeds} came. Leave it at 4.")
    if not isinstance(primitive, BaseSamplerV2 | BaseEstimatorV2):
        raise TypeError(
            f"A sampler or an estimator (BaseSamplerV2, BaseEstimatorV2) is needed, but a {type(primitive).__name__} "
            "came. Wrap a backend with qiskit.primitives.BackendSamplerV2(backend=...)."
        )
    if backend is None and pass_manager is None:
        if isinstance(primitive, LayoutSafeSampler | LayoutSafeEstimator):
            return primitive
        backend = _backend_of(primitive)
    templates = Templates(functools.partial(transpile, backend, pass_manager, seeds))
    if isinstance(primitive, BaseSamplerV2):
        return LayoutSafeSampler(primitive, templates)
    return LayoutSafeEstimator(primitive, templates)


@final
class LayoutSafeSampler(BaseSamplerV2):
    """A sampler in front of another one: circuits alike but for their angles are transpiled once, and run as one PUB.

    High-level gates are flattened. A qubit measured into several classical bits is read once, its outcome given in all.
    ``layout_safe`` makes them.

    Attributes:
        jobs: calls of the wrapped sampler so far.
        circuits: circuits in them: parameter sets, summed over PUBs.
        shots: shots of them all; those left to the wrapped sampler's default count when the result is first read.
    """

    def __init__(self, sampler: BaseSamplerV2, templates: Templates) -> None:
        self.sampler = sampler
        self.jobs = self.circuits = self.shots = 0
        self._templates = templates

    @property
    def transpilations(self) -> int:
        """Templates made so far, one a structure."""
        return self._templates.made

    def run(self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None) -> BasePrimitiveJob:
        """Sample every PUB in one job of the wrapped sampler.

        Args:
            pubs: circuits of gates and then measurements, each with parameter values of any shape and its own shots.
            shots: for PUBs without their own; None for the wrapped sampler's default.

        Returns:
            A job whose result has an entry a PUB, in order, with its register names, shape and number of shots. Its
            metadata name the backend's qubit behind each bit: ``metadata["qubits"][register]``, -1 for bits that
            nothing is written to.

        Raises:
            ValueError: if a circuit has no measurement, one in mid-circuit, or control flow.
        """
        groups: dict[_Group, list[NDArray[np.float64]]] = {}
        sizes: dict[_Group, int] = {}
        answers = []
        for pub in [SamplerPub.coerce(pub, shots) for pub in pubs]:
            parsed = self._templates.parse(pub.circuit)
            if not parsed.structure[2]:
                raise ValueError("A measurement is needed, but the circuit has none. Call circuit.measure_all() first.")
            group = (parsed.structure, pub.shots)
            points = parsed.at(pub.parameter_values)
            points = points.reshape(pub.parameter_values.size, points.shape[-1])
            start = sizes.get(group, 0)
            sizes[group] = start + len(points)
            groups.setdefault(group, []).append(points)
            answers.append(_Asked(pub, parsed, group, range(start, sizes[group])))
        sent: list[SamplerPubLike] = []
        places = {}
        for group, parts in groups.items():
            template = self._templates.template(group[0])
            start = len(sent)
            if template.columns:
                sent.append((template.circuit, np.concatenate(parts)[:, list(template.columns)], group[1]))
            else:  # without parameters there is nothing to broadcast
                sent.extend([(template.circuit, None, group[1])] * sizes[group])
            places[group] = range(start, len(sent))
        job = self.sampler.run(sent, shots=shots)
        self.jobs += 1
        self.circuits += sum(sizes.values())
        self.shots += sum((group[1] or 0) * size for group, size in sizes.items())

        def collect() -> PrimitiveResult:
            raw = job.result()
            bits = {group: _bits([raw[i] for i in indices]) for group, indices in places.items()}
            self.shots += sum(found.shape[0] * found.shape[1] for (_, count), found in bits.items() if count is None)
            found = [_answer(bits[ask.group], ask, self._templates.template(ask.group[0])) for ask in answers]
            return PrimitiveResult(found, metadata=raw.metadata)

        return AnsweredJob(job, collect)


@final
class LayoutSafeEstimator(BaseEstimatorV2):
    """An estimator in front of another one: circuits alike but for their angles are transpiled once.

    High-level gates are flattened; observables are moved to where the circuit's qubits end, projectors in them expanded
    into Pauli strings. Circuits have no measurements. ``layout_safe`` makes them.

    Attributes:
        jobs: calls of the wrapped estimator so far.
        circuits: parameter sets in them, summed over PUBs; what each costs in shots is the estimator's to tell.
    """

    def __init__(self, estimator: BaseEstimatorV2, templates: Templates) -> None:
        self.estimator = estimator
        self.jobs = self.circuits = 0
        self._templates = templates

    @property
    def transpilations(self) -> int:
        """Templates made so far, one a structure."""
        return self._templates.made

    def run(self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None) -> BasePrimitiveJob:
        """Estimate every PUB in one job of the wrapped estimator.

        Args:
            pubs: circuits of gates only with observables and parameter values of shapes that broadcast.
            precision: for PUBs without their own; None for the wrapped estimator's default.

        Raises:
            ValueError: if a circuit has measurements or control flow.
        """
        asked = [EstimatorPub.coerce(pub, precision) for pub in pubs]
        sent = [self._laid_out(pub) for pub in asked]
        job = self.estimator.run(sent, precision=precision)
        self.jobs += 1
        self.circuits += sum(pub.parameter_values.size for pub in asked)
        return job

    def _laid_out(self, pub: EstimatorPub) -> EstimatorPub:
        parsed = self._templates.parse(pub.circuit)
        if parsed.structure[2]:
            raise ValueError(
                "A circuit without measurements is needed, but this one has some. Call "
                "circuit.remove_final_measurements() first: an estimator measures by itself."
            )
        template = self._templates.template(parsed.structure)
        observables = np.empty(pub.observables.shape, dtype=object)
        for index in np.ndindex(*pub.observables.shape):
            terms = SparseObservable.from_list(list(pub.observables[index].items()))
            # most estimators take Paulis only, no projectors
            observables[index] = terms.as_paulis().apply_layout(list(template.qubits), template.circuit.num_qubits)
        return EstimatorPub(
            template.circuit,
            ObservablesArray(observables),
            template.bindings(parsed.at(pub.parameter_values)),
            pub.precision,
        )


@final
class _FreshSeedSampler(BaseSamplerV2):
    def __init__(self, backend: BackendV2, rng: np.random.Generator) -> None:
        self.backend = backend
        self._rng = rng

    def run(self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None) -> BasePrimitiveJob:
        options = {"seed_simulator": int(self._rng.integers(2**31))}
        return BackendSamplerV2(backend=self.backend, options=options).run(pubs, shots=shots)


def _backend_of(primitive: BaseSamplerV2 | BaseEstimatorV2) -> BackendV2 | None:
    if isinstance(primitive, StatevectorSampler | StatevectorEstimator):
        return None
    backend = getattr(primitive, "backend", None)  # a property of Qiskit's primitives, a method of the runtime's
    backend = backend() if callable(backend) else backend
    if isinstance(primitive, AerSampler | AerEstimator):
        backend = getattr(primitive, "_backend", None)  # has no public way to it, and without it noise would be lost
    if isinstance(inner := getattr(primitive, "sampler", None), BaseSamplerV2) and backend is None:
        return _backend_of(inner)
    if not isinstance(backend, BackendV2):
        raise ValueError(
            f"The backend to transpile for is needed, but a {type(primitive).__name__} does not tell its own. "
            "Give it: layout_safe(primitive, backend)."
        )
    return backend


@dataclass(frozen=True, eq=False)
class _Asked:
    pub: SamplerPub
    parsed: Parsed
    group: _Group
    rows: range
    """Of the group, where the PUB's circuits are, raveled."""


def _bits(results: Sequence[SamplerPubResult]) -> NDArray[np.bool_]:
    """Return the outcomes of one group as (circuits, shots, measured qubits)."""
    parts = [next(iter(result.data.values())).to_bool_array(order="little") for result in results]
    return np.concatenate([part.reshape(-1, *part.shape[-2:]) for part in parts])


def _answer(bits: NDArray[np.bool_], asked: _Asked, template: Template) -> SamplerPubResult:
    """Return a PUB's result out of the outcomes of its group."""
    own = bits[asked.rows.start : asked.rows.stop].reshape(*asked.pub.shape, *bits.shape[1:])
    fields = {}
    origins = {}
    for name, places in asked.parsed.registers.items():
        fields[name] = BitArray.from_bool_array(own[..., places] & (places >= 0), order="little")
        origins[name] = tuple(template.read[place] if place >= 0 else -1 for place in places.tolist())
    metadata = {"shots": own.shape[-2], "circuit_metadata": asked.pub.circuit.metadata, "qubits": origins}
    return SamplerPubResult(DataBin(**fields, shape=asked.pub.shape), metadata=metadata)
