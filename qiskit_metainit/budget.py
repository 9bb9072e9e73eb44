"""What was spent, and what may be: circuits, jobs, shots and QPU seconds."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real


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


@dataclass(frozen=True)
class ShotBudget:
    """What a run on a backend may spend at most. None: no limit.

    Raises:
        TypeError: if a limit is not a number.
        ValueError: if a limit is not positive, or shots or jobs are not whole.

    >>> ShotBudget(shots=20_000, jobs=30)
    ShotBudget(shots=20000, jobs=30, qpu_seconds=None)
    """

    shots: int | None = None
    """Of all jobs together: the proposal's queries, the optimisation and the final sampling."""
    jobs: int | None = None
    """Submissions that the backend accepts."""
    qpu_seconds: float | None = None
    """Charged by the service; a simulator charges none."""

    def __post_init__(self) -> None:
        """Check the limits."""
        for name, limit in vars(self).items():
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, Real)):
                raise TypeError(f"A number is needed, but {name}={limit!r} came. Leave it out for no limit.")
            if limit is not None and not float(limit) > 0:
                raise ValueError(f"A positive limit is needed, but {name}={limit} came. Leave it out for no limit.")
        for name in ("shots", "jobs"):
            limit = getattr(self, name)
            if limit is not None and int(limit) != limit:
                raise ValueError(f"A whole number of {name} is needed, but {name}={limit} came.")
            object.__setattr__(self, name, limit if limit is None else int(limit))
