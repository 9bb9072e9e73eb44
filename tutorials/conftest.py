"""An account for the notebook that asks for one: the loopback service of the tests, by environment variables alone."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

NOTEBOOK, BUDGET = "11_on_a_device.ipynb", 18_000
TESTS = str(Path(__file__).parents[1] / "tests")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    if item.path.name != NOTEBOOK:
        return (yield)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(sys, "path", [TESTS, *sys.path])
        from integration.loopback import CRN, TOKEN, LoopbackProcess

        service = {"devices": ("montreal",), "noisy": True, "plan": "Open", "limit_seconds": 600.0}
        with LoopbackProcess(Path(folder), **service) as server:
            account = {
                "QISKIT_IBM_CHANNEL": "ibm_quantum_platform",
                "QISKIT_IBM_TOKEN": TOKEN,
                "QISKIT_IBM_INSTANCE": CRN,
                # Others are rewritten to the service's own addresses; the client leaves one with this word as it is.
                "QISKIT_IBM_URL": f"http://experimental@127.0.0.1:{server.port}/api/v1",
            }
            for name, value in (server.environment | account).items():
                patch.setenv(name, value)
            result = yield
            assert server.shots_paid() == BUDGET, "the interrupted run cost what one run costs"
            return result
