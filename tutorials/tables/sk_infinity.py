"""Optimal QAOA angles of the Sherrington-Kirkpatrick model at infinite size, recomputed from the published iteration.

The iteration below also takes trees of finite degree, which fixed_angles.py maximises.

Source: Basso, Farhi, Marwaha, Villalonga, Zhou, "The Quantum Approximate Optimization Algorithm at High Depth for
MaxCut on Large-Girth Regular Graphs and the Sherrington-Kirkpatrick Model" (2022, arXiv:2110.14206), the iteration in
the limit of infinite degree; its value equals the energy of Farhi, Goldstone, Gutmann, Zhou (2022, arXiv:1910.08187).
For a configuration a = (a_1, ..., a_p, a_0, a_-p, ..., a_-1) of signs and
Gamma = (gamma_1, ..., gamma_p, 0, -gamma_p, ..., -gamma_1),

    f(a) = 1/2 <a_1|e^{i beta_1 X}|a_2> ... <a_p|e^{i beta_p X}|a_0>
               <a_0|e^{-i beta_p X}|a_-p> ... <a_-2|e^{-i beta_1 X}|a_-1>
    G_jk = sum_a f(a) a_j a_k exp(-1/2 sum_lm G_lm Gamma_l Gamma_m a_l a_m)    (fixed point, reached in p rounds)
    nu_p = i/2 sum_j Gamma_j G_0j^2                                            (energy per spin, maximised)

What makes it cheap: layers after the later of two times cancel between the forward and the backward branch, so for
|k| < t the entries G_(t,k) = G_(-t,k) need layers 1..t-1 only, G_(t,-t) = 1, and G_(t,-k) = conj G_(t,k). Hence G is
filled row by row, in one pass, with no rounds to repeat, and layer t multiplies a running weight over configurations
by exp(-(gamma_t d_t)^2 / 2 - gamma_t d_t L_t), with d_t = a_t - a_-t and

    L_t = sum_(s<t) gamma_s (a_s G_ts - a_-s conj G_ts).

The weight is even under a -> -a, so a_1 = +1 is fixed. L_t is an outer sum over layers and the sums over configurations
close one layer at a time, so that both are geometric series: a gradient costs O(4^p), without the p^2.

Trees on which each vertex has D + 1 neighbours need no further idea. There, with Gamma . ab = sum_j Gamma_j a_j b_j,

    H(a) = (sum_b f(b) H(b) cos(Gamma . ab / sqrt(D)))^D                       (fixed point, reached in p rounds)
    nu_p = i sqrt(D)/2 sum_ab a_0 b_0 f(a) f(b) H(a) H(b) sin(Gamma . ab / sqrt(D))

takes the place of G and exp(-1/2 sum ...), its limit. Layers cancel as before: the sum B(a) in the brackets (a branch)
stays where a_t = a_-t, and otherwise layer t makes it B cos(2 gamma_t / sqrt(D)) -+ S_t sin(2 gamma_t / sqrt(D)) with

    S_t(a) = sum_b f(b) H(b) (b_t after the mixer) sin(sum_(s<t) gamma_s (a_s b_s - a_-s b_-s) / sqrt(D)),

of which L_t is the limit times sqrt(D). The kernel depends on the product ab only, so that S_t is a convolution over
the group of signs: a Walsh-Hadamard transform, a product, and another one, O(p 4^p) in all.

Usage: python tutorials/tables/sk_infinity.py --max-reps 10 --seed 0 --out qiskit_metainit/models/sk_infinity.json
"""

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.optimize
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SOURCE = (
    "Basso, Farhi, Marwaha, Villalonga, Zhou (2022), 'The Quantum Approximate Optimization Algorithm at High Depth for "
    "MaxCut on Large-Girth Regular Graphs and the Sherrington-Kirkpatrick Model', arXiv:2110.14206: nu_p(gamma, beta) "
    "from the iteration for G in the limit of infinite degree; recomputed and maximised by our own code"
)
# The signs (a_t, a_-t) of one layer, in the order in which they are indexed everywhere below: ++, +-, -+, --.
FORWARD = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.complex128)
BACKWARD = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.complex128)
HADAMARD = torch.as_tensor(scipy.linalg.hadamard(16), dtype=torch.complex128)  # its corners are the smaller ones
PERTURBATION = 0.05
NEWTON_STEPS = 3


def closed(weight: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Weights configurations by the sign of the spin after the mixer of their latest layer, where the branches meet.

    Args:
        weight: Weights of the configurations of layers 1..t with a_1 = +1, the latest layer leading, flat.
        beta: Mixer angle of the latest layer.
    """
    # sum over a of a <a_t|e^{i beta X}|a><a|e^{-i beta X}|a_-t>, which is Z in the Heisenberg picture of one mixer
    cos, isin = torch.cos(2 * beta), 1j * torch.sin(2 * beta)
    signed_mixer = torch.stack([cos + 0j, -isin, isin, -cos - 0j])
    by_layer = weight.reshape(4 if len(weight) > 2 else 2, -1)
    return (by_layer * signed_mixer[: len(by_layer), None]).reshape(-1)


def correlations(signed: torch.Tensor, depth: int) -> list[torch.Tensor]:
    """Sums one row of G, the correlations of a spin after `depth` layers with the forward spins of those layers.

    Args:
        signed: What `closed` gives.
        depth: Number of layers.

    Returns:
        G_(depth+1, s) for s = 1..depth.
    """
    row: list[torch.Tensor] = []
    for layer in range(depth, 0, -1):
        by_layer = signed.reshape(2 if layer == 1 else 4, -1)
        row.append((by_layer.sum(1) * FORWARD[: len(by_layer)]).sum())
        signed = by_layer.sum(0)
    return row[::-1]


class InfiniteTree:
    """The influence of infinitely many neighbours: exp(-1/2 sum_lm G_lm Gamma_l Gamma_m a_l a_m)."""

    def __init__(self, gamma: torch.Tensor) -> None:
        self.gamma = gamma
        self.exponent = torch.stack([torch.zeros_like(gamma[0]), -2 * gamma[0] ** 2]).to(torch.complex128)

    def influence(self) -> torch.Tensor:
        """Returns H(a) of the configurations of the layers so far."""
        return torch.exp(self.exponent)

    def grow(self, signed: torch.Tensor, depth: int) -> None:
        """Adds layer `depth` + 1."""
        field = torch.zeros(1, dtype=torch.complex128)
        for s, row in enumerate(correlations(signed, depth)):
            layer = self.gamma[s] * (FORWARD * row - BACKWARD * row.conj())
            field = (layer[: 2 if s == 0 else 4, None] + field).reshape(-1)
        gamma = self.gamma[depth]
        flipped = self.exponent - 2 * gamma**2
        parts = [self.exponent, flipped - 2 * gamma * field, flipped + 2 * gamma * field, self.exponent]
        self.exponent = torch.cat(parts)

    def value(self, signed: torch.Tensor) -> torch.Tensor:
        """Returns nu_p."""
        final = torch.stack(correlations(signed, len(self.gamma)))
        return -(self.gamma * (final**2).imag).sum()


class FiniteTree:
    """The influence of D = `degree` - 1 neighbours, as `InfiniteTree`."""

    def __init__(self, gamma: torch.Tensor, degree: int) -> None:
        self.others = degree - 1
        self.gamma = gamma / math.sqrt(self.others)
        self.branch = torch.stack([torch.ones_like(gamma[0]), torch.cos(2 * self.gamma[0])]).to(torch.complex128)

    def influence(self) -> torch.Tensor:
        """Returns H(a) of the configurations of the layers so far."""
        return math.prod([self.branch] * self.others)

    def grow(self, signed: torch.Tensor, depth: int) -> None:
        """Adds layer `depth` + 1."""
        gamma = 2 * self.gamma[depth]
        flipped, field = torch.cos(gamma) * self.branch, torch.sin(gamma) * self._sines(signed, depth)
        self.branch = torch.cat([self.branch, flipped - field, flipped + field, self.branch])

    def value(self, signed: torch.Tensor) -> torch.Tensor:
        """Returns nu_p."""
        total = (signed * self._sines(signed, len(self.gamma))).sum()
        return -0.5 * math.sqrt(self.others) * total.imag

    def _sines(self, signed: torch.Tensor, depth: int) -> torch.Tensor:
        """Returns S(a) = sum_b signed(b) sin(sum_s gamma_s (a_s b_s - a_-s b_-s)) for all a."""
        kernel = torch.exp(1j * self.gamma[:1])  # of a_1 b_1 = +1
        for s in range(depth):
            cos, isin = torch.cos(self.gamma[s]) + 0j, 1j * torch.sin(self.gamma[s])
            forward, backward = torch.stack([cos, isin]), torch.stack([cos, -isin])
            kernel = torch.kron(backward if s == 0 else torch.kron(forward, backward), kernel)
        # The transform of a complex conjugate is the conjugate: that of the sine is the imaginary part.
        return hadamard(hadamard(signed) * kernel.imag)


def hadamard(values: torch.Tensor) -> torch.Tensor:
    """Returns the Walsh-Hadamard transform of a power of two of numbers."""
    bits = len(values).bit_length() - 1
    while bits:
        # The last few bits are transformed and become the first ones; after all bits each is back at its place.
        group = min(bits, 4)
        values = (values.reshape(-1, 2**group) @ HADAMARD[: 2**group, : 2**group]).T.reshape(-1)
        bits -= group
    return values


def energy(gamma: torch.Tensor, beta: torch.Tensor, degree: float = math.inf) -> torch.Tensor:
    """Computes nu_p(gamma, beta), the energy per spin that QAOA reaches at infinite size.

    Args:
        gamma: The p phase angles, float64.
        beta: The p mixer angles, float64.
        degree: Neighbours of each vertex of a tree; infinitely many are the Sherrington-Kirkpatrick model.

    Returns:
        The value, a real scalar that can be differentiated.
    """
    tree = InfiniteTree(gamma) if math.isinf(degree) else FiniteTree(gamma, int(degree))
    # Fixing a_1 = +1 halves the sums, which the factor 1/2 in f makes up for.
    mixed = torch.ones(2, dtype=torch.complex128)
    for t in range(1, len(gamma)):
        tree.grow(closed(mixed * tree.influence(), beta[t - 1]), t)
        # <old|e^{i beta X}|new>: cos where the sign stays, i sin where it flips, conjugated on the backward branch.
        stay, flip = torch.cos(beta[t - 1]) + 0j, 1j * torch.sin(beta[t - 1])
        forward = torch.stack([stay, flip, flip, stay]).reshape(2, 2)
        mixer = torch.kron(forward, forward.conj())
        by_layer = mixed.reshape(2 if t == 1 else 4, -1)
        mixed = (mixer[:, : len(by_layer), None] * by_layer).reshape(-1)
    return tree.value(closed(mixed * tree.influence(), beta[-1]))


def loss(point: torch.Tensor, degree: float = math.inf) -> torch.Tensor:
    """Computes what is minimised, -nu_p, at a point [gamma, beta]."""
    gamma, beta = point.chunk(2)
    return -energy(gamma, beta, degree)


def loss_and_gradient(point: FloatArray, degree: float = math.inf) -> tuple[float, FloatArray]:
    """Computes -nu_p and its exact gradient at a point [gamma, beta]."""
    variable = torch.tensor(point, dtype=torch.float64, requires_grad=True)
    value = loss(variable, degree)
    (gradient,) = torch.autograd.grad(value, variable)
    return value.item(), gradient.numpy()


def interpolate(angles: FloatArray) -> FloatArray:
    """Extrapolates a schedule of p angles to p + 1 (INTERP, Zhou et al. 2020, arXiv:1812.01041)."""
    depth = len(angles)
    share = np.arange(depth + 1) / depth
    stretched: FloatArray = share * np.append(0.0, angles) + (1 - share) * np.append(angles, 0.0)
    return stretched


def polish(point: FloatArray, degree: float = math.inf) -> FloatArray:
    """Takes Newton steps to the stationary point next to `point`.

    A line search compares values, which leaves sqrt(machine epsilon) in the angles; Newton compares gradients.

    Raises:
        RuntimeError: If the point is no strict local minimum of the loss.
    """
    for _ in range(NEWTON_STEPS):
        variable = torch.tensor(point, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(variable, degree), variable, create_graph=True)
        rows = [torch.autograd.grad(component, variable, retain_graph=True)[0] for component in gradient]
        hessian = torch.stack(rows).numpy()
        if np.linalg.eigvalsh(hessian)[0] <= 0:
            raise RuntimeError("the optimiser stopped at a point where the Hessian is not definite")
        point = point - np.linalg.solve(hessian, gradient.detach().numpy())
    return point


def optimise(starts: Sequence[FloatArray], degree: float = math.inf) -> FloatArray:
    """Finds the best point near some.

    Args:
        starts: Points [gamma, beta]. The later ones show whether the first led to the best basin around.
        degree: As in `energy`.

    Returns:
        The optimum.
    """
    best, best_value = starts[0], np.inf
    for attempt, start in enumerate(starts):
        found = scipy.optimize.minimize(
            loss_and_gradient, start, args=(degree,), jac=True, method="BFGS", options={"gtol": 1e-7}
        )
        # Within rounding, the first start keeps its place, so that the table does not hang on a seed.
        if found.fun < best_value - 1e-9:
            if attempt:
                print(f"  start {attempt} is better by {best_value - found.fun:.2e}", file=sys.stderr)
            best, best_value = found.x, found.fun
    return polish(best, degree)


def main() -> None:
    """Computes the table depth by depth and writes it after each one."""
    parser = argparse.ArgumentParser(description="Optimal QAOA angles of the SK model at infinite size.")
    parser.add_argument("--max-reps", type=int, default=10, help="largest depth p")
    parser.add_argument("--seed", type=int, default=0, help="seed of the perturbed starts")
    parser.add_argument("--restarts", type=int, default=2, help="perturbed starts per depth, besides INTERP's")
    parser.add_argument("--out", type=Path, default=Path("qiskit_metainit/models/sk_infinity.json"))
    arguments = parser.parse_args()

    # One core: the tensors are too small for more to help, and the result does not depend on a thread count.
    torch.set_num_threads(1)
    rng = np.random.default_rng(arguments.seed)
    depths: dict[str, dict[str, list[float] | float]] = {}
    table = {
        "source": SOURCE,
        "command": (
            f"python tutorials/tables/sk_infinity.py --max-reps {arguments.max_reps} --seed {arguments.seed}"
            f" --restarts {arguments.restarts} --out {arguments.out}"
        ),
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "numpy", "scipy")},
        },
        "depths": depths,
    }
    point = np.array([0.5, np.pi / 8])  # p = 1 in closed form: nu_1 = gamma sin(4 beta) exp(-2 gamma^2)
    for reps in range(1, arguments.max_reps + 1):
        started = time.perf_counter()
        if reps > 1:
            gamma, beta = np.split(point, 2)
            start = np.concatenate([interpolate(gamma), interpolate(beta)])
            shifts = PERTURBATION * rng.standard_normal((arguments.restarts, len(start)))
            point = optimise([start, *(start + shifts)])
        value, gradient = loss_and_gradient(point)
        gamma, beta = np.split(point, 2)
        depths[str(reps)] = {
            "gamma": [round(float(angle), 10) for angle in gamma],
            "beta": [round(float(angle), 10) for angle in beta],
            "energy": round(-value, 10),
        }
        arguments.out.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
        print(
            f"p={reps} energy {-value:.10f} largest gradient {np.abs(gradient).max():.1e}"
            f" {time.perf_counter() - started:.1f} s",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    main()
