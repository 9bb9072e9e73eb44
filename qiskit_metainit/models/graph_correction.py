"""A learned correction to the SK-infinity schedule that passes messages over the graph of terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from qiskit_metainit.features import SUMMARY, TOKENS, FeatureBatch, Features
from qiskit_metainit.invariants import INVARIANTS
from qiskit_metainit.model import Model, State, needs_qaoa
from qiskit_metainit.models.fixed_angles import FixedAngles
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.term_graph import SPIN_FEATURES, TERM_FEATURES, TermGraph

_SAMPLE = 1024  # tasks that the inputs are centred on
_FARTHEST = 4.0  # standard deviations an input may lie from there: what is beyond is cut off
_RETREAT = 4.0  # how fast the correction fades where inputs lie beyond, as it was never trained there
_WHOLE = 20.0  # qubits up to which the correction is served whole; then it falls like 1/n, as finite-size effects do
_LARGEST = 20_000  # qubits from which on the formula's point is served as it is: of the correction a thousandth is left
_CHUNK = 1 << 16  # terms that are looked at at a time: bounds the memory of a problem with millions


@final
class GraphCorrection(Model):
    """The SK-infinity point plus what a network, shared by all parameters, adds to each angle.

    The network sees the parameter's token, the angles of the formula and of ``FixedAngles`` (on large spin glasses and
    on large sparse graphs these are optimal), the task's global features (``SUMMARY`` and ``INVARIANTS``, centred on
    the training's) and what message passing over the graph of terms and qubits finds (Gilmer et al. 2017,
    arXiv:1704.01212, with terms of any order as hyperedges), so one set of weights serves any graph and any depth. Its
    last layer starts at zero, so training starts at the formula. The correction fades where global features lie
    further from the training's than 4 standard deviations, and beyond 20 qubits: learned on 10, the whole of it costs
    more than it gains on hundreds (at p = 1, where the closed form tells). From 20000 qubits on there is none. No
    query; the cost of a proposal is proportional to the number of terms.

    Args:
        width: neurons a layer of the network that corrects the angles.
        layers: its hidden layers.
        channels: numbers that a message holds.
        rounds: how often messages are passed; with 0 terms are only looked at one by one.
    """

    center: Tensor
    spread: Tensor

    def __init__(self, *, width: int = 192, layers: int = 3, channels: int = 32, rounds: int = 2) -> None:
        super().__init__()
        self.width = width
        self.layers = layers
        self.channels = channels
        self.rounds = rounds
        self.base = SkInfinity()
        self.other = FixedAngles()
        context = len(SUMMARY) + len(INVARIANTS)
        self.register_buffer("center", torch.zeros(context, dtype=torch.float64))
        self.register_buffer("spread", torch.ones(context, dtype=torch.float64))
        self.encoder = _Encoder(channels, rounds)
        self.inputs = context + channels + len(TOKENS) + 7
        self.network = perceptron(self.inputs, *[width] * layers, 1, silent=True)

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_qaoa(self, features)

    def prepare(self, sample: Callable[[int], FeatureBatch]) -> None:
        """See Model; a model that was trained before keeps what its weights were trained with."""
        if (self.spread != 1).any():
            return
        context = _context(sample(_SAMPLE))
        self.center.copy_(context.mean(dim=0))
        self.spread.copy_(context.std(dim=0, correction=0) + 1e-3)

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        if all(item.num_qubits >= _LARGEST for item in features.items):
            return self.base.begin(features)
        return self.corrected(*self.look(features), features), None

    def corrected(
        self,
        points: Float[Tensor, "B P"],
        inputs: Float[Tensor, "B P I"],
        trust: Float[Tensor, " B"],
        features: FeatureBatch,
    ) -> Float[Tensor, "B P"]:
        """Return the formula's points with the correction, from what ``look`` returned."""
        correction = trust[:, None] * self.network(inputs)[..., 0].double()
        return points + torch.where(features.mask, correction, 0.0)

    def look(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], Float[Tensor, "B P I"], Float[Tensor, " B"]]:
        """Return the formula's points, what the network sees of each parameter, and how far it is to be trusted."""
        points, _ = self.base.begin(features)
        centred = (_context(features) - self.center) / self.spread
        near = centred.clamp(-_FARTHEST, _FARTHEST)
        trust = 1 / (1 + _RETREAT * (centred - near).abs().mean(dim=1))
        share = features.named("inverse_qubits")
        trust = trust * torch.where(share > 1 / _LARGEST, (_WHOLE * share).clamp(max=1.0), 0.0)
        dtype = torch.float32 if self.training else torch.float64  # half the time, and noise far below a batch's
        found = self.encoder([item.terms.graph for item in features.items], dtype)
        context = torch.cat([near.to(dtype), found], dim=1)[:, None].expand(-1, points.shape[1], -1)
        angles = torch.stack([points, self.other.begin(features)[0] - points], dim=2)
        own = torch.cat([features.tokens, _waves(features), angles], dim=2).to(dtype)
        return points, torch.cat([context, own], dim=2), trust


class _Encoder(nn.Module):
    """Message passing between terms and spins, and the mean over terms of what comes out."""

    def __init__(self, channels: int, rounds: int) -> None:
        super().__init__()
        seen = 2 * channels + len(TERM_FEATURES)
        self.start = perceptron(len(SPIN_FEATURES), channels, channels)
        self.message = nn.ModuleList(perceptron(seen, channels, channels) for _ in range(rounds))
        self.update = nn.ModuleList(perceptron(2 * channels, channels, channels) for _ in range(rounds))
        self.read = perceptron(seen, channels, channels)

    def forward(self, graphs: Sequence[TermGraph], dtype: torch.dtype = torch.float64) -> Float[Tensor, "B C"]:
        """Return what is found of each graph."""
        sizes = [len(graph.spins) for graph in graphs]
        parts = list(_parts(graphs, list(accumulate(sizes, initial=0)), dtype))
        states: Tensor = self.start(torch.cat([graph.spins for graph in graphs]).to(dtype))
        every = torch.cat([part.members.flatten() for part in parts])
        count = torch.bincount(every, minlength=len(states))[:, None]
        for message, update in zip(self.message, self.update, strict=True):
            heard = torch.zeros_like(states)
            for part in parts:
                sent = message(part.view(states)).repeat_interleave(part.members.shape[1], dim=0)
                heard = heard.index_add(0, part.members.flatten(), sent)
            states = states + update(torch.cat([states, heard / count], dim=1))
        found = states.new_zeros(len(graphs), states.shape[1])
        for part in parts:
            found = found.index_add(0, part.graph, self.read(part.view(states)))
        terms = torch.tensor([sum(map(len, graph.terms)) for graph in graphs])
        return found / terms[:, None]


@dataclass(frozen=True, eq=False)
class _Part:
    """Some terms of one order, of several graphs."""

    members: Int[Tensor, "K O"]
    terms: Float[Tensor, "K E"]
    graph: Int[Tensor, " K"]

    def view(self, states: Float[Tensor, "S C"]) -> Float[Tensor, "K V"]:
        """Return what each term sees: the mean of its spins' states, how far they are from it, its own numbers."""
        own = states.index_select(0, self.members.flatten()).view(*self.members.shape, -1)
        mean = own.mean(dim=1)
        return torch.cat([mean, (own - mean[:, None]).abs().mean(dim=1), self.terms], dim=1)


def _parts(graphs: Sequence[TermGraph], first: Sequence[int], dtype: torch.dtype) -> Iterator[_Part]:
    """Yield the terms of several graphs by their orders, so many at a time; spins count on from graph to graph."""
    kinds: dict[int, list[tuple[int, int]]] = {}
    for place, graph in enumerate(graphs):
        for kind, members in enumerate(graph.members):
            kinds.setdefault(members.shape[1], []).append((place, kind))
    for places in kinds.values():
        members = torch.cat([graphs[place].members[kind] + first[place] for place, kind in places])
        terms = torch.cat([graphs[place].terms[kind] for place, kind in places]).to(dtype)
        lengths = torch.tensor([len(graphs[place].terms[kind]) for place, kind in places])
        origin = torch.tensor([place for place, _ in places]).repeat_interleave(lengths)
        for start in range(0, len(members), _CHUNK):
            rows = slice(start, start + _CHUNK)
            yield _Part(members[rows], terms[rows], origin[rows])


class _Linear(nn.Linear):
    """A layer whose weights are in double precision, which answers in the precision of its input."""

    def forward(self, values: Tensor) -> Tensor:
        """See torch.nn.Linear."""
        return functional.linear(values, self.weight.to(values.dtype), self.bias.to(values.dtype))


def perceptron(*sizes: int, silent: bool = False) -> nn.Sequential:
    """Return layers of these sizes with SiLU between them, the last one zero at first if silent."""
    stages: list[nn.Module] = []
    for inner, outer in pairwise(sizes):
        stages += [last := _Linear(inner, outer, dtype=torch.float64), nn.SiLU()]
    if silent:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(*stages[:-1])


def _context(features: FeatureBatch) -> Float[Tensor, "B C"]:
    return torch.cat([features.summary, features.invariants], dim=1)


def _waves(features: FeatureBatch) -> Float[Tensor, "B P 5"]:
    """Return waves along the schedule and exp(-k), k layers from its first and from its last one."""
    stage = features.tokens[..., TOKENS.index("stage")]
    depth = features.tokens[..., TOKENS.index("log_depth")].exp()
    waves = [torch.cos(k * torch.pi * stage) for k in (1, 2, 3)]
    return torch.stack([*waves, torch.exp(0.5 - stage * depth), torch.exp(0.5 - (1 - stage) * depth)], dim=-1)
