"""The comparison's end of a worker: a process with its own Python, its own cores and one simulator."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


class SimulatorError(RuntimeError):
    """A simulator raised, crashed or took too long."""


@dataclass(frozen=True)
class Machine:
    """Where and on what the processes run."""

    cores: tuple[int, ...]
    """Processes are pinned to these, and start as many threads."""
    device: str = "cpu"
    """A torch device for this package's engine."""
    peers: Path | None = None
    """The peers' Python; without it this one serves for all, and whatever is not installed is left out."""

    @classmethod
    def of(cls, threads: int | None, device: str = "cpu", peers: Path | None = None) -> Machine:
        """Take the first cores this process may use, all by default, and the Python of a virtual environment."""
        cores = sorted(os.sched_getaffinity(0))[:threads]
        return cls(tuple(cores), device, None if peers is None else peers / "bin" / "python")

    def python(self, *, ours: bool) -> str:
        """Return the interpreter of this package or of a peer."""
        return sys.executable if ours or self.peers is None else str(self.peers)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process: one count of threads for all."""
        names = ("OMP", "MKL", "OPENBLAS", "NUMBA", "RAYON", "QULACS")
        return os.environ | {f"{name}_NUM_THREADS": str(len(self.cores)) for name in names}


@dataclass(eq=False)
class Session:
    """A running worker; ``with`` ends it."""

    name: str
    machine: Machine
    ours: bool
    log: Path
    """Where the worker's messages go."""
    _process: subprocess.Popen[str] = field(init=False)

    def __enter__(self) -> Session:
        cores = ",".join(map(str, self.machine.cores))
        worker = [self.machine.python(ours=self.ours), str(HERE / "worker.py"), self.name, self.machine.device, cores]
        with self.log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                worker,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.machine.environment,
                cwd=HERE,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, do: str, *, timeout: float = 600.0, **arguments: Any) -> Any:
        """Return a worker's answer.

        Raises:
            SimulatorError: if it has none, with its reason.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._crashed() from None
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            self._process.kill()
            raise SimulatorError(f"no answer within {timeout:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise self._crashed()
        reply = json.loads(line)
        if "error" in reply:
            raise SimulatorError(reply["error"])
        return reply["answer"]

    def _crashed(self) -> SimulatorError:
        messages = self.log.read_text(encoding="utf-8").strip().splitlines()
        return SimulatorError(f"ended with {self._process.wait()}: {messages[-1] if messages else 'no message'}")


def run_script(machine: Machine, script: str, arguments: Sequence[str]) -> Any:
    """Run a script of this folder with this Python and return the JSON on its last line."""
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        env=machine.environment | {"CORES": ",".join(map(str, machine.cores))},
        cwd=HERE,
        check=False,
    )
    if done.returncode:
        raise SimulatorError(f"{script} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
