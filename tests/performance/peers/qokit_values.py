"""QOKit's CPU simulator (its C one if built, see make.sh): values only."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import numpy as np
from simulator import Array
from workloads import Workload


class Values:
    """QAOA with the costs of all bit strings computed beforehand."""

    def __init__(self, workload: Workload, *, gradient: bool) -> None:
        if gradient:
            raise ValueError("QOKit has values only.")
        fur = _simulators()
        maker = fur.choose_simulator("c" if "c" in fur.get_available_simulator_names("x") else "python")
        self._reps = workload.parameters // 2
        self._simulators = [
            maker(workload.qubits, terms=[(term[0], tuple(term[1])) for term in instance.hamiltonian])
            for instance in workload.instances
        ]

    def __call__(self, points: Array) -> tuple[Array, None]:
        """See Simulator."""
        values = []
        for simulator, point in zip(self._simulators, points, strict=True):
            state = simulator.simulate_qaoa(2 * point[self._reps :], point[: self._reps])  # it halves gamma
            values.append(simulator.get_expectation(state))
        return np.array(values), None


def _simulators() -> ModuleType:
    """Return ``qokit.fur`` without ``qokit``, which imports optimisers and finance data that nobody needs here."""
    spec = importlib.util.find_spec("qokit")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("QOKit is not installed: see peers/make.sh.")
    bare = ModuleType("qokit")
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules["qokit"] = bare
    return importlib.import_module("qokit.fur")
