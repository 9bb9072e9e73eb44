"""What the recurrent meta-learners share: a cell reads the cost of the last proposal and makes the next one."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qiskit_metainit import plugins
from qiskit_metainit.engine import Engine
from qiskit_metainit.features import SUMMARY, FeatureBatch, Features
from qiskit_metainit.model import Model, State
from qiskit_metainit.quantum_cell import QuantumLayer

COSTS = ("normalised", "raw")


class RecurrentModel(Model):
    """``(h, theta)_(t+1) = cell(h_t, [y_t, theta_t])`` from zeros (Verdon et al. 2019, arXiv:1907.05415).

    Sees nothing of the instance but the costs it asks for, so its first proposal is a constant, and a cell that is not
    moved by costs is one altogether. The levers against that, all off by default:

    Args:
        num_parameters: P; a model serves one circuit size (2p for QAOA).
        queries: costs asked for; T = queries + 1 proposals, the last of which is the answer.
        conditioned: whether the cell sees the problem's global features (``features.SUMMARY``) beside the cost, as the
            graph-conditioned meta-optimisers of arXiv:2604.25275 do.
        increments: whether the cell's output is added to the last proposal instead of replacing it.
        start: theta_0, which outputs are added to: "zeros", or a formula's name, such as "sk_infinity". Training begins
            there if the last layer is linear.
        cost: y as the cell sees it: "normalised" by the Hamiltonian's Pauli coefficients, within [-1, 1], as Verdon et
            al. have it; or "raw", ``sum_k w_k/2 (<P_k> - 1)`` in natural units, which is minus the expected cut of
            an unweighted graph and saturates gates. Unlike all features it changes when the sign of a spin is flipped.
        as_published: the form of the published code of Lin et al. 2025 (arXiv:2512.05058) where it differs from the
            equations; the cost is raw, the levers are off.
    """

    def __init__(
        self,
        *,
        num_parameters: int,
        queries: int,
        conditioned: bool,
        increments: bool,
        start: str,
        cost: str,
        as_published: bool,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if num_parameters < 1 or queries < 0:
            raise ValueError(
                f"{name} needs at least one parameter and no negative queries: {num_parameters=}, {queries=} came."
            )
        if cost not in COSTS:
            raise ValueError(f"cost must be one of {COSTS}, but {cost!r} came.")
        if as_published and (conditioned, increments, start, cost) != (False, False, "zeros", "normalised"):
            raise ValueError(
                f"as_published=True is a form without levers, but {conditioned=}, {increments=}, {start=}, {cost=} "
                "came. Leave these out, or as_published."
            )
        self.num_parameters = num_parameters
        self.queries = queries
        self.conditioned = conditioned
        self.increments = increments
        self.start = start
        self.cost = cost
        self.as_published = as_published
        self.base = None if start == "zeros" else _formula(start)

    @property
    def num_inputs(self) -> int:
        """D: what the cell reads at a step."""
        return 1 + self.num_parameters + (len(SUMMARY) if self.conditioned else 0)

    @property
    def cell_circuits(self) -> int:
        """Circuits that the model's own quantum layers evaluate for one answer; 0 for a classical cell.

        They come on top of ``queries``, which counts QAOA circuits only.

        >>> from qiskit_metainit.models.lstm import Lstm
        >>> from qiskit_metainit.models.qlstm import Qlstm
        >>> Lstm().cell_circuits, Qlstm().cell_circuits  # 10 proposals, 4 gates of 4 <Z>
        (0, 160)
        """
        return (self.queries + 1) * self.layer_inputs * sum(layer.circuits for layer in self._layers())

    @property
    def layer_inputs(self) -> int:
        """Inputs that each quantum layer gets at a step, for one task."""
        return 1

    @abstractmethod
    def blank(self, size: int) -> State:
        """Return the cell's state at the start for B tasks."""

    @abstractmethod
    def forward(self, inputs: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B P"], State]:
        """Return the cell's output and its next state."""

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        if features.num_parameters != self.num_parameters:
            name = type(self).__name__
            wanted = f"num_parameters={features.num_parameters}"
            return (
                f"this {name} holds {self.num_parameters} parameters, but the task has {features.num_parameters}; make "
                f"one with {wanted} (--setting {wanted})"
            )
        return None if self.base is None else self.base.unsupported(features)

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        size = len(features)
        base = torch.zeros(size, self.num_parameters, dtype=torch.float64)
        if self.base is not None:
            base, _ = self.base.begin(features)
        context = features.summary if self.conditioned else features.summary[:, :0]
        nothing = torch.zeros(size, 1, dtype=torch.float64)
        return self._propose(base, nothing, (self.blank(size), base, context, self._reading(features)))

    def refine(
        self, points: Float[Tensor, "B P"], costs: Float[Tensor, " B"], state: State
    ) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        factor, shift = state[3].unbind(dim=1)
        return self._propose(points, (costs * factor - shift)[:, None], state)

    def _propose(self, points: Tensor, seen: Tensor, state: State) -> tuple[Tensor, State]:
        cell, base, context, reading = state
        output, cell = self(torch.cat([seen, points, context], dim=1), cell)
        return (points if self.increments else base) + output, (cell, base, context, reading)

    def _reading(self, features: FeatureBatch) -> Float[Tensor, "B 2"]:
        """Return the factor on a normalised cost, and what is then taken off, to make it what the cell sees."""
        if self.cost == "normalised" and not self.as_published:
            return torch.tensor([1.0, 0.0], dtype=torch.float64).repeat(len(features), 1)
        weights = [item.terms.weights / 2 for item in features.items]
        return torch.stack([torch.stack([own.abs().sum(), own.sum()]) for own in weights])

    def head(self, width: int) -> nn.Linear:
        """Return the last layer, H -> P: zero at first where it is added to something, so training starts there."""
        layer = nn.Linear(width, self.num_parameters, dtype=torch.float64)
        if self.increments or self.base is not None:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        return layer

    def run_on(self, engine: Engine) -> None:
        """Send the model's own quantum layers to an engine, such as ``ParameterShift(estimator)`` for a device.

        They run on exact simulation otherwise. What they spend is booked there: ``cell_circuits`` for each answer.

        Raises:
            ValueError: if the model is a classical one.
        """
        layers = self._layers()
        if not layers:
            raise ValueError(f"A model with quantum layers is needed, but {type(self).__name__} has none.")
        for layer in layers:
            layer.engine = engine

    def _layers(self) -> list[QuantumLayer]:
        return [module for module in self.modules() if isinstance(module, QuantumLayer)]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the weights of the final fully connected layer, which Lin et al. train at a rate of its own."""
        readout: Any = getattr(self, "readout", None)
        return list(readout.parameters()) if isinstance(readout, nn.Linear) else []

    def sequence_parameters(self) -> list[nn.Parameter]:
        """Return all other weights."""
        own = {id(parameter) for parameter in self.head_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]


def _formula(name: str) -> Model:
    """Return the model of a name, which must ask for nothing and have no weights."""
    model: Model = plugins.load("models", name)()
    if model.queries or any(True for _ in model.parameters()):
        raise ValueError(f'start must be "zeros" or a formula such as "sk_infinity", but {name!r} came.')
    return model
