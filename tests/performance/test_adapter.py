from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from qiskit import QuantumCircuit
from qiskit.circuit.library import qaoa_ansatz
from qiskit.primitives import BasePrimitiveJob, BaseSamplerV2, BitArray, DataBin, PrimitiveResult, SamplerPubResult
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.backends import fake_backend
from qiskit_metainit.deployment.adapters.isa import IsaCheck
from qiskit_metainit.deployment.adapters.layout import layout_safe


class Instant(BaseSamplerV2):
    """Answers at once, with zeros: what is left is the adapter."""

    def __init__(self, check: IsaCheck) -> None:
        self.check = check

    def run(self, pubs: Any, *, shots: int | None = None) -> BasePrimitiveJob[Any, Any]:
        results = []
        for circuit, points, count in pubs:
            self.check(circuit, points)
            bits = np.zeros(
                (*np.shape(points)[:-1], count or shots or 0, (circuit.num_clbits + 7) // 8), dtype=np.uint8
            )
            data = DataBin(c=BitArray(bits, circuit.num_clbits), shape=bits.shape[:-2])
            results.append(SamplerPubResult(data))
        return Done(PrimitiveResult(results))


class Done(BasePrimitiveJob[Any, Any]):
    def __init__(self, result: Any) -> None:
        super().__init__("done")
        self._result = result

    def result(self) -> Any:
        return self._result

    def status(self) -> None:
        return None

    done = running = cancelled = in_final_state = cancel = status


@pytest.mark.benchmark
@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("reps", [1, 2, 3])
def test_an_evaluation_through_the_adapter(benchmark: BenchmarkFixture, size: int, reps: int) -> None:
    """A bound circuit with two registers, as the QAOA of qiskit_algorithms sends it, and the check of the target."""
    graph = nx.random_regular_graph(3, size, seed=1)
    cost = SparsePauliOp.from_sparse_list([("ZZ", pair, 0.5) for pair in graph.edges], size)
    ansatz = qaoa_ansatz(cost, reps=reps)
    opaque = QuantumCircuit(size)
    opaque.append(ansatz.to_gate(), range(size))
    opaque.measure_all()
    opaque.measure_all()
    rng = np.random.default_rng(0)
    backend = fake_backend("fake_fez")
    sampler = layout_safe(Instant(IsaCheck.of(backend)), backend, seeds=1)

    def bound() -> tuple[tuple[QuantumCircuit], dict[str, Any]]:
        return (opaque.assign_parameters(rng.uniform(-1, 1, 2 * reps)),), {}

    def evaluation(circuit: QuantumCircuit) -> None:
        sampler.run([circuit], shots=1024).result()

    benchmark.pedantic(evaluation, setup=bound, rounds=50, warmup_rounds=1)
    assert sampler.transpilations == 1
