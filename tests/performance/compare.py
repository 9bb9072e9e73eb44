"""The speed comparison: ``python tests/performance/compare.py --peers VENV --json tutorials/results/engines.json``.

VENV is what ``peers/make.sh VENV`` makes; without it only the peers installed here take part.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from floor import state_bytes
from rounds import DisagreementError, Effort, compare, summary
from session import Machine, Session, SimulatorError, run_script
from simulator import PEERS, Entry, ours
from workloads import Workload, heisenberg, molecule, qaoa

VALUES = ("qokit",)
"""Peers that are compared by values only, beside this package's."""


@dataclass(frozen=True)
class Plan:
    """What is compared."""

    batches: Sequence[tuple[int, int]] = ((7, 64), (10, 64), (13, 64), (16, 64))
    """W1's (qubits, batch)."""
    singles: Sequence[int] = (18, 20, 22)
    """W1's qubits of single instances, with gradient and without."""
    chains: Sequence[tuple[int, int]] = ((8, 32), (12, 32))
    """W2's (qubits, batch)."""
    molecules: Sequence[str] = ("LiH 10 qubits", "LiH 12 qubits")
    """W3's."""
    memory: Sequence[tuple[int, tuple[str, ...]]] = ((22, ()), (20, ("lightning", "qulacs", "tensorcircuit diagonal")))
    """Qubits of W1 of which the peak memory is measured, and by which peers besides ours; at p = 2 and 8."""
    depths: Sequence[int] = (1, 2)
    """W4's p."""
    repeats: int = 3
    """Of W4."""


QUICK = Plan(((7, 8), (10, 8)), (12,), ((6, 8),), ("H2 4 qubits",), ((14, ("lightning",)),), (1,), 1)


def workloads(plan: Plan, kinds: Sequence[str]) -> Iterator[tuple[Workload, bool]]:
    """Yield each workload, and whether gradients are asked for."""
    if "W1" in kinds:
        for qubits, batch in plan.batches:
            yield qaoa(qubits, batch), True
        for qubits in plan.singles:
            yield qaoa(qubits, 1), True
            yield qaoa(qubits, 1), False
    if "W2" in kinds:
        for qubits, batch in plan.chains:
            yield heisenberg(qubits, batch), True
    if "W3" in kinds:
        for name in plan.molecules:
            yield molecule(name), True


def entries_for(workload: Workload, names: Sequence[str] | None, device: str, *, gradient: bool) -> dict[str, Entry]:
    """Return this package's engines and the peers asked for that can do this workload in reasonable time."""
    peers = {
        name: entry
        for name, entry in PEERS.items()
        if (names is None or name in names)
        and workload.qubits <= entry.sizes.get(workload.kind, 0)
        and ((name in VALUES) if not gradient else not entry.value_only)
    }
    return ours(device) | peers


def memory(qubits: int, reps: int, names: Sequence[str], machine: Machine, folder: Path) -> list[dict[str, Any]]:
    """Return the memory of one value and gradient of W1, in bytes and in statevectors of the simulator's precision.

    "call" is the peak during a call and includes what the built simulator holds ("held"); "building" is the peak while
    it is built. All are resident bytes beyond those of a process that has done the same on 10 qubits.
    """
    large, small = folder / "large.json", folder / "small.json"
    workload = qaoa(qubits, 1, reps=reps)
    workload.write(large)
    qaoa(10, 1, reps=reps).write(small)
    rows = []
    for name, entry in (ours(machine.device) | {name: PEERS[name] for name in names}).items():
        with Session(name, machine, entry.ours, folder / f"{name}.log") as session:
            try:
                used = session.ask("memory", warm=str(small), path=str(large))
            except SimulatorError as error:
                rows.append({"name": name, "qubits": qubits, "reps": reps, "missing": str(error)[:300]})
                continue
        size = state_bytes(workload, entry.precision)
        states = {key: used[key] / size for key in used}
        rows.append({"name": name, "qubits": qubits, "reps": reps, "bytes": used, "statevectors": states})
    return rows


def epochs(plan: Plan, machine: Machine) -> Iterator[dict[str, Any]]:
    """Yield W4 at each depth: ours and the extrapolated peer in turns."""
    for reps in plan.depths:
        mine: dict[str, list[dict[str, Any]]] = {"single": [], "double": []}
        peer: list[dict[str, Any]] = []
        for _ in range(plan.repeats):
            for precision, runs in mine.items():
                runs.append(run_script(machine, "epoch.py", ["ours", str(reps), precision, machine.device]))
            peer.append(run_script(machine, "epoch.py", ["aer", str(reps)]))
        deviation = max(run["deviation"] for run in peer)
        if not deviation <= 1e-6:
            raise DisagreementError(f"Losses on Aer differ from the exact ones by {deviation:.1e}: no time is stored.")
        yield {
            "name": f"W4 p={reps}",
            "kind": "W4",
            "protocol": "LSTM, 1008 graphs of 6 to 9 nodes, T = 10, batch 64: 16 gradient steps",
            "results": {
                f"statevector {precision}": {
                    "first_epoch_seconds": summary([run["first"] for run in runs]),
                    "seconds": summary([run["last"] for run in runs]),
                }
                for precision, runs in mine.items()
            }
            | {
                "aer parameter shift": {
                    "seconds": summary([run["seconds"] for run in peer]),
                    "extrapolated": "from one gradient step of 8 instances at each size",
                    "measured_seconds": summary([run["measured"] for run in peer]),
                    "deviation": deviation,
                    "ratio": _epoch_ratios(mine, peer, "last"),
                    "ratio_to_first_epoch": _epoch_ratios(mine, peer, "first"),
                }
            },
        }


def _epoch_ratios(
    mine: Mapping[str, Sequence[Mapping[str, Any]]], peer: Sequence[Mapping[str, Any]], which: str
) -> dict[str, dict[str, float]]:
    return {
        precision: summary([b["seconds"] / a[which] for a, b in zip(runs, peer, strict=True)])
        for precision, runs in mine.items()
    }


def provenance(machine: Machine, folder: Path) -> dict[str, Any]:
    """Return what the numbers depend on."""
    versions = {}
    for side, entry in (("ours", True), ("peers", False)):
        name = "statevector double" if machine.device == "cpu" else f"statevector double {machine.device}"
        with Session(name, machine, entry, folder / "versions.log") as session:
            versions[side] = session.ask("versions")
    return {
        "command": shlex.join(["python", "tests/performance/compare.py", *map(_portable, sys.argv[1:])]),
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "threads": len(machine.cores),
            "memory": psutil.virtual_memory().total,
            "system": f"{platform.system()} {platform.release()}",
            "device": torch.cuda.get_device_name() if machine.device.startswith("cuda") else "cpu",
        },
        "versions": versions,
    }


def _portable(argument: str) -> str:
    """Return an argument without this machine's folders."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def line(entry: dict[str, Any]) -> str:
    """Return an entry's figures on some lines for the terminal."""
    if "results" not in entry:
        return f"memory n={entry['qubits']} p={entry['reps']} {entry['name']}: {entry.get('statevectors', 'missing')}"
    rows = [entry["name"]]
    for name, result in entry["results"].items():
        text = f"  {name:28s} {result['seconds']['median'] * 1e6:14.1f} us"
        if "ratio" in result:
            text += "".join(f"   {key} x{value['median']:.1f}" for key, value in result["ratio"].items())
        if "times_floor" in result:
            text += f"   {result['times_floor']:.1f} times the floor"
        if "first_epoch_seconds" in result:
            text += f"   first epoch {result['first_epoch_seconds']['median']:.1f} s"
        rows.append(text)
    return "\n".join([*rows, *(f"  {name}: missing, {reason}" for name, reason in entry.get("missing", {}).items())])


def measured(
    plan: Plan, kinds: Sequence[str], names: Sequence[str] | None, machine: Machine, effort: Effort
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("workloads" or "memory", entry) as they come, each with its provenance."""
    place = "" if machine.device == "cpu" else f", ours on {machine.device}"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        origin = provenance(machine, folder)
        for workload, gradient in workloads(plan, kinds):
            entries = entries_for(workload, names, machine.device, gradient=gradient)
            result = compare(workload, entries, machine, effort, folder, gradient=gradient)
            yield "workloads", result | {"name": result["name"] + place} | origin
        if "W4" in kinds:
            for result in epochs(plan, machine):
                yield "workloads", result | {"name": result["name"] + place} | origin
        if "memory" in kinds and machine.device == "cpu":
            for qubits, others in plan.memory:
                chosen = [name for name in others if names is None or name in names]
                for reps in (2, 8):
                    for row in memory(qubits, reps, chosen, machine, folder):
                        yield "memory", row | origin


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the old entries with the new ones in their places or at the end."""
    keys = {"workloads": ("name",), "memory": ("name", "qubits", "reps")}
    result = {}
    for part, names in keys.items():
        entries = {tuple(entry[name] for name in names): entry for entry in old.get(part, [])}
        entries |= {tuple(entry[name] for name in names): entry for entry in new.get(part, [])}
        result[part] = sorted(entries.values(), key=lambda entry: [str(entry.get("kind", ""))])
    return result


def main() -> None:
    """Compare, print, and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, help="the peers' virtual environment")
    parser.add_argument("--json", type=Path, help="file to store in; entries that are not measured again stay")
    parser.add_argument("--only", action="append", choices=["W1", "W2", "W3", "W4", "memory"])
    parser.add_argument("--peer", action="append", choices=[*PEERS, "none"], help="only these peers")
    parser.add_argument("--threads", type=int, help="of both sides; by default as many as there are cores")
    parser.add_argument("--device", default="cpu", help="for this package's engine, e.g. cuda")
    parser.add_argument("--quick", action="store_true", help="small workloads, few turns: a trial")
    chosen = parser.parse_args()
    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("--device cuda needs a CUDA device and a torch that can use it, but torch finds none.")
    machine = Machine.of(chosen.threads, chosen.device, chosen.peers)
    torch.set_num_threads(len(machine.cores))  # for the bandwidth, the one thing measured in this process
    effort = Effort(turn=0.1, share=0.3, rounds=(1, 2), budget=5.0) if chosen.quick else Effort()
    kinds = chosen.only or ["W1", "W2", "W3", "W4", "memory"]
    stored = json.loads(chosen.json.read_text(encoding="utf-8")) if chosen.json and chosen.json.exists() else {}
    for part, entry in measured(QUICK if chosen.quick else Plan(), kinds, chosen.peer, machine, effort):
        print(line(entry), flush=True)
        stored = merged(stored, {part: [entry]})
        if chosen.json is not None:
            chosen.json.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
