"""Expectation values by the client's Estimator, whose resilience levels mitigate errors, and what they cost in shots.

A precision is no budget: mitigation measures the circuit in more ways than one, and calibrates beside it. The client
lays all of that out before anything is sent, in a module that is not public (``executor_estimator.prepare``), so it is
used here and nowhere else. Older clients leave it to the service, and what a job will cost is not known.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.primitives.containers.observables_array import ObservablesArray

from qiskit_metainit.backends import used_qubits
from qiskit_metainit.deployment.channels.channel import Estimate, Refused, Request
from qiskit_metainit.deployment.channels.digests import Digests
from qiskit_metainit.deployment.channels.outcomes import twirled

_APART = ("environment", "max_execution_time", "default_shots", "default_precision")


@final
class Mitigation:
    """The client's Estimator with its options.

    Args:
        options: the client's own ``EstimatorOptions``, or a dict of them: ``{"resilience_level": 1}``. Shots come from
            the requests.
        backend: that jobs run on.

    Raises:
        ValueError: if the options are none, or the client is too old.
    """

    def __init__(self, options: Any, backend: Any) -> None:
        try:
            from qiskit_ibm_runtime.executor_estimator.finalize_options import finalize_estimator_options
            from qiskit_ibm_runtime.executor_estimator.prepare import prepare
            from qiskit_ibm_runtime.options_models.estimator import EstimatorOptions
        except ImportError as error:
            raise ValueError(
                "A qiskit-ibm-runtime with executor_estimator is needed for mitigated energies, as others do not tell "
                "what they cost before they are sent. Update it, or leave estimator options out."
            ) from error
        try:
            made = options if isinstance(options, EstimatorOptions) else EstimatorOptions(**options)
        except (TypeError, ValueError) as error:  # pydantic's own are ValueErrors
            raise ValueError(
                "Options of the client's Estimator are needed, such as {'resilience_level': 1}, but these came: "
                f"{options!r}. {error}"
            ) from error
        self._options = copy.deepcopy(made)
        self._final = finalize_estimator_options(self._options)  # which warns of options that exclude each other
        self._prepare = prepare
        self._backend = backend
        self._known: dict[Any, tuple[int, int]] = {}
        self._digests = Digests()

    def record(self) -> dict[str, Any]:
        """Return the options that are not the client's defaults as JSON; a noise model among them is left out."""
        left_out = {"simulator": True, "resilience": {"layer_noise_model"}}
        found = self._options.model_dump(mode="json", exclude=left_out, exclude_defaults=True)
        return {"resilience_level": int(self._options.resilience_level), **found}

    def estimator(self, mode: Any, shots: int, *, seed: int | None = None) -> Any:
        """Return the client's Estimator for one job, to run ``pubs`` of a request with so many shots."""
        from qiskit_ibm_runtime.executor_estimator import Estimator

        options = self._with(shots)
        if seed is not None:
            options.simulator.seed_simulator = seed
        return Estimator(mode=mode, options=options)

    def cost(self, request: Request) -> int:
        """Return the shots of a job: of each circuit that measures, and of those that calibrate the readout.

        Raises:
            Refused: if the client does not take the job.
        """
        twirling, resilience = self._final.twirling, self._final.resilience
        if resilience.pec_mitigation:  # has a rule of its own for randomizations
            return _total(self._prepared(request, request.shots))
        least = randomizations = 1
        each = request.shots
        if twirling.enable_gates or twirling.enable_measure:
            randomizations, each = twirled(twirling, request.shots)
            least, _ = twirled(twirling, 1)
        measuring, calibrating = self._circuits(request, least, calibrates=bool(resilience.measure_mitigation))
        if calibrating and isinstance(resilience.measure_noise_learning.num_randomizations, int):
            return each * (measuring * randomizations + resilience.measure_noise_learning.num_randomizations)
        return each * randomizations * (measuring + calibrating)

    def _circuits(self, request: Request, randomizations: int, *, calibrates: bool) -> tuple[int, int]:
        """Return how many circuits measure and how many calibrate, each with all its randomizations.

        Args:
            request: of any number of shots.
            randomizations: of a job of one shot.
            calibrates: whether the last item does.
        """
        parts = []
        for (circuit, points), observables in zip(request.pubs, request.observables or (), strict=True):
            terms = tuple(observable_terms(observables, coefficients=False))
            parts.append((self._digests(circuit), points.shape, observables.shape, terms))
        key = tuple(parts)
        if key not in self._known:
            sizes = [int(item.size()) for item in self._prepared(request, 1).items]
            own = sizes[:-1] if calibrates else sizes
            self._known[key] = sum(own) // randomizations, len(sizes) - len(own)
        return self._known[key]

    def _prepared(self, request: Request, shots: int) -> Any:
        try:
            with quiet():
                return self._prepare(pubs(request), self._with(shots), backend=self._backend)[0]
        except Exception as error:  # of the client, of what lays circuits out for it, and of Qiskit
            raise Refused(f"The client's Estimator did not take the job: {' '.join(str(error).split())}") from error

    def _with(self, shots: int) -> Any:
        options = copy.deepcopy(self._options)
        options.default_shots = shots
        return options


def same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Return whether two records of options measure alike: log levels, tags and limits of time do not matter."""
    kept = [None if found is None else {k: v for k, v in found.items() if k not in _APART} for found in (one, other)]
    return kept[0] == kept[1]


def pubs(request: Request) -> list[Any]:
    """Return a request's expectation values as the client's PUBs."""
    made: list[Any] = []
    for (circuit, points), observables in zip(request.pubs, request.observables or (), strict=True):
        if points.shape[-1]:
            made.append((circuit, observables, points))
        else:  # without parameters there is nothing to broadcast
            shape = np.broadcast_shapes(points.shape[:-1], observables.shape)
            made.append((circuit, np.broadcast_to(observables, shape)))
    return made


def estimates(result: Any) -> tuple[Estimate, ...]:
    """Return what a result of the client's Estimator holds."""
    return tuple(
        Estimate(np.asarray(found.data.evs, dtype=float), np.asarray(found.data.stds, dtype=float)) for found in result
    )


def observable_terms(observables: ObservablesArray, *, coefficients: bool = True) -> Iterator[Sequence[Any]]:
    """Yield the terms of each observable of an array, in an order of their own: what is the same for equal ones."""
    for index in np.ndindex(*observables.shape):
        terms = observables[index]
        yield sorted(terms.items()) if coefficients else tuple(sorted(terms))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the client's advice on its options from being said at every job."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*explicitly set.*")
        warnings.filterwarnings("ignore", message=".*unweighted fit.*")
        yield


def _total(program: Any) -> int:
    return int(program.shots * sum(item.size() for item in program.items))


def uses(circuit: QuantumCircuit, observables: ObservablesArray) -> set[int]:
    """Return the qubits that a circuit acts on or that an observable asks for."""
    found = used_qubits(circuit)
    for terms in observable_terms(observables, coefficients=False):
        found |= {len(label) - 1 - spot for label in terms for spot, letter in enumerate(label) if letter != "I"}
    return found
