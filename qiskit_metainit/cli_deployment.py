"""The commands that run on backends: solve, plan, runs and resume."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qiskit_metainit.terminal import messages, progress_bar, say, show

if TYPE_CHECKING:
    from qiskit_metainit.solve import Solution


class Optimizer(StrEnum):
    """Classical optimisers of qiskit-algorithms, or none."""

    COBYLA = "cobyla"
    SPSA = "spsa"
    L_BFGS_B = "l_bfgs_b"
    NELDER_MEAD = "nelder_mead"
    NONE = "none"


class Mode(StrEnum):
    """How jobs run on IBM Quantum."""

    JOB = "job"
    BATCH = "batch"
    SESSION = "session"


Graph = Annotated[Path, typer.Argument(help="An edge list (.txt .edgelist .csv), JSON node-link or GML file.")]
Reps = Annotated[int, typer.Option(help="QAOA layers p.", min=1)]
Initializer = Annotated[str, typer.Option(help="A shipped initializer or an artifact's folder.")]
Backend = Annotated[
    str, typer.Option(help="aer, the snapshot of a device such as fake_fez, or one of your account such as ibm_fez.")
]
Simulate = Annotated[bool, typer.Option("--simulate", help="Simulate the backend's noise instead of running there.")]
Noise = Annotated[str | None, typer.Option(help="The same as --backend, for a fake device.")]
Shots = Annotated[
    int | None, typer.Option(help="The whole run's budget, final sampling included; by default no limit.", min=1)
]
Jobs = Annotated[int | None, typer.Option(help="Most jobs of the run; by default no limit.", min=1)]
QpuSeconds = Annotated[float | None, typer.Option(help="Most QPU seconds charged; by default what is left.", min=1)]
ShotsPerEval = Annotated[int, typer.Option(help="Shots of every circuit evaluation.", min=1)]
FirstShots = Annotated[
    int | None, typer.Option(help="Shots of the first evaluation, growing to --shots-per-eval.", min=1)
]
Evaluations = Annotated[int, typer.Option(help="The optimizer's most iterations; of COBYLA evaluations.", min=1)]
OptimizerName = Annotated[
    Optimizer, typer.Option(help="Of qiskit-algorithms; none spends all of --shots on sampling the start.")
]
ReadoutShots = Annotated[
    int, typer.Option(help="Shots of each of two circuits that calibrate the readout, to take its errors out.", min=0)
]
Resilience = Annotated[
    int | None,
    typer.Option(
        help="Measure energies by IBM's Estimator at this resilience level, which mitigates errors for more shots; "
        "by default they are averages of outcomes.",
        min=0,
        max=2,
    ),
]
RunMode = Annotated[Mode, typer.Option(help="On IBM Quantum: single jobs, a batch, or a session (not on Open plans).")]
LedgerFile = Annotated[
    Path | None,
    typer.Option(envvar="METAINIT_LEDGER", help="Where runs are kept; by default .qiskit-metainit at home."),
]
Seed = Annotated[int, typer.Option(help="Of the optimizer, and of the shot noise of simulators.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]


def solve(
    graph: Graph,
    reps: Reps = 2,
    initializer: Initializer = "qaoa",
    backend: Backend = "aer",
    shots: Shots = None,
    jobs: Jobs = None,
    qpu_seconds: QpuSeconds = None,
    shots_per_eval: ShotsPerEval = 1024,
    first_shots: FirstShots = None,
    evaluations: Evaluations = 60,
    optimizer: OptimizerName = Optimizer.COBYLA,
    readout_shots: ReadoutShots = 0,
    resilience: Resilience = None,
    mode: RunMode = Mode.JOB,
    simulate: Simulate = False,
    noise: Noise = None,
    ledger: LedgerFile = None,
    seed: Seed = 0,
    compare: Annotated[bool, typer.Option(help="Compare with random starts afterwards, by exact simulation.")] = True,
    as_json: AsJson = False,
) -> None:
    """Solve MaxCut on your own graph with QAOA, from a learned start, within a budget."""
    from qiskit_metainit import solve
    from qiskit_metainit.budget import ShotBudget
    from qiskit_metainit.deployment import LEDGER
    from qiskit_metainit.problems.maxcut import MaxCut

    problem = MaxCut.from_file(graph)
    chosen = _opened(_device(backend, noise), simulate, problem.num_qubits)
    with _resumable(ledger or LEDGER), progress_bar() as update:
        found = solve.solve(
            problem,
            reps=reps,
            initializer=initializer,
            optimizer=optimizer.value,
            budget=ShotBudget(shots=shots, jobs=jobs, qpu_seconds=qpu_seconds),
            shots_per_evaluation=_schedule(first_shots, shots_per_eval, evaluations),
            evaluations=evaluations,
            readout_shots=readout_shots,
            backend=chosen,
            ledger=ledger or LEDGER,
            seed=seed,
            channel=_channel(chosen, mode, resilience),
            compare=compare,
            progress=update,
        )
    _tell(found, as_json=as_json, title=f"{graph.name}: {found.problem.num_qubits} nodes, p = {reps}")


def plan(
    graph: Graph,
    reps: Reps = 2,
    initializer: Initializer = "qaoa",
    backend: Backend = "aer",
    shots: Shots = None,
    jobs: Jobs = None,
    qpu_seconds: QpuSeconds = None,
    shots_per_eval: ShotsPerEval = 1024,
    first_shots: FirstShots = None,
    evaluations: Evaluations = 60,
    optimizer: OptimizerName = Optimizer.COBYLA,
    readout_shots: ReadoutShots = 0,
    resilience: Resilience = None,
    mode: RunMode = Mode.JOB,
    simulate: Simulate = False,
    noise: Noise = None,
    as_json: AsJson = False,
) -> None:
    """Tell what `metainit solve` with the same options would cost; nothing is submitted."""
    from qiskit_metainit.budget import ShotBudget
    from qiskit_metainit.deployment import Deployment
    from qiskit_metainit.problems.maxcut import MaxCut
    from qiskit_metainit.solve import chosen_optimizer

    problem = MaxCut.from_file(graph)
    chosen = _opened(_device(backend, noise), simulate, problem.num_qubits)
    budget = ShotBudget(shots=shots, jobs=jobs, qpu_seconds=qpu_seconds)
    with Deployment(chosen, budget, channel=_channel(chosen, mode, resilience)) as deployment:
        made = deployment.plan(
            problem,
            reps=reps,
            initializer=initializer,
            optimizer=chosen_optimizer(optimizer.value, evaluations, problem),
            shots_per_evaluation=_schedule(first_shots, shots_per_eval, evaluations),
            readout_shots=readout_shots,
        )
    if as_json:
        typer.echo(json.dumps(made.as_json(), indent=1))
        return
    show(
        [["", ""], *made.rows()],
        f"{graph.name}: {problem.num_qubits} nodes, p = {reps}, on {made.backend}",
        header=False,
    )
    for sentence in made.sentences:
        say(f"- {sentence}")
    say("Nothing was submitted.")


def runs(ledger: LedgerFile = None, as_json: AsJson = False) -> None:
    """List the runs that are kept, the latest last."""
    from qiskit_metainit.deployment import LEDGER, Ledger

    path = ledger or LEDGER
    if not path.exists():
        if as_json:
            typer.echo("[]")
        else:
            say(f"There are no runs in {path} yet.")
        return
    with Ledger(path) as kept:
        spent = {record.id: kept.spent(record.id) for record in kept.runs()}
        records = kept.runs()
    if as_json:
        content = [
            {
                "run": record.id,
                "state": record.state,
                "backend": record.backend,
                "created": record.created,
                "shots_spent": spent[record.id].shots,
                "jobs": spent[record.id].jobs,
                "qpu_seconds": spent[record.id].qpu_seconds,
            }
            for record in records
        ]
        typer.echo(json.dumps(content, indent=1))
        return
    rows = [["run", "begun", "state", "backend", "qubits", "p", "jobs", "shots"]]
    for record in records:
        begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created))
        qubits, reps = record.settings["operator"]["num_qubits"], record.settings["reps"]
        known = spent[record.id]
        numbers = [str(number) for number in (qubits, reps or "", known.jobs, known.shots)]
        rows.append([record.id, begun, record.state, record.backend, *numbers])
    show(rows, str(path))
    if any(record.state == "running" for record in records):
        say("A run in the state running goes on with `metainit resume RUN`, unless it is going on elsewhere.")


def resume(
    run: Annotated[str, typer.Argument(help="Its id (metainit runs), or the beginning of it.")],
    ledger: LedgerFile = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was interrupted; what it has received is not paid for again."""
    from qiskit_metainit.deployment import LEDGER, Deployment, Ledger, named_backend
    from qiskit_metainit.deployment.stored import from_json
    from qiskit_metainit.solve import solution

    path = ledger or LEDGER
    if not path.exists():
        raise ValueError(f"A ledger with the run {run} is needed, but there is none at {path}. Give its --ledger.")
    with Ledger(path) as kept:
        record = kept.record(run)
    chosen = named_backend(record.backend)
    workload = from_json(record.settings)
    made = Deployment(chosen, ledger=path)
    with made as deployment, _resumable(path, record.id), progress_bar() as update:
        most = sum(workload.groups() or ()) or 1
        done = deployment.resume(record.id, progress=lambda count, _: update("evaluations", count, max(count, most)))
        update("evaluations", len(done.energies), max(len(done.energies), 1))
        name = record.settings["initializer"] or "qaoa"
        found = solution(workload.problem, done, chosen, name, compare=False, progress=update)
    title = f"run {record.id}: {workload.problem.num_qubits} qubits" + (
        f", p = {workload.reps}" if workload.reps else ""
    )
    _tell(found, as_json=as_json, title=title)


@contextmanager
def _resumable(path: Path, run: str | None = None) -> Iterator[None]:
    """Name the run, the one that was begun here if none is given, when the user interrupts it."""
    began = time.time()
    try:
        yield
    except KeyboardInterrupt:
        from qiskit_metainit.deployment import Ledger

        told = "Nothing was sent yet."
        with Ledger(path if path.exists() else None) as kept:
            for record in kept.runs():
                if record.id == run or (run is None and record.created >= began):
                    goes_on = "goes on" if record.state == "running" else "shows its end"
                    told = f"What came is kept: `metainit resume {record.id}` {goes_on}."
        messages.print(f"Interrupted. {told}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None


def _device(backend: str, noise: str | None) -> str:
    if noise is not None and backend not in ("aer", noise):
        raise ValueError(f"One backend is needed, but --backend {backend} and --noise {noise} came. Leave out --noise.")
    return noise or backend


def _opened(name: str, simulate: bool, num_qubits: int) -> Any:
    from qiskit_metainit.deployment import named_backend, simulated

    backend = named_backend(name)
    return simulated(backend, num_qubits) if simulate else backend


def _channel(backend: Any, mode: Mode, resilience: int | None) -> Any:
    from qiskit_metainit.deployment.channels.naming import recorded_channel

    estimator = None if resilience is None else {"resilience_level": resilience}
    return recorded_channel(backend, {"mode": mode.value, "estimator": estimator})


def _schedule(first: int | None, last: int, evaluations: int) -> Any:
    from qiskit_metainit.deployment import ShotSchedule

    return ShotSchedule(last) if first is None else ShotSchedule(first, last, over=evaluations)


def _tell(found: Solution, *, as_json: bool, title: str) -> None:
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1))
        return
    run, problem = found.run, found.problem
    rows = [["", ""]]
    if found.value is not None:
        rows += [["best cut sampled", f"{found.value:g}"]]
        rows += [[f"side {bit}", ", ".join(map(str, side))] for bit, side in enumerate(found.partition)]
    if run.energies.size:
        rows += [
            ["first expected cut measured", f"{problem.value(float(run.energies[0])):.3f}"],
            ["best expected cut measured", f"{problem.value(float(run.energies.min())):.3f}"],
        ]
    if run.energy is not None:
        rows.append(["expected cut of the final sampling", f"{problem.value(run.energy):.3f}"])
    counts = {"evaluations": len(run.energies), "jobs": run.spent.jobs, "shots spent": run.shots_spent}
    rows += [[name, str(count)] for name, count in counts.items()]
    if run.spent.qpu_seconds:
        rows.append(["QPU seconds", f"{run.spent.qpu_seconds:.1f}"])
    show([*rows, ["run", run.id]], title, header=False)
    for sentence in found.verdict:
        say(f"- {sentence}")
