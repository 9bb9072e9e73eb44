"""The Model contract: a policy that proposes points and may ask for a few costs first."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from jaxtyping import Float
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor, nn

from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.task import Task

State = Any
"""What a model remembers between its answers: any nesting of tensors with a leading B."""


Probe: TypeAlias = tuple[SparsePauliOp, QuantumCircuit] | tuple[SparsePauliOp, QuantumCircuit, Mapping[str, Any]]
"""A Hamiltonian, a circuit and, for a model that reads them, hints."""


class Model(nn.Module, ABC):
    """A meta-learner or a formula.

    Subclasses are final and take only keyword settings with JSON values, each kept as an attribute of the same name.
    Points are in natural units (see ``ansatz``): the rollout turns them into radians with ``features.unit``, so no
    model can depend on the Hamiltonian's units. Row b of an answer may depend on row b of the input only.
    """

    queries: int = 0
    """Costs asked for before the answer."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword settings that rebuild this model, without its weights."""
        declared = inspect.signature(type(self)).parameters.values()
        return {p.name: getattr(self, p.name) for p in declared if p.kind is inspect.Parameter.KEYWORD_ONLY}

    def unsupported(self, features: Features) -> str | None:
        """Return why this model cannot serve a task ("it needs ..., but ..."), or None if it can."""
        return None

    def prepare(self, sample: Callable[[int], FeatureBatch]) -> None:
        """Take note of what the tasks of a training are like, once, before its first step: to centre inputs, say.

        Args:
            sample: returns the features of up to so many tasks to be trained on.
        """

    def probes(self) -> Sequence[Probe]:
        """Return a few small tasks on which an artifact of this model is checked when it is loaded.

        Models for QAOA return none: they are checked on QAOA.
        """
        return ()

    def probe_tasks(self) -> list[Task]:
        """Return the probes as tasks."""
        return [
            Task.from_circuit(circuit, operator, hints=hints[0] if hints else None)
            for operator, circuit, *hints in self.probes()
        ]

    @abstractmethod
    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """Return the first points, which are the answer if ``queries`` is 0.

        Args:
            features: of B tasks that this model supports.

        Returns:
            (B, P) natural units, and the state for ``refine``.
        """

    def refine(
        self, points: Float[Tensor, "B P"], costs: Float[Tensor, " B"], state: State
    ) -> tuple[Float[Tensor, "B P"], State]:
        """Return the next points; called ``queries`` times.

        Args:
            points: (B, P) natural units, as this model proposed them last.
            costs: (B,) their normalised costs ``(<H> - offset) / scale``, within [-1, 1].
            state: as this model returned it last.
        """
        raise TypeError(f"{type(self).__name__} asks for no costs (queries = 0), so it has nothing to refine.")


def needs_qaoa(model: Model, features: Features) -> str | None:
    """Return the reason why a QAOA formula does not serve a task, or None."""
    if features.ansatz != "qaoa":
        return (
            f"{type(model).__name__} needs a standard QAOA circuit, but another ansatz with "
            f"{features.num_parameters} parameters came"
        )
    if not features.diagonal:
        return f"{type(model).__name__} needs a diagonal operator (products of Z), but it has X or Y terms"
    return None
