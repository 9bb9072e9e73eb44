from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """A loopback service with the module's DEVICES, and the client's service that talks to it."""
    from integration.loopback import Loopback

    with Loopback(tmp_path_factory.mktemp("jobs"), devices=request.module.DEVICES) as server:
        yield server, server.service()


@pytest.fixture
def server(shared: tuple[Any, Any]) -> Any:
    """The loopback service, without planned faults."""
    shared[0].clear()
    return shared[0]


@pytest.fixture
def service(shared: tuple[Any, Any]) -> Any:
    """The client's service."""
    return shared[1]


@pytest.fixture
def backend(request: pytest.FixtureRequest, service: Any) -> Any:
    """The first of the module's DEVICES."""
    return service.backend(request.module.DEVICES[0])
