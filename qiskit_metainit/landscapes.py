"""The QAOA landscapes of many instances, of which only the latest few are held at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import final, overload

from qiskit_metainit.problem import Problem
from qiskit_metainit.task import Task

AMPLITUDES = 1 << 22
"""Of all landscapes held together: four of 20 qubits, a thousand of 12."""


@final
class Landscapes(Sequence[Task]):
    """Tasks of one depth, built when they are asked for and forgotten when others have been since.

    What an engine keeps of a task (50 MB at 20 qubits) is gone with it, so instances may be as many as one likes.

    Args:
        problems: the instances.
        reps: QAOA layers p.
        amplitudes: held together, at most; but always the latest landscape.
    """

    def __init__(self, problems: Sequence[Problem], reps: int, *, amplitudes: int = AMPLITUDES) -> None:
        self._problems, self._reps, self._amplitudes = problems, reps, amplitudes
        self._held: OrderedDict[int, Task] = OrderedDict()

    def __len__(self) -> int:
        return len(self._problems)

    @overload
    def __getitem__(self, row: int) -> Task: ...
    @overload
    def __getitem__(self, row: slice) -> list[Task]: ...
    def __getitem__(self, row: int | slice) -> Task | list[Task]:
        if isinstance(row, slice):
            return [self[place] for place in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        if row not in self._held:
            self._held[row] = Task.qaoa(self._problems[row].operator, reps=self._reps)
        self._held.move_to_end(row)
        while len(self._held) > 1 and sum(map(self._size, self._held)) > self._amplitudes:
            self._held.popitem(last=False)
        return self._held[row]

    def parts(self) -> Iterator[slice]:
        """Return slices that cover all rows, each of no more landscapes than are held together."""
        start, total = 0, 0
        for row in range(len(self)):
            total += self._size(row)
            if total > self._amplitudes and row > start:
                yield slice(start, row)
                start, total = row, self._size(row)
        yield slice(start, len(self))

    def _size(self, row: int) -> int:
        return 1 << self._problems[row].num_qubits
