"""A learned correction to the SK-infinity schedule that passes messages over the graph of terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qiskit_metainit.features import SUMMARY, TOKENS, FeatureBatch, Features
from qiskit_metainit.invariants import INVARIANTS
from qiskit_metainit.model import Model, State, needs_qaoa
from qiskit_metainit.models.fixed_angles import FixedAngles
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.term_graph import SPIN_FEATURES, TERM_FEATURES, TermGraph

_SAMPLE = 1024  # tasks that the inputs are centred on
_FARTHEST = 4.0  # standard deviations an input may lie from there: what is beyond is cut off
_RETREAT = 4.0  # how fast the correction fades where inputs lie beyond, as it was never trained there
_CHUNK = 1 << 16  # terms that are looked at at a time: bounds the memory of a problem with millions


@final
class GraphCorrection(Model):
    """The SK-infinity point plus what a network, shared by all parameters, adds to each angle.

    The network sees the parameter's token, the angles of the formula and of ``FixedAngles`` (on large spin glasses and
    on large sparse graphs these are optimal), the task's global features (``SUMMARY`` and ``INVARIANTS``, centred on
    the training's) and what message passing over the graph of terms and qubits finds (Gilmer et al. 2017,
    arXiv:1704.01212, with terms of any order as hyperedges), so one set of weights serves any graph and any depth. Its
    last layer starts at zero, so training starts at the formula. The correction fades where global features lie
    further from the training's than 4 standard deviations. No query; the cost of a proposal is proportional to the
    number of terms.

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
        self.network = _perceptron(context + channels + len(TOKENS) + 7, *[width] * layers, 1)
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_qaoa(self, features)

    def prepare(self, sample: Callable[[int], FeatureBatch]) -> None:
        """See Model."""
        context = _context(sample(_SAMPLE))
        self.center.copy_(context.mean(dim=0))
        self.spread.copy_(context.std(dim=0, correction=0) + 1e-3)

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        points, state = self.base.begin(features)
        centred = (_context(features) - self.center) / self.spread
        near = centred.clamp(-_FARTHEST, _FARTHEST)
        trust = 1 / (1 + _RETREAT * (centred - near).abs().mean(dim=1))
        context = torch.cat([near, self.encoder([item.terms.graph for item in features.items])], dim=1)
        wide = context[:, None].expand(-1, points.shape[1], -1)
        angles = torch.stack([points, self.other.begin(features)[0] - points], dim=2)
        inputs = torch.cat([wide, features.tokens, _waves(features), angles], dim=2)
        correction = trust[:, None] * self.network(inputs)[..., 0]
        return points + torch.where(features.mask, correction, 0.0), state


class _Encoder(nn.Module):
    """Message passing between terms and spins, and the mean over terms of what comes out."""

    def __init__(self, channels: int, rounds: int) -> None:
        super().__init__()
        seen = 2 * channels + len(TERM_FEATURES)
        self.start = _perceptron(len(SPIN_FEATURES), channels, channels)
        self.message = nn.ModuleList(_perceptron(seen, channels, channels) for _ in range(rounds))
        self.update = nn.ModuleList(_perceptron(2 * channels, channels, channels) for _ in range(rounds))
        self.read = _perceptron(seen, channels, channels)

    def forward(self, graphs: Sequence[TermGraph]) -> Float[Tensor, "B C"]:
        """Return what is found of each graph."""
        batch = _Joined(graphs)
        states: Tensor = self.start(batch.spins)
        for message, update in zip(self.message, self.update, strict=True):
            heard = torch.zeros_like(states)
            for part in batch.parts():
                sent = message(part.view(states))
                heard = heard.index_add(0, part.spin, sent.index_select(0, part.term))
            states = states + update(torch.cat([states, heard / batch.terms_of_spin], dim=1))
        found = states.new_zeros(len(graphs), states.shape[1])
        for part in batch.parts():
            found = found.index_add(0, part.graph, self.read(part.view(states)))
        return found / batch.count


class _Joined:
    """Several graphs as one that is not connected."""

    def __init__(self, graphs: Sequence[TermGraph]) -> None:
        spins = torch.tensor([len(graph.spins) for graph in graphs])
        terms = torch.tensor([len(graph.terms) for graph in graphs])
        first_spin, first_term = (sizes.cumsum(0) - sizes for sizes in (spins, terms))
        incidences = torch.tensor([len(graph.term) for graph in graphs])
        self._term = torch.cat([graph.term for graph in graphs]) + first_term.repeat_interleave(incidences)
        self._spin = torch.cat([graph.spin for graph in graphs]) + first_spin.repeat_interleave(incidences)
        self._terms = torch.cat([graph.terms for graph in graphs])
        self._graph = torch.arange(len(graphs)).repeat_interleave(terms)
        self.spins = torch.cat([graph.spins for graph in graphs])
        self.terms_of_spin = torch.bincount(self._spin, minlength=len(self.spins))[:, None]
        self.count = terms[:, None]

    def parts(self) -> Iterator[_Part]:
        """Yield the terms, so many at a time."""
        for start in range(0, len(self._terms), _CHUNK):
            stop = min(start + _CHUNK, len(self._terms))
            low, high = torch.searchsorted(self._term, torch.tensor([start, stop])).tolist()
            term = self._term[low:high] - start
            yield _Part(term, self._spin[low:high], self._terms[start:stop], self._graph[start:stop])


class _Part:
    """Some terms of a graph, with their incidences."""

    def __init__(self, term: Tensor, spin: Tensor, terms: Tensor, graph: Tensor) -> None:
        self.term, self.spin, self.graph = term, spin, graph
        self._terms = terms
        self._order = torch.bincount(term, minlength=len(terms))[:, None]
        self._pairs = bool((self._order == 2).all())

    def view(self, states: Float[Tensor, "S C"]) -> Float[Tensor, "K V"]:
        """Return what each term sees: the mean of its spins' states, how far they are from it, its own numbers."""
        own = states.index_select(0, self.spin)
        if self._pairs:  # the same, in a quarter of the time
            one, other = own.view(-1, 2, own.shape[1]).unbind(1)
            return torch.cat([(one + other) / 2, (one - other).abs() / 2, self._terms], dim=1)
        mean = self._mean(own)
        return torch.cat([mean, self._mean((own - mean[self.term]).abs()), self._terms], dim=1)

    def _mean(self, values: Float[Tensor, "M C"]) -> Float[Tensor, "K C"]:
        return values.new_zeros(len(self._terms), values.shape[1]).index_add(0, self.term, values) / self._order


def _perceptron(*sizes: int) -> nn.Sequential:
    stages: list[nn.Module] = []
    for inner, outer in pairwise(sizes):
        stages += [nn.Linear(inner, outer, dtype=torch.float64), nn.SiLU()]
    return nn.Sequential(*stages[:-1])


def _context(features: FeatureBatch) -> Float[Tensor, "B C"]:
    return torch.cat([features.summary, features.invariants], dim=1)


def _waves(features: FeatureBatch) -> Float[Tensor, "B P 5"]:
    """Return waves along the schedule and exp(-k), k layers from its first and from its last one."""
    stage = features.tokens[..., TOKENS.index("stage")]
    depth = features.tokens[..., TOKENS.index("log_depth")].exp()
    waves = [torch.cos(k * torch.pi * stage) for k in (1, 2, 3)]
    return torch.stack([*waves, torch.exp(0.5 - stage * depth), torch.exp(0.5 - (1 - stage) * depth)], dim=-1)
