"""Models of one kind with different weights, run side by side as rows of one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qiskit_metainit.closed_forms import RotationGates, ring_products, simplify
from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.quantum_cell import QuantumLayer, gated
from qiskit_metainit.recurrent import RecurrentModel
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task


class Ensemble:
    """S models of one class and equal settings: a call of small circuits costs much, a further row of it little.

    A model's row b depends on row b of its input only. So one copy serves all if each of its layers gives every row the
    weights of the row's own model. The circuits of the published models (``closed_forms``) are replaced by their closed
    forms in that copy. Models with other quantum layers run one after the other.

    Args:
        models: S of them; gradients reach their weights.
        engine: answers with the landscapes' costs.

    Raises:
        ValueError: if there is no model, or they differ in more than their weights.
    """

    def __init__(self, models: Sequence[RecurrentModel], engine: Engine) -> None:
        kinds = {f"{type(model).__name__}({dict(model.settings)})" for model in models}
        if len(kinds) != 1:
            raise ValueError(
                "Models that run side by side must be of one kind, but these came: "
                f"{'; '.join(sorted(kinds)) or 'none'}. Run them one after the other."
            )
        self._models = list(models)
        self._engine = engine
        with torch.random.fork_rng(devices=[]):  # the copy's own first weights are never used
            self._copy = type(models[0])(**models[0].settings)
        simplify(self._copy)
        self._layers = _stacked_layers(self._copy)
        served = {f"{path}.{key}" for path, layer in self._layers.items() for key in layer.keys}
        held = {name for name, value in models[0].state_dict().items() if value.numel()}
        # Closed forms stand for exact simulation only, not for what a user sent the quantum layers to.
        self._together = served == held and all(_exact(model) for model in models)

    def costs(self, tasks: Sequence[Task], members: Sequence[int] | None = None) -> Float[Tensor, "S T B"]:
        """Return ``<H>`` of the models' T proposals on B tasks, in each Hamiltonian's units.

        Args:
            tasks: B landscapes.
            members: which of the models, by their places; by default all.
        """
        models = self._models if members is None else [self._models[place] for place in members]
        if not self._together:
            return torch.stack([raw_costs(model, tasks, self._engine) for model in models])
        for path, layer in self._layers.items():
            own = [model.get_submodule(path) for model in models]
            layer.hold({key: torch.stack([getattr(module, key) for module in own]) for key in layer.keys})
        costs = raw_costs(self._copy, list(tasks) * len(models), self._engine)
        return costs.reshape(len(costs), len(models), len(tasks)).transpose(0, 1)

    def check(self, tasks: Sequence[Task]) -> None:
        """Raise a RuntimeError unless the models' costs here are those that each of them has by itself.

        Only the first three proposals are compared: raw costs make some models chaotic, so that rounding grows.
        """
        if not self._together:
            return
        with torch.no_grad():
            together = self.costs(tasks)
            alone = torch.stack([raw_costs(model, tasks, self._engine) for model in self._models])
        error = float((together - alone)[:, :3].abs().max())
        if not error <= 1e-9 * max(task.scale for task in tasks):
            raise RuntimeError(
                f"Models side by side must give the costs that each gives alone, but those of "
                f"{type(self._copy).__name__} differ by {error:.2g}. Please report this with the model's settings."
            )


def _exact(model: RecurrentModel) -> bool:
    layers = [module for module in model.modules() if isinstance(module, QuantumLayer)]
    return all(isinstance(layer.engine, Statevector) for layer in layers)


def raw_costs(model: RecurrentModel, tasks: Sequence[Task], engine: Engine) -> Float[Tensor, "T B"]:
    """Return ``<H>`` of a model's T proposals on B tasks, in each Hamiltonian's units."""
    offsets = torch.tensor([task.offset for task in tasks], dtype=torch.float64)
    scales = torch.tensor([task.scale for task in tasks], dtype=torch.float64)
    features = [task.features for task in tasks]
    return rollout(model, features, normalised_cost(engine, tasks), measure_answer=True).costs * scales + offsets


class _Stacked(nn.Module):
    """A layer with the weights of S models, for S blocks of B rows."""

    keys: tuple[str, ...] = ()

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()

    def hold(self, weights: dict[str, Tensor]) -> None:
        self.held = weights


class _Linear(_Stacked):
    keys = ("weight", "bias")

    def forward(self, inputs: Float[Tensor, "*C R D"]) -> Float[Tensor, "*C R H"]:
        return _linear(inputs, self.held["weight"], self.held["bias"])


class _LstmCell(_Stacked):
    keys = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

    def __init__(self, cell: nn.LSTMCell) -> None:
        super().__init__(cell)
        self.hidden_size = cell.hidden_size

    def forward(self, inputs: Float[Tensor, "R D"], state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        hidden, memory = state
        sums = _linear(inputs, self.held["weight_ih"], self.held["bias_ih"])
        sums = sums + _linear(hidden, self.held["weight_hh"], self.held["bias_hh"])
        write, forget, update, output = sums.chunk(4, dim=1)  # torch's order of the gates
        return gated(torch.stack([forget, write, update, output]), memory)


class _RotationGates(_Stacked):
    keys = ("weights",)

    def forward(self, data: Float[Tensor, "1 R Q"]) -> Float[Tensor, "C R Q"]:
        weights = self.held["weights"]
        rows = weights.transpose(0, 1).repeat_interleave(data.shape[1] // len(weights), dim=1)
        return ring_products(torch.cos(data + rows))


def _linear(inputs: Float[Tensor, "*C R D"], weight: Float[Tensor, "S H D"], bias: Float[Tensor, "S H"]) -> Tensor:
    blocks = inputs.reshape(*inputs.shape[:-2], len(weight), -1, inputs.shape[-1])
    return (blocks @ weight.transpose(1, 2) + bias[:, None]).flatten(-3, -2)


_KINDS = {nn.Linear: _Linear, nn.LSTMCell: _LstmCell, RotationGates: _RotationGates}


def _stacked_layers(model: nn.Module) -> dict[str, _Stacked]:
    """Replace all layers that have a stacked form by it, and return them by their paths."""
    found: dict[str, _Stacked] = {}
    for path, module in list(model.named_modules()):
        if type(module) in _KINDS:
            parent, _, name = path.rpartition(".")
            found[path] = _KINDS[type(module)](module)
            model.get_submodule(parent).add_module(name, found[path])
    return found
