"""The optimum of one layer, from its energy in closed form: exact for any Ising model at any size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State, needs_qaoa

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_RESOLUTION = 0.35  # spacing of the scan, in widths 1/sqrt(sum w^2) of the narrowest product of cosines
_MOST_POINTS = 300  # of the scan: what hubs with thousands of edges do within less cannot move the whole optimum
_SLACK = 0.15  # minima of the scan within this share of the best are polished; the spacing hides less
_NODES = 13  # of the polynomials that stand for A, B and C between neighbours of a minimum
_BLOCK = 2**19  # numbers held at once, in each of a few arrays
_GROUP = 8  # ratios multiplied before a logarithm is taken: 1e36 each at most, so they cannot overflow


@final
class AnalyticP1(Model):
    """The best point of p = 1 for fields and couplings of any size and sign, found on a classical computer.

    Ozaeta, van Dam, McMahon 2022, arXiv:2012.03421, give the energy in closed form. As derived here, with natural
    weights w_uv and w_u (``H = sum w/2 P``), couplings running over edges and x over the other spins,

        E = A sin(4 beta) + B sin(2 beta)^2 + C sin(2 beta)
        A = 1/4 sum_uv w_uv sin(gamma w_uv) (cos(gamma w_u) prod_(x != v) cos(gamma w_ux) + the same from v)
        B = 1/4 sum_uv w_uv (F(-) - F(+)),  F(s) = cos(gamma (w_u s w_v)) prod_x cos(gamma (w_ux s w_vx))
        C = 1/2 sum_u w_u sin(gamma w_u) prod_x cos(gamma w_ux)

    so beta follows from gamma, which is scanned and polished; the paper optimises both on a grid or by descent. As
    E(-beta, -gamma) = E(beta, gamma), only gamma < 0 is looked at, which is where annealing lies; of equal optima the
    one nearest to 0 is taken. A gamma costs one step for each edge and for each triangle.

    Args:
        reach: largest abs(gamma), natural units; equal weights without fields have nothing new beyond pi.
    """

    def __init__(self, *, reach: float = math.pi) -> None:
        super().__init__()
        if not reach > 0:
            raise ValueError(f"reach must be a positive number, but {reach} came.")
        self.reach = reach

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        if (reason := needs_qaoa(self, features)) is not None:
            return reason
        if features.reps != 1:
            return f"AnalyticP1 is a formula for reps=1 only, but reps={features.reps} came"
        if features.order > 2:
            return f"AnalyticP1 needs terms on one or two qubits, but there is one on {features.order}"
        return None

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        points = [_optimum(_Ising.of(item), self.reach) for item in features.items]
        return torch.tensor(points, dtype=torch.float64), None


@dataclass(frozen=True, eq=False)
class _Ising:
    """E couplings and Q fields."""

    ends: Index
    """(E, 2) spins of each coupling."""
    couplings: Array
    """(E,) w_uv."""
    fields: Array
    """(Q,) w_u."""

    @classmethod
    def of(cls, features: Features) -> _Ising:
        terms = features.terms
        term, qubit, weights = terms.term.numpy(), terms.qubit.numpy(), terms.weights.numpy()
        order = np.bincount(term, minlength=weights.size)
        fields = np.zeros(features.num_qubits)
        fields[qubit[order[term] == 1]] = weights[order == 1]
        ends = qubit[order[term] == 2][np.argsort(term[order[term] == 2], kind="stable")].reshape(-1, 2)
        return cls(ends, weights[order == 2], fields)

    @property
    def strength(self) -> float:
        """The largest sum of squared weights of a spin."""
        sums = np.bincount(self.ends.ravel(), np.repeat(self.couplings**2, 2), minlength=self.fields.size)
        return float((sums + self.fields**2).max())

    def coefficients(self, gammas: Array) -> Array:
        """Return (3, G): A, B and C of each of (G,) gammas."""
        step = max(1, 4 * _BLOCK // (self.couplings.size + self.fields.size))
        return np.concatenate([self._block(gammas[i : i + step]) for i in range(0, gammas.size, step)], axis=1)

    def _block(self, gammas: Array) -> Array:
        u, v = self.ends.T
        weights, angles = self.couplings[:, None], self.couplings[:, None] * gammas
        cosines, sines = np.cos(angles), np.sin(angles)
        tangents, cosines = sines / cosines, _logs(cosines)
        rows = np.concatenate([u, v])
        shape = (self.fields.size, self.couplings.size)
        incidence = sparse.csr_array((np.ones(rows.size), (rows, np.tile(np.arange(u.size), 2))), shape=shape)
        around: Array = np.asarray(incidence @ cosines)  # (Q, 2G): the product over all of a spin's couplings
        own = self.fields[:, None] * gammas
        c = 0.5 * self.fields @ (np.sin(own) * _number(around))
        tail, head = around[u] - cosines, around[v] - cosines
        one_sided = np.cos(own)[u] * _number(tail) + np.cos(own)[v] * _number(head)
        a = 0.25 * self.couplings @ (sines * one_sided)
        minus, plus = self._triangle_ratios(tangents)
        both = tail + head
        b = np.cos(own[u] - own[v]) * _number(both + minus) - np.cos(own[u] + own[v]) * _number(both + plus)
        return np.stack([a, 0.25 * (weights * b).sum(axis=0), c])

    def _triangle_ratios(self, tangents: Array) -> tuple[Array, Array]:
        """Return two (E, 2G) logs: what common neighbours x change in F(-) and F(+).

        cos(a -+ b) = cos(a) cos(b) (1 +- tan(a) tan(b)), so the products over x of either end alone come out right.
        """
        edges, count = tangents.shape
        minus, plus = np.zeros((edges, 2 * count)), np.zeros((edges, 2 * count))
        for triangles in _triangles(self.ends, self.fields.size):
            rows = np.concatenate([np.roll(triangles, turn, axis=1) for turn in range(3)])  # an edge, and two others
            rows = rows[np.argsort(rows[:, 0], kind="stable")]
            step = max(_GROUP, _BLOCK // count)
            for part in (rows[i : i + step] for i in range(0, len(rows), step)):
                edge, left, right = part.T
                first = np.flatnonzero(np.diff(edge, prepend=-1))
                place = np.arange(edge.size) - np.repeat(first, np.diff(first, append=edge.size))
                groups = np.flatnonzero(place % _GROUP == 0)
                starts = np.searchsorted(groups, first)
                products = tangents[left] * tangents[right]
                minus[edge[first]] += np.add.reduceat(_logs(np.multiply.reduceat(1.0 + products, groups)), starts)
                plus[edge[first]] += np.add.reduceat(_logs(np.multiply.reduceat(1.0 - products, groups)), starts)
        return minus, plus


def _logs(values: Array) -> Array:
    """Return (N, 2G) for (N, G): log abs, and 1 where negative. Sums of such rows are products of numbers."""
    with np.errstate(divide="ignore"):  # 0 has the log -inf, and makes a product 0
        return np.concatenate([np.log(np.abs(values)), values < 0], axis=1)


def _number(logs: Array) -> Array:
    """Return (N, G), undoing ``_logs``."""
    size, negative = np.split(logs, 2, axis=1)
    return np.asarray(np.exp(size) * (1.0 - 2.0 * (negative % 2)))


def _triangles(ends: Index, size: int) -> Iterator[Index]:
    """Yield (N, 3) edge numbers of all triangles, each once, in blocks.

    Edges point from the spin of fewer couplings to that of more, so no spin has more than sqrt(2E) edges that leave.
    """
    degrees = np.bincount(ends.ravel(), minlength=size)
    rank = np.argsort(np.lexsort((np.arange(size), degrees)))
    low, high = np.sort(rank[ends], axis=1).T
    number = np.arange(low.size)
    leaving = sparse.csr_array((number + 1.0, (low, high)), shape=(size, size))
    present = sparse.csr_array((np.ones(low.size), (low, high)), shape=(size, size))
    out = np.bincount(low, minlength=size)
    block = np.cumsum(out[low] + out[high]) // _BLOCK
    for edges in np.split(number, np.flatnonzero(np.diff(block)) + 1):
        first = leaving[low[edges]].multiply(present[high[edges]]).tocoo()
        second = present[low[edges]].multiply(leaving[high[edges]]).tocoo()
        if first.nnz:
            columns = [edges[first.row], first.data.astype(np.int64) - 1, second.data.astype(np.int64) - 1]
            yield np.stack(columns, axis=1)


def _optimum(ising: _Ising, reach: float) -> tuple[float, float]:
    """Return the best beta and gamma with -reach <= gamma < 0, natural units."""
    count = int(np.clip(np.ceil(reach * math.sqrt(ising.strength) / _RESOLUTION), 16, _MOST_POINTS))
    spacing = reach / count
    gammas: Array = np.linspace(-spacing, -reach, count)
    values = _best(ising.coefficients(gammas))[1]
    beside = np.concatenate([[0.0], values, [np.inf]])
    minima = np.flatnonzero((values <= beside[:-2]) & (values <= beside[2:]) & (values <= (1 - _SLACK) * values.min()))
    nodes = chebyshev.chebpts1(_NODES)
    samples = ising.coefficients((gammas[minima, None] + spacing * nodes).ravel()).reshape(3, minima.size, _NODES)
    best = (np.inf, 0.0, 0.0)
    tolerance = 1e-9 * abs(float(values.min()))
    for centre, sampled in zip(gammas[minima], samples.swapaxes(0, 1), strict=True):
        series: Array = np.asarray(chebyshev.chebfit(nodes, sampled.T, _NODES - 1), dtype=np.float64)
        # Nothing is asked beyond the reach, at which the last of the minima may lie.
        least = max(-1.0, (-reach - centre) / spacing)
        value, beta, place = _polished(series, least)
        if value < best[0] - tolerance:
            best = (value, beta, float(centre + spacing * place))
    return best[1], best[2]


def _polished(series: Array, least: float) -> tuple[float, float, float]:
    """Return the least energy, its beta and its place in [least, 1], for (_NODES, 3) series of A, B and C."""
    grid = np.linspace(least, 1.0, 65)
    betas, values = _best(np.asarray(chebyshev.chebval(grid, series), dtype=np.float64))
    index = int(values.argmin())
    value, beta, place = float(values[index]), float(betas[index]), float(grid[index])
    slopes, curves = chebyshev.chebder(series), chebyshev.chebder(series, 2)
    for _ in range(8):
        level, slope, curve = (chebyshev.chebval(place, part) for part in (series, slopes, curves))
        shape, first, second = _trigonometry(beta)
        gradient = np.array([level @ first, slope @ shape])
        hessian = np.array([[level @ second, slope @ first], [slope @ first, curve @ shape]])
        if np.linalg.eigvalsh(hessian)[0] <= 0:
            break
        step = np.linalg.solve(hessian, gradient)
        place = float(np.clip(place - step[1], least, 1.0))
        beta -= float(step[0])
    reached = float(chebyshev.chebval(place, series) @ _trigonometry(beta)[0])
    if reached <= value:
        return reached, beta, place
    return value, float(betas[index]), float(grid[index])


def _trigonometry(beta: float) -> tuple[Array, Array, Array]:
    """Return what A, B and C are multiplied by, and its first and second derivatives by beta."""
    double, quadruple = 2.0 * beta, 4.0 * beta
    return (
        np.array([np.sin(quadruple), np.sin(double) ** 2, np.sin(double)]),
        np.array([4 * np.cos(quadruple), 2 * np.sin(quadruple), 2 * np.cos(double)]),
        np.array([-16 * np.sin(quadruple), 8 * np.cos(quadruple), -4 * np.sin(double)]),
    )


def _best(coefficients: Array) -> tuple[Array, Array]:
    """Return the best beta in (-pi/2, pi/2], and its energy, for each of (3, G) A, B and C.

    With z = exp(2 i beta) the slope vanishes where (2A - iB) z^4 + C z^3 + C z + (2A + iB) = 0.
    """
    a, b, c = coefficients
    if not c.any():
        return 0.25 * np.arctan2(-a, 0.5 * b), 0.5 * b - np.hypot(a, 0.5 * b)
    leading = 2 * a - 1j * b
    companion = np.zeros((a.size, 4, 4), dtype=complex)
    companion[:, [1, 2, 3], [0, 1, 2]] = 1.0
    companion[:, 0, :] = np.stack([-c + 0j, 0j * c, -c + 0j, -leading.conj()], axis=1)
    # A leading coefficient that is but a trace leaves the poles of sin(2 beta), which are tried too.
    trace = np.abs(leading) <= 1e-12 * np.abs(c)
    companion[:, 0, :] /= np.where(trace, 1.0, leading)[:, None]
    doubles = np.angle(np.linalg.eigvals(companion))
    poles = np.full(a.shape, 0.5 * np.pi)
    doubles = np.concatenate([doubles, poles[:, None], -poles[:, None]], axis=1)
    energies = a[:, None] * np.sin(2 * doubles) + b[:, None] * np.sin(doubles) ** 2 + c[:, None] * np.sin(doubles)
    index = energies.argmin(axis=1)
    rows = np.arange(a.size)
    return 0.5 * doubles[rows, index], energies[rows, index]
