from __future__ import annotations

import os
import zlib
from typing import Any

# Before torch is imported: two workers with two threads each would fight for two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib as mpl
import numpy as np
import pytest
from jaxtyping import install_import_hook
from qiskit_aer import AerSimulator

# Shapes are checked in the tests only, and where there are tensors: elsewhere tests pass wrong types on purpose.
install_import_hook(
    [
        f"qiskit_metainit.{name}"
        for name in (
            "features",
            "engine",
            "engines",
            "model",
            "models",
            "quantum_cell",
            "recurrent",
            "rollout",
            "training",
        )
    ],
    "beartype.beartype",
)
mpl.use("Agg")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Seeded by the test's own id, so that neither order nor neighbours matter."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture
def simulator() -> AerSimulator:
    """An Aer simulator that counts the shots it takes."""
    backend = AerSimulator(max_parallel_threads=1)
    backend.taken = []
    run = backend.run

    def counted(circuits: Any, **options: Any) -> Any:
        backend.taken.append(options["shots"] * len(circuits))
        return run(circuits, **options)

    backend.run = counted
    return backend
