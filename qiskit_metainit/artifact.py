"""A trained model on disk: a versioned manifest and safetensors weights, no pickled code."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from qiskit.quantum_info import SparsePauliOp
from safetensors import SafetensorError
from safetensors.torch import load, save

from qiskit_metainit import features, plugins
from qiskit_metainit.ansatz import CONVENTIONS
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import Features
from qiskit_metainit.model import Model
from qiskit_metainit.provenance import versions
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task

FORMAT = 1
"""Version of the layout on disk. Every earlier one loads forever."""
_MANIFEST, _WEIGHTS = "manifest.json", "weights.safetensors"
_TOLERANCE = 1e-6  # radians, by which a probe's point may differ between machines

_PROBES = (
    (3, (("ZZ", (0, 1), 0.5), ("ZZ", (1, 2), 0.5))),
    (4, (("ZZ", (0, 1), 0.7), ("ZZ", (1, 2), 0.2), ("ZZ", (2, 3), 1.1), ("ZZ", (0, 3), 0.4), ("ZZ", (0, 2), -0.3))),
    (5, tuple(("ZZ", (i, j), 0.25 + 0.05 * i) for i in range(5) for j in range(i + 1, 5))),
)


class ArtifactError(ValueError):
    """An artifact that is incomplete, damaged, changed, or of another version."""


@dataclass(frozen=True)
class Coverage:
    """What a model was trained for."""

    reps: tuple[int, ...]
    """Depths p; if several, twice the deepest is served, as extrapolation."""
    qubits: tuple[int, int]
    """Smallest and largest size trained on; larger ones are served, as extrapolation."""
    family: str
    """Family of the training instances."""
    order: int = 2
    """Most qubits in a term."""
    fields: bool = False
    """Whether one-qubit terms were trained on."""
    ansatz: str = "qaoa"
    """What the training's circuits were, as ``Features`` tells it. Of other circuits than QAOA's the model itself knows
    which it supports; there is no depth then."""

    def outside(self, task: Features) -> str | None:
        """Return why a task is not covered, or None."""
        if self.ansatz != "qaoa":
            return "it was trained for other circuits, but QAOA came" if task.ansatz == "qaoa" else None
        if task.ansatz != "qaoa":
            return f"it was trained for QAOA, but another ansatz with {task.num_parameters} parameters came"
        if not task.diagonal:
            return "it was trained for diagonal operators (products of Z), but this one has X or Y terms"
        if task.reps not in self.reps and not self._deeper(task):
            return f"it was trained for reps {_ranges(self.reps)}, but reps={task.reps} came"
        if task.order > self.order:
            return f"it was trained for terms on up to {self.order} qubits, but this operator has {task.order}"
        if task.fields and not self.fields:
            return "it was trained without linear terms, but this operator has them"
        return None

    def extrapolates(self, task: Features) -> bool:
        """Return whether a covered task is smaller, larger or deeper than those trained on."""
        deeper = self.ansatz == "qaoa" and task.reps not in self.reps
        return not self.qubits[0] <= task.num_qubits <= self.qubits[1] or deeper

    def _deeper(self, task: Features) -> bool:
        """Return whether a task is up to twice as deep as the deepest of several depths that were trained on."""
        return len(self.reps) > 1 and max(self.reps) < task.reps <= 2 * max(self.reps)


def common(coverages: Sequence[Coverage]) -> Coverage:
    """Return what several trainings have in common.

    Raises:
        ValueError: if that is nothing.

    >>> common([Coverage((1, 2), (6, 10), "qubo", fields=True), Coverage((2, 3), (4, 8), "qubo")])
    Coverage(reps=(2,), qubits=(6, 8), family='qubo', order=2, fields=False, ansatz='qaoa')
    """
    reps = tuple(sorted(set.intersection(*(set(each.reps) for each in coverages))))
    low, high = max(each.qubits[0] for each in coverages), min(each.qubits[1] for each in coverages)
    if not reps or low > high:
        told = "; ".join(
            f"reps {_ranges(each.reps)}, {each.qubits[0]} to {each.qubits[1]} qubits" for each in coverages
        )
        raise ValueError(f"Trainings with a depth and a size in common are needed, but these came: {told}.")
    families = {each.family for each in coverages}
    family = families.pop() if len(families) == 1 else "mixture"
    order, fields = min(each.order for each in coverages), all(each.fields for each in coverages)
    return Coverage(reps, (low, high), family, order, fields)


@dataclass(frozen=True, eq=False)
class Artifact:
    """A model with what it was trained for and how."""

    model: Model
    """In evaluation mode."""
    name: str
    """Name of the shipped artifact, or of the folder."""
    coverage: Coverage | None = None
    """None for a formula, which covers whatever it supports."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Command, seed, versions and the like, JSON values."""

    @property
    def families(self) -> tuple[str, ...]:
        """The families trained on, those of its parts for a mixture."""
        parts = self.training.get("family", {}).get("parts", ())
        whole = () if self.coverage is None else (self.coverage.family,)
        return tuple(dict.fromkeys(part["family"] for part in parts)) or whole


def shipped() -> list[str]:
    """Return the names of the artifacts that come with the package.

    >>> "qaoa" in shipped()
    True
    """
    folder = resources.files("qiskit_metainit") / "pretrained"
    return sorted(entry.name for entry in folder.iterdir() if (entry / _MANIFEST).is_file())


def find(name: str | Path) -> Path:
    """Return the folder of an artifact: of the shipped one of that name, or else the name is a folder's.

    A ``Path`` is always a folder, and so is "./qaoa".

    Raises:
        ArtifactError: if there is neither.
    """
    if isinstance(name, str) and name in shipped():
        return Path(str(resources.files("qiskit_metainit") / "pretrained" / name))
    if Path(name).is_dir():
        return Path(name)
    raise ArtifactError(
        f"An artifact is needed: the name of a shipped one ({', '.join(shipped())}) or a folder that "
        f"MetaInitializer.save wrote, but {str(name)!r} is neither."
    )


def write(artifact: Artifact, folder: Path) -> None:
    """Write an artifact into a folder, which is made if need be; one that is there is replaced, its card removed."""
    weights = save({name: value.contiguous() for name, value in artifact.model.state_dict().items()})
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "model": plugins.name_of("models", type(artifact.model)),
        "settings": dict(artifact.model.settings),
        "coverage": None if artifact.coverage is None else asdict(artifact.coverage),
        "conventions": CONVENTIONS,
        "features": features.SCHEMA,
        "weights": hashlib.sha256(weights).hexdigest(),
        "probes": _probe(_simulated(artifact.model), _probe_reps(artifact)),
        "training": {"versions": versions(), **artifact.training},
    }
    manifest["digest"] = _digest(manifest)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(manifest, indent=1) + "\n"
    # Complete files only, and no card or curve of another model beside them.
    for name, content in ((_WEIGHTS, weights), (_MANIFEST, text.encode())):
        partial = folder / f"{name}.partial"
        partial.write_bytes(content)
        partial.replace(folder / name)
    for stale in ("card.md", "loss.png"):
        (folder / stale).unlink(missing_ok=True)


def read(name: str | Path) -> Artifact:
    """Read an artifact and check that it still answers as it did when it was written.

    Args:
        name: as in ``find``. Where a model takes any number of queries, "auto:5" is the artifact "auto" with five.

    Raises:
        ArtifactError: if it is incomplete, damaged, changed, of a newer format, or gives other points than recorded; or
            it cannot ask for that many costs.
    """
    if isinstance(name, str) and (asking := re.fullmatch(r"(.+):(\d+)", name)) and not Path(name).exists():
        stored = read(asking[1])
        return replace(stored, model=_asking(stored, int(asking[2])), name=f"{stored.name}:{int(asking[2])}")
    folder = find(name)
    manifest = _manifest(folder)
    content = _bytes(folder / _WEIGHTS)
    if hashlib.sha256(content).hexdigest() != manifest["weights"]:
        raise ArtifactError(
            f"The weights that {folder / _MANIFEST} names are needed, but {_WEIGHTS} holds others: it is truncated or "
            "was changed. Copy the whole folder again."
        )
    try:
        model: Model = plugins.load("models", manifest["model"])(**manifest["settings"])
        model.load_state_dict(load(content))
    except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{folder} needs the model {manifest['model']!r} with its weights, but building it failed: {error}"
        ) from error
    model.eval()
    _compare(folder, model, manifest)
    stored = manifest["coverage"]
    coverage = stored and Coverage(**{**stored, "reps": tuple(stored["reps"]), "qubits": tuple(stored["qubits"])})
    return Artifact(model, folder.resolve().name, coverage, manifest["training"])


def _asking(artifact: Artifact, queries: int) -> Model:
    """Return an artifact's model with the same weights and another number of queries."""
    model, reason = artifact.model, "it has no setting queries"
    if "queries" in model.settings:
        try:
            changed = type(model)(**{**model.settings, "queries": queries})
            changed.load_state_dict(model.state_dict())
            return changed.eval()
        except ValueError as error:
            reason = str(error)
        except RuntimeError:  # of weights that do not fit
            reason = "its weights are for that many"
    raise ArtifactError(
        f"An initializer that can ask for {queries} costs is needed, but {artifact.name!r} asks for {model.queries}: "
        f"{reason}. Leave the number out."
    )


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(_bytes(folder / _MANIFEST))
        version = manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{folder / _MANIFEST} must be an artifact's manifest, but it cannot be read ({error}): it is truncated or "
            "not an artifact. Copy the whole folder again."
        ) from error
    if not isinstance(version, int) or version > FORMAT:
        raise ArtifactError(
            f"{folder} has artifact format {version}, but this version of qiskit-metainit reads up to {FORMAT}. "
            "Upgrade with pip install -U qiskit-metainit."
        )
    if manifest.get("digest") != _digest(manifest):
        raise ArtifactError(
            f"{folder / _MANIFEST} was changed after it was written: its digest does not match. Copy the folder again, "
            "or save the artifact anew from its model."
        )
    for key, current in (("conventions", CONVENTIONS), ("features", features.SCHEMA)):
        if manifest[key] != current:
            raise ArtifactError(
                f"{folder} was trained with {key} {manifest[key]!r}, but this version has {current!r}, so its points "
                "would be wrong. Use the version it was made with, or train it again."
            )
    return dict(manifest)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"An artifact has the files {_MANIFEST} and {_WEIGHTS}, but {path} cannot be read ({error.strerror}). "
            "Copy the whole folder again."
        ) from error


def _digest(manifest: Mapping[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _probe_reps(artifact: Artifact) -> list[int]:
    """Return the shallowest and deepest QAOA the artifact serves, none for other circuits."""
    if artifact.model.probes():
        return []
    candidates = artifact.coverage.reps if artifact.coverage else range(1, 13)
    operator = SparsePauliOp("ZZ")
    served = [p for p in candidates if artifact.model.unsupported(features.of_qaoa(operator, p)) is None]
    return sorted({min(served), max(served)}) if served else []


def _simulated(model: Model) -> Model:
    """Return a copy as it will be loaded: whatever engine the model's own quantum layers were sent to, exact."""
    copy = type(model)(**model.settings)
    copy.load_state_dict(model.state_dict())
    return copy.eval()


def _probe(model: Model, depths: Sequence[int]) -> list[dict[str, Any]]:
    """Return the points a model gives for fixed operators, its queries answered exactly."""
    probes = []
    for size, terms in _PROBES:
        for reps in depths:
            task = Task.qaoa(SparsePauliOp.from_sparse_list(list(terms), size), reps=reps)
            probes.append({"operator": [size, terms], "reps": reps, "point": _point(model, task)})
    for place, task in enumerate(model.probe_tasks()):
        probes.append({"probe": place, "reps": 0, "point": _point(model, task)})
    return probes


def _point(model: Model, task: Task) -> list[float]:
    with torch.no_grad():
        cost = normalised_cost(Statevector(), [task])
        return list(rollout(model, [task.features], cost, measure_answer=False).answer[0].tolist())


def _compare(folder: Path, model: Model, manifest: Mapping[str, Any]) -> None:
    depths = sorted({probe["reps"] for probe in manifest["probes"]} - {0})
    for stored, now in zip(manifest["probes"], _probe(model, depths), strict=True):
        difference = max(abs(a - b) for a, b in zip(stored["point"], now["point"], strict=True))
        if not difference <= _TOLERANCE:
            raise ArtifactError(
                f"{folder} must give the points recorded in it, but at reps={stored['reps']} it is off by "
                f"{difference:.2g} radians: this version's features or conventions changed. Train it again."
            )


def _ranges(numbers: Sequence[int]) -> str:
    """Return "1-8" for a run, "1, 3" otherwise."""
    if len(numbers) > 1 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ", ".join(map(str, numbers))
