"""Optimal QAOA angles of the Sherrington-Kirkpatrick model at infinite size, recomputed from the published iteration.

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

Usage: python tutorials/tables/sk_infinity.py --max-reps 10 --seed 0 --out qiskit_metainit/models/sk_infinity.json
"""

import argparse
import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
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
PERTURBATION = 0.05
NEWTON_STEPS = 3


def correlations(weight: torch.Tensor, beta: torch.Tensor, depth: int) -> list[torch.Tensor]:
    """Sums one row of G, the correlations of a spin after `depth` layers with the forward spins of those layers.

    Args:
        weight: Weights of the configurations of layers 1..depth with a_1 = +1, the latest layer leading, flat.
        beta: Mixer angle of the latest layer.
        depth: Number of layers.

    Returns:
        G_(depth+1, s) for s = 1..depth.
    """
    # sum over a of a <a_t|e^{i beta X}|a><a|e^{-i beta X}|a_-t>, which is Z in the Heisenberg picture of one mixer
    cos, isin = torch.cos(2 * beta), 1j * torch.sin(2 * beta)
    signed_mixer = torch.stack([cos + 0j, -isin, isin, -cos - 0j])
    row: list[torch.Tensor] = []
    summed = weight
    for layer in range(depth, 0, -1):
        by_layer = summed.reshape(2 if layer == 1 else 4, -1)
        if layer == depth:
            by_layer = by_layer * signed_mixer[: len(by_layer), None]
        row.append((by_layer.sum(1) * FORWARD[: len(by_layer)]).sum())
        summed = by_layer.sum(0)
    return row[::-1]


def energy(gamma: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Computes nu_p(gamma, beta), the energy per spin that QAOA reaches at infinite size.

    Args:
        gamma: The p phase angles, float64.
        beta: The p mixer angles, float64.

    Returns:
        The value, a real scalar that can be differentiated.
    """
    depth = len(gamma)
    # Fixing a_1 = +1 halves the sum, which the factor 1/2 in f makes up for.
    weight = torch.stack([torch.ones_like(gamma[0]), torch.exp(-2 * gamma[0] ** 2)]).to(torch.complex128)
    for t in range(1, depth):
        row = correlations(weight, beta[t - 1], t)
        field = torch.zeros(1, dtype=torch.complex128)
        for s in range(t):
            layer = gamma[s] * (FORWARD * row[s] - BACKWARD * row[s].conj())
            field = (layer[: 2 if s == 0 else 4, None] + field).reshape(-1)
        damping = -2 * gamma[t] ** 2
        influence = torch.stack(
            [
                torch.ones_like(field),
                torch.exp(damping - 2 * gamma[t] * field),
                torch.exp(damping + 2 * gamma[t] * field),
                torch.ones_like(field),
            ]
        )
        # <old|e^{i beta X}|new>: cos where the sign stays, i sin where it flips, conjugated on the backward branch.
        stay, flip = torch.cos(beta[t - 1]) + 0j, 1j * torch.sin(beta[t - 1])
        forward = torch.stack([stay, flip, flip, stay]).reshape(2, 2)
        mixer = torch.kron(forward, forward.conj())
        by_layer = weight.reshape(2 if t == 1 else 4, -1)
        mixed = mixer[:, : len(by_layer), None] * by_layer
        weight = (mixed.reshape(4, -1) * influence).reshape(-1)
    final = torch.stack(correlations(weight, beta[-1], depth))
    return -(gamma * (final**2).imag).sum()


def loss(point: torch.Tensor) -> torch.Tensor:
    """Computes what is minimised, -nu_p, at a point [gamma, beta]."""
    gamma, beta = point.chunk(2)
    return -energy(gamma, beta)


def loss_and_gradient(point: FloatArray) -> tuple[float, FloatArray]:
    """Computes -nu_p and its exact gradient at a point [gamma, beta]."""
    variable = torch.tensor(point, dtype=torch.float64, requires_grad=True)
    value = loss(variable)
    (gradient,) = torch.autograd.grad(value, variable)
    return value.item(), gradient.numpy()


def interpolate(angles: FloatArray) -> FloatArray:
    """Extrapolates a schedule of p angles to p + 1 (INTERP, Zhou et al. 2020, arXiv:1812.01041)."""
    depth = len(angles)
    share = np.arange(depth + 1) / depth
    stretched: FloatArray = share * np.append(0.0, angles) + (1 - share) * np.append(angles, 0.0)
    return stretched


def polish(point: FloatArray) -> FloatArray:
    """Takes Newton steps to the stationary point next to `point`.

    A line search compares values, which leaves sqrt(machine epsilon) in the angles; Newton compares gradients.

    Raises:
        RuntimeError: If the point is no strict local minimum of the loss.
    """
    for _ in range(NEWTON_STEPS):
        variable = torch.tensor(point, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(variable), variable, create_graph=True)
        rows = [torch.autograd.grad(component, variable, retain_graph=True)[0] for component in gradient]
        hessian = torch.stack(rows).numpy()
        if np.linalg.eigvalsh(hessian)[0] <= 0:
            raise RuntimeError("the optimiser stopped at a point where the Hessian is not definite")
        point = point - np.linalg.solve(hessian, gradient.detach().numpy())
    return point


def optimise(start: FloatArray, restarts: int, rng: np.random.Generator) -> FloatArray:
    """Finds the best point near `start`.

    Args:
        start: The point [gamma, beta] to start from.
        restarts: Number of further, perturbed starts, which show whether `start` led to the best basin around it.
        rng: Where the perturbations come from.

    Returns:
        The optimum.
    """
    best, best_value = start, np.inf
    for attempt in range(restarts + 1):
        shifted = start + PERTURBATION * rng.standard_normal(len(start)) if attempt else start
        found = scipy.optimize.minimize(loss_and_gradient, shifted, jac=True, method="BFGS", options={"gtol": 1e-7})
        # Within rounding, the unperturbed start keeps its place, so that the table does not hang on the seed.
        if found.fun < best_value - 1e-9:
            if attempt:
                print(f"  perturbed start {attempt} is better by {best_value - found.fun:.2e}", file=sys.stderr)
            best, best_value = found.x, found.fun
    return polish(best)


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
            point = optimise(start, arguments.restarts, rng)
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
