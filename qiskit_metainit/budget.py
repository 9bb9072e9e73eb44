"""Circuits, jobs and shots spent: the only mutable ledger of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Budget:
    """What an engine has spent so far.

    >>> budget = Budget()
    >>> budget.add(circuits=3, shots=3000)
    >>> budget.circuits, budget.shots
    (3, 3000)
    """

    jobs: int = 0
    """Calls of a primitive's ``run``."""
    pubs: int = 0
    """PUBs sent, a circuit with all its points each."""
    circuits: int = 0
    """Circuit evaluations: one a bound point, each shifted point of a gradient included."""
    gradients: int = 0
    """Gradients that cost no extra circuit because the simulator differentiates them."""
    shots: int = 0
    """Shots taken; zero for exact engines."""

    def add(self, *, jobs: int = 0, pubs: int = 0, circuits: int = 0, gradients: int = 0, shots: int = 0) -> None:
        """Add to each count."""
        self.jobs += jobs
        self.pubs += pubs
        self.circuits += circuits
        self.gradients += gradients
        self.shots += shots

    def copy(self) -> Budget:
        """Return a snapshot."""
        return Budget(**vars(self))

    def since(self, earlier: Budget) -> Budget:
        """Return what was spent after a snapshot."""
        return Budget(**{name: count - getattr(earlier, name) for name, count in vars(self).items()})
