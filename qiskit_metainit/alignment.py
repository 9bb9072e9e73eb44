"""The images of a QAOA point under its landscape's symmetries, and those among them that lie together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from qiskit_metainit.ansatz import split_point
from qiskit_metainit.features import Features

Array = NDArray[np.float64]


def align(features: Sequence[Features], points: Array, *, towards: Array | None = None) -> Array:
    """Return the images of (I, P) points, natural units, that are nearest to each other, or to a (P,) point.

    Nearest to each other are those nearest to the point that is closest to all others. Images of a point of a QAOA
    landscape have its energy:

    - all angles negated, if H is real (an even number of Y in every term);
    - a beta moved by pi/2 if every term has an even number of letters Y and Z, and by pi always;
    - a gamma moved by 2 pi natural units, if all coefficients have the same magnitude.

    What only some graphs have, such as a shorter period of gamma where all degrees are even, is left alone.

    >>> from qiskit.quantum_info import SparsePauliOp
    >>> from qiskit_metainit.features import of_qaoa
    >>> edge = of_qaoa(SparsePauliOp("ZZ"), reps=1)
    >>> align([edge, edge], np.array([[0.3, -0.5], [-0.32, 0.52]])).round(2)
    array([[-0.3 ,  0.5 ],
           [-0.32,  0.52]])
    """
    rates = np.stack([_rates(item, points.shape[1]) for item in features])
    mirrored = np.array([_real(item) for item in features])
    references = np.unique(points, axis=0) if towards is None else towards[None]
    found = (_nearest(points, rates, mirrored, reference) for reference in references)
    return min(found, key=lambda pair: pair[1])[0]


def align_cloud(features: Sequence[Features], points: Array, towards: Array) -> Array:
    """Return images of (I, P) points that are nearest to each other, at the place that is nearest to a (P,) point.

    Aligned with the point one by one, a cloud would be torn where the point lies half way between two of its images.
    """
    together = align(features, points)
    away = np.linalg.norm(together[:, None] - together[None], axis=2).sum(axis=1)
    middle = int(away.argmin())
    place = align([features[middle]], together[middle : middle + 1], towards=towards)[0]
    return align(features, points, towards=place)


def _nearest(points: Array, rates: Array, mirrored: NDArray[np.bool_], reference: Array) -> tuple[Array, float]:
    """Return the (I, P) images nearest to a reference (P,), and the sum of their squared distances."""
    images = np.stack([points, -points])
    images += np.round((reference - images) * rates) / np.where(rates > 0, rates, 1.0)
    away = ((images - reference) ** 2).sum(axis=2)
    away[1, ~mirrored] = np.inf
    chosen = away.argmin(axis=0)
    return images[chosen, np.arange(len(points))], float(away.min(axis=0).sum())


def _rates(features: Features, size: int) -> Array:
    """Return 1 / period of each of P parameters, natural units: 0 where none is known."""
    rates = torch.zeros(size, dtype=torch.float64)
    if features.ansatz == "qaoa":
        betas, gammas = split_point(rates)
        betas[:] = (2 if _even(features, (2, 3)) else 1) / math.pi
        gammas[:] = bool(torch.allclose(features.terms.weights.abs(), torch.ones(()).double())) / (2 * math.pi)
    return rates.numpy()


def _real(features: Features) -> bool:
    return features.ansatz == "qaoa" and _even(features, (2,))


def _even(features: Features, letters: Sequence[int]) -> bool:
    """Return whether every term has an even number of some letters."""
    terms = features.terms
    counted = torch.isin(terms.letter, torch.tensor(letters)).double()
    return not (torch.bincount(terms.term, counted, len(terms.weights)) % 2).any()
