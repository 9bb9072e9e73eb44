"""A learned correction that turns coupled-cluster amplitudes into the angles of UCCSD."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from qiskit_metainit.coupled_cluster import Amplitudes, amplitudes_of
from qiskit_metainit.determinants import refusal
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State
from qiskit_metainit.models._uccsd import uccsd_probes
from qiskit_metainit.models.graph_correction import perceptron

_SAMPLE = 1024  # tasks that the inputs are centred on
_FARTHEST = 3.0  # standard deviations an input may lie from there: what is beyond is cut off
_RETREAT = 4.0  # how fast the correction fades where a task as a whole lies beyond
_BASES = 8  # vectors that are combined
_OWN, _POOL = 10 + _BASES, 11 + 2 * _BASES  # numbers of an excitation, and of a task


@final
class AmplitudeCorrection(Model):
    """Coupled-cluster amplitudes plus what a network adds to each, a combination of vectors that turn like them.

    ``theta_k = t_k + w sum_m f_m(x_k, pool) b_k^m``: t are CCSD amplitudes, from the hint ``ccsd`` or else solved for
    from matrix elements of the operator (``coupled_cluster.ccsd``), so neither orbitals nor PySCF are needed and any
    mapping is served. The vectors b change sign with an orbital as t does (``Amplitudes.bases``), the inputs x do not
    change at all, and f is one network for all excitations of all molecules, which sees its own excitation and the
    mean over all, weighted with t^2. The weight w of the whole correction is ``tanh(sum t^2)``: unitary and ordinary
    coupled cluster differ from third order in t on (Bartlett, Kucharski and Noga 1989, Chem. Phys. Lett. 155, 133), so
    in weak correlation CCSD stands; it also fades where a task's global inputs lie further than 3 standard deviations
    from the training's. Where CCSD does not converge, the angles of configuration interaction stand in for it. The
    last layer starts at zero, so training starts at the classical point. No query.

    Args:
        width: neurons a layer.
        layers: hidden layers before the mean over excitations, and again after it.
    """

    center: Tensor
    spread: Tensor
    middle: Tensor
    reach: Tensor

    def __init__(self, *, width: int = 48, layers: int = 1) -> None:
        super().__init__()
        self.width = width
        self.layers = layers
        for name, size in (("center", _OWN), ("middle", _POOL)):
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))
        for name, size in (("spread", _OWN), ("reach", _POOL)):
            self.register_buffer(name, torch.ones(size, dtype=torch.float64))
        self.look = perceptron(_OWN + _POOL, *[width] * layers, width)
        self.answer = perceptron(2 * width, *[width] * layers, _BASES, silent=True)

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return refusal(type(self).__name__, features)

    def probes(self) -> Sequence[tuple[SparsePauliOp, QuantumCircuit]]:
        """See Model."""
        return uccsd_probes()

    def prepare(self, sample: Callable[[int], FeatureBatch]) -> None:
        """See Model; a model that was trained before keeps what its weights were trained with."""
        if (self.spread != 1).any():
            return
        views = [_view(item) for item in sample(_SAMPLE).items]
        weights = torch.cat([view.weights for view in views])
        own, pool = torch.cat([view.own for view in views]), torch.stack([view.pool for view in views])
        mean = (weights[:, None] * own).sum(dim=0) / weights.sum()
        self.center.copy_(mean)
        self.spread.copy_(((weights[:, None] * (own - mean) ** 2).sum(dim=0) / weights.sum()).sqrt() + 1e-2)
        self.middle.copy_(pool.mean(dim=0))
        self.reach.copy_(pool.std(dim=0, correction=0) + 1e-2)

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        views = [_view(item) for item in features.items]
        sizes = [len(view.start) for view in views]
        rows = torch.arange(len(views)).repeat_interleave(torch.tensor(sizes))
        pool = (torch.stack([view.pool for view in views]) - self.middle) / self.reach
        near = pool.clamp(-_FARTHEST, _FARTHEST)
        trust = 1.0 / (1.0 + _RETREAT * (pool - near).abs().mean(dim=1))
        own = ((torch.cat([view.own for view in views]) - self.center) / self.spread).clamp(-_FARTHEST, _FARTHEST)
        seen = self.look(torch.cat([own, near[rows]], dim=1))
        weights = torch.cat([view.weights for view in views])[:, None]
        mean = torch.zeros(len(views), seen.shape[1], dtype=seen.dtype).index_add(0, rows, weights * seen)
        factors = self.answer(torch.cat([seen, mean[rows]], dim=1))
        strength = torch.stack([view.strength for view in views]) * trust
        shift = (factors * torch.cat([view.bases for view in views])).sum(dim=1) * strength[rows]
        points = torch.zeros_like(features.unit)
        points[features.mask] = (torch.cat([view.start for view in views]) + shift) / torch.cat(
            [view.scales for view in views]
        )
        return points, None


@dataclass(frozen=True, eq=False)
class _View:
    """What the model sees of one task."""

    start: Float[Tensor, " P"]
    """Classical amplitudes."""
    scales: Float[Tensor, " P"]
    """Amplitude a radian."""
    bases: Float[Tensor, "P M"]
    """Vectors that turn like the amplitudes."""
    own: Float[Tensor, "P F"]
    """Numbers of each excitation that do not depend on the signs of orbitals."""
    pool: Float[Tensor, " G"]
    """Those of the task."""
    weights: Float[Tensor, " P"]
    """t^2 divided by its sum."""
    strength: Float[Tensor, ""]
    """tanh(sum t^2)."""


_VIEWS: WeakKeyDictionary[Features, _View] = WeakKeyDictionary()


def _view(features: Features) -> _View:
    if features not in _VIEWS:
        found = amplitudes_of(features)
        own, pool = _inputs(found)
        squares = found.start**2
        _VIEWS[features] = _View(
            start=torch.as_tensor(found.start),
            scales=torch.as_tensor(found.known.scales),
            bases=torch.as_tensor(np.stack(list(found.bases.values()), axis=1)),
            own=torch.as_tensor(own),
            pool=torch.as_tensor(pool),
            weights=torch.as_tensor(squares / max(float(squares.sum()), 1e-12)),
            strength=torch.tensor(float(np.tanh(squares.sum())), dtype=torch.float64),
        )
    return _VIEWS[features]


def _inputs(found: Amplitudes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (P, F) inputs of the excitations and (G,) of the task."""
    known, start = found.known, found.start
    gaps, single = known.gaps, known.single.astype(np.float64)
    typical = float(np.median(gaps))
    total = float((start**2).sum())
    size = np.abs(start)
    pairs = np.bincount(known.products[0], minlength=len(start)) / 2.0  # 2 for a double of equal spins, else 1
    ratios = [start * vector / (start**2 + 1e-4) for vector in found.bases.values()]
    own = [
        single,
        np.minimum(pairs, 4.0),
        size,
        np.log(size + 1e-3),
        size / max(float(size.max()), 1e-12),
        gaps / typical,
        np.log(np.abs(gaps) + 0.05 * typical) - np.log(typical),
        np.abs(known.couplings) / typical,
        np.abs(found.pairwise),
        np.abs(found.mixing),
        *(np.clip(ratio, -3.0, 3.0) for ratio in ratios),
    ]
    singles = float((start**2 * single).sum())
    pool = [
        total,
        np.log(total + 1e-4),
        float(size.max()),
        singles,
        float((start**4).sum()) / max(total**2, 1e-12),
        float(((found.mixing - start) ** 2).sum()) / (total + 1e-4),
        float(((found.pairwise - start) ** 2).sum()) / (total + 1e-4),
        float(gaps.min()) / typical,
        np.log(float(single.sum())),
        float(found.converged),
        found.energy / typical,
        *(float(start @ vector) / (total + 1e-4) for vector in found.bases.values()),
        *(np.log(float(vector @ vector) / (total + 1e-4) + 1e-6) for vector in found.bases.values()),
    ]
    return np.stack(own, axis=1), np.array(pool)
