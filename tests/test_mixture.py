"""A family of families: every part in its share, bad parts refused by name."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from qiskit_metainit.problems.mixture import Mixture


def test_parts_come_in_their_shares(rng: np.random.Generator) -> None:
    family = Mixture(
        parts=[
            {"family": "maxcut", "settings": {"sizes": [5]}, "share": 3},
            {"family": "labs", "settings": {"sizes": [6]}},
        ]
    )
    drawn = [family.sample(rng) for _ in range(200)]
    counts = Counter(problem.family for problem in drawn)
    assert 120 < counts["maxcut"] < 180
    assert {(problem.family, problem.num_qubits) for problem in drawn} == {("maxcut", 5), ("labs", 6)}


def test_settings_rebuild_it() -> None:
    family = Mixture(parts=[{"family": "ising", "settings": {"sizes": [6], "fields": "normal"}}])
    twin = Mixture(**family.settings)
    draws = [one.sample(np.random.default_rng(3)).operator for one in (family, twin)]
    assert draws[0] == draws[1]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "one family or more"),
        ([{"settings": {}}], "must be a mapping with 'family'"),
        ([{"family": "maxcut", "weight": 2}], "must be a mapping with 'family'"),
        ([{"family": "maxcut", "share": 0}], "above zero"),
        ([{"family": "tsp"}], "no plugin 'tsp' among the problems"),
        ([{"family": "maxcut", "settings": {"sizes": [1]}}], "sizes"),
    ],
)
def test_bad_parts_are_refused(parts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(parts=parts)
