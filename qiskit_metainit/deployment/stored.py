"""Workloads as JSON, so that a run can go on in another process, and years later be read again."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from qiskit import qpy
from qiskit.quantum_info import SparsePauliOp
from qiskit_algorithms import optimizers
from qiskit_algorithms.optimizers import Optimizer

from qiskit_metainit.deployment.optimizers import Minimizer, stay
from qiskit_metainit.deployment.program import Run
from qiskit_metainit.deployment.workload import ShotSchedule, Workload
from qiskit_metainit.problem import Problem
from qiskit_metainit.proposal import Proposal


def as_json(workload: Workload) -> dict[str, Any]:
    """Return a workload as JSON values; an optimiser that is not of qiskit-algorithms is known by its name only."""
    problem = workload.problem
    circuit = None
    if problem.ansatz is not None:
        buffer = io.BytesIO()
        qpy.dump(problem.ansatz, buffer)
        circuit = base64.b64encode(buffer.getvalue()).decode()
    terms = [[text, list(qubits), value.real] for text, qubits, value in problem.operator.to_sparse_list()]
    return {
        "operator": {"num_qubits": problem.operator.num_qubits, "terms": terms},
        "family": problem.family,
        "nodes": [node if isinstance(node, str | int | float) else str(node) for node in problem.nodes],
        "maximise": problem.maximise,
        "hints": {name: np.asarray(value).tolist() for name, value in problem.hints.items()},
        "ansatz": circuit,
        "reps": workload.reps,
        "optimizer": _optimizer(workload.optimizer),
        "schedule": asdict(workload.schedule),
        "final_shots": workload.final_shots,
        "readout_shots": workload.readout_shots,
    }


def from_json(stored: Mapping[str, Any], optimizer: Optimizer | Minimizer | None = None) -> Workload:
    """Return a workload that was stored.

    Args:
        stored: as ``as_json`` made it.
        optimizer: the run's own, needed if it is not one of qiskit-algorithms.

    Raises:
        ValueError: if it is needed and missing.
    """
    operator = stored["operator"]
    problem = Problem(
        operator=SparsePauliOp.from_sparse_list([tuple(term) for term in operator["terms"]], operator["num_qubits"]),
        family=stored["family"],
        nodes=tuple(stored["nodes"]),
        maximise=stored["maximise"],
        hints=stored["hints"],
        ansatz=None if stored["ansatz"] is None else qpy.load(io.BytesIO(base64.b64decode(stored["ansatz"])))[0],
    )
    known = stored["optimizer"]
    if optimizer is None and known["name"] == stay.__name__:
        optimizer = stay
    if optimizer is None and "settings" not in known:
        raise ValueError(
            f"The run's own optimizer is needed, {known['name']}, as it is not one of qiskit-algorithms that can be "
            "stored. Resume in Python: Deployment.resume(run, optimizer=...)."
        )
    if optimizer is None:
        optimizer = getattr(optimizers, known["name"])(**_settings(known["settings"]))
    schedule = ShotSchedule(**stored["schedule"])
    return Workload(problem, stored["reps"], optimizer, schedule, stored["final_shots"], stored["readout_shots"])


def proposal_as_json(proposal: Proposal) -> dict[str, Any]:
    """Return a proposal as JSON values."""
    return asdict(replace(proposal, point=np.asarray(proposal.point))) | {"point": proposal.point.tolist()}


def proposal_from_json(stored: Mapping[str, Any]) -> Proposal:
    """Return a proposal that was stored."""
    return Proposal(**{**stored, "point": np.array(stored["point"]), "notes": tuple(stored["notes"])})


def run_as_json(run: Run) -> dict[str, Any]:
    """Return a run's result as JSON values."""
    return {
        "proposal": proposal_as_json(run.proposal),
        "points": run.points.tolist(),
        "energies": run.energies.tolist(),
        "shots": run.shots.tolist(),
        "point": run.point.tolist(),
        "energy": run.energy,
        "bitstring": run.bitstring,
        "stopped": run.stopped,
        "spent": asdict(run.spent),
        "shots_by_stage": run.shots_by_stage,
        "readout": None if run.readout is None else asdict(run.readout),
        "seconds": run.seconds,
    }


def _optimizer(optimizer: Optimizer | Minimizer) -> dict[str, Any]:
    name = type(optimizer).__name__ if isinstance(optimizer, Optimizer) else getattr(optimizer, "__name__", "callable")
    if not isinstance(optimizer, Optimizer) or not hasattr(optimizers, name):
        return {"name": name}
    try:
        settings = optimizer.settings
        if type(optimizer) is optimizers.SPSA:
            settings["last_avg"] = optimizer.last_avg  # which its settings leave out
        return {"name": name, "settings": json.loads(json.dumps(settings, default=lambda value: value.tolist()))}
    except (AttributeError, TypeError, ValueError, NotImplementedError):  # a callback, or settings it cannot tell
        return {"name": name}


def _settings(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimiser's settings as it takes them: JSON knows neither arrays nor numbers as keys."""
    found: dict[str, Any] = {
        name: np.array(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    if isinstance(samples := found.get("resamplings"), dict):
        found["resamplings"] = {int(iteration): count for iteration, count in samples.items()}
    return found
