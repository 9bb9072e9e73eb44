"""`metainit evaluate` and `metainit card`: what initializers are worth, from the command line."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qiskit_metainit.terminal import console, numbers, progress_bar, say, settings, show, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qiskit_metainit.comparison import Comparison
    from qiskit_metainit.held_out import Instances
    from qiskit_metainit.problem import Problem

# As in ``cli``: what takes long to import is imported where it runs.


def evaluate(
    initializers: Annotated[
        list[str], typer.Argument(help="Shipped names, artifact folders or models without weights.")
    ],
    reps: Annotated[str, typer.Option(help="QAOA layers: 2, or 1,2,3 or 1-8 for a table each.")] = "2",
    problem: Annotated[str, typer.Option(help="A problem family (metainit list).")] = "maxcut",
    sizes: Annotated[str | None, typer.Option(help="Numbers of qubits of the held-out instances; 10-12.")] = None,
    graphs: Annotated[str | None, typer.Option(help="Of maxcut: erdos_renyi, regular, complete, sparse, ..")] = None,
    weights: Annotated[str | None, typer.Option(help="Of maxcut: unit, uniform, exponential, normal, ..")] = None,
    problem_setting: Annotated[
        list[str] | None, typer.Option(help="Any setting of the family, KEY=JSON; repeatable.")
    ] = None,
    on: Annotated[Path | None, typer.Option(help="Compare on every graph file of this folder instead.")] = None,
    instances: Annotated[int, typer.Option(help="Held-out instances.", min=2)] = 40,
    random_starts: Annotated[int, typer.Option(help="Random starts an instance.", min=1)] = 20,
    random_searches: Annotated[
        int | None, typer.Option(help="How many of them are searched for the best optimum too; by default all.", min=0)
    ] = None,
    optimizers: Annotated[
        str, typer.Option(help="That run from every start: cobyla, l_bfgs_b, spsa; of VQE cobyla, l_bfgs_b, adam.")
    ] = "cobyla",
    learning_rates: Annotated[
        str, typer.Option(help="Of VQE: those that Adam tries from every start; each start's best counts.")
    ] = "0.001,0.003,0.01,0.03,0.1",
    known: Annotated[
        int, typer.Option(help="Of VQE: other instances whose optima are interpolated, rows spline and nearest.", min=0)
    ] = 0,
    searches: Annotated[
        str, typer.Option(help="That climb from p = 1, a row each, seconds an instance: interp, fourier.")
    ] = "",
    shots: Annotated[
        int | None, typer.Option(help="Let them see energies sampled with so many shots; by default exact ones.", min=1)
    ] = None,
    rhobeg: Annotated[float, typer.Option(help="COBYLA's first trust radius, radians at unit weights.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the instances; far from any training seed.")] = 1_000_003,
    zero_query: Annotated[bool, typer.Option("--points-only", help="Rate the points only: no runs from them.")] = False,
    reactions: Annotated[bool, typer.Option(help="Tell whether the answers react to the instance.")] = True,
    devices: Annotated[
        str | None, typer.Option(help="Instead, whole runs under the noise of these fake devices: fake_fez, ..")
    ] = None,
    budgets: Annotated[
        str, typer.Option(help="With --devices: total shots of a run, final sampling included.")
    ] = "10000,100000,1000000",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every number there.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw it into this PNG file.")] = None,
) -> None:
    """Compare initializers with every baseline on held-out instances, paired."""
    if devices is not None:
        if on is not None or problem != "maxcut" or graphs or weights or problem_setting:
            raise typer.BadParameter("--devices brings its own graphs: leave --on, --problem and its settings out")
        study: dict[str, Any] = {"devices": tuple(words(devices)), "budgets": tuple(numbers(budgets))}
        study |= {"sizes": tuple(numbers(sizes)) if sizes else (6, 7, 8), "reps": tuple(numbers(reps))}
        _under_noise({**study, "graphs": instances, "seed": seed}, initializers, json_file, picture)
        return
    from qiskit_metainit import card, figures, held_out, jobs
    from qiskit_metainit.comparison import Protocol, looks, write_cells
    from qiskit_metainit.evaluation import compare
    from qiskit_metainit.isomorphism import twins
    from qiskit_metainit.layerwise import SEARCHES

    given = {"sizes": numbers(sizes) if sizes else [], "graphs": words(graphs or ""), "weights": words(weights or "")}
    chosen = {**{key: value for key, value in given.items() if value}, **settings(problem_setting)}
    if on is not None and (chosen or problem != "maxcut"):
        raise typer.BadParameter("--on brings its own instances: leave --problem and its settings out")
    arena = held_out.drawn(problem, chosen, instances, seed) if on is None else held_out.graphs_in(on)
    if arena.problems[0].ansatz is not None:
        others = held_out.drawn(problem, chosen, known, seed + 1).problems if known else ()
        _evaluate_vqe(initializers, arena, others, () if zero_query else words(optimizers), learning_rates, json_file)
        return
    protocols = {
        depth: Protocol(
            reps=depth,
            random_starts=random_starts,
            random_searches=random_searches,
            rhobeg=rhobeg,
            optimizers=tuple(words(optimizers)),
            shots=shots,
        )
        for depth in numbers(reps)
    }
    if not protocols:
        raise typer.BadParameter(f"--reps needs at least one depth, but {reps!r} came")
    cells: dict[str, Comparison] = {}
    origin = {**arena.origin, "twins": len(twins(arena.problems))}
    looked = [] if json_file is None else looks(json_file, arena.origin)  # one entry a run, before it is written over
    contestants, left = jobs.line_up(initializers, arena.problems, list(protocols))
    for depth, models in contestants.items():
        with progress_bar() as update:
            cell = compare(
                models,
                arena.problems,
                protocols[depth],
                evaluations=not zero_query,
                reactions=reactions,
                searches=words(searches),
                names=arena.names,
                progress=update,
            )
        title = f"{arena.title}, reps {depth}" + (f", seed {seed}" if on is None else "")
        cells[title] = cell
        show(card.table(cell, jobs.BASELINES), title, wrap=False)
        if len(cell.optimizers) > 1:
            show(card.arrivals(cell), f"To 99%: {card.unit(cell)}", wrap=False)
        show(card.duels(cell, jobs.BASELINES), f"Against {cell.strongest(jobs.BASELINES)}, instance by instance")
        if reactions:
            show(card.reactions(cell), "Does it react to the instance?", wrap=False)
        for name in jobs.NAMED_INPUTS:
            if name in models:
                origin.setdefault("seconds", {})[name] = round(jobs.seconds_of(name, arena.problems, depth), 4)
        if json_file is not None:  # now, not after the deepest
            write_cells(json_file, cells, **origin, looks=looked)
    said = [*([card.REACTIONS] if reactions else []), *_legend(cell, origin.get("seconds", {}))]
    if origin["twins"]:
        said.append(
            f"{origin['twins']} of the {len(arena.problems)} instances are isomorphic to an "
            "earlier one, but intervals take them as independent."
        )
    say("\n".join([*said, *left]))
    if json_file is not None:
        _written(json_file)
    if picture is not None:
        aside = (*jobs.BASELINES, *jobs.NAMED_INPUTS, *SEARCHES)
        figures.draw(list(cells.values()), picture, aside, arena.problems)
        _written(picture)


def _under_noise(
    study: dict[str, Any], initializers: Sequence[str], json_file: Path | None, picture: Path | None
) -> None:
    """Run from every start under devices' noise, or what an interruption left of it if there is a JSON file."""
    from qiskit_metainit.reproduction import Stages
    from qiskit_metainit.under_noise import Study

    plan = Study(initializers=tuple(initializers), **study)
    with tempfile.TemporaryDirectory() as scratch, progress_bar() as update:
        work = Path(scratch) / "work" if json_file is None else json_file.with_name(f"{json_file.stem}-work")
        stages = Stages(work, plan.settings)
        found = plan.run(stages, os.cpu_count() or 1, update)
    show(found.table(), f"Where runs of equal total shots end, {study['graphs']} graphs")
    show(found.table("ideal"), "The same points without noise")
    show(found.optimising(), "What optimising under noise makes of a start")
    say("\n".join(found.findings()))
    if json_file is not None:
        found.write(json_file, seconds=round(stages.seconds, 1))
        shutil.rmtree(work)
        _written(json_file)
    if picture is not None:
        found.picture(picture)
        _written(picture)


def _evaluate_vqe(
    initializers: Sequence[str],
    arena: Instances,
    others: Sequence[Problem],
    optimizers: Sequence[str],
    rates: str,
    json_file: Path | None,
) -> None:
    """Compare initializers with every baseline on instances that bring an ansatz."""
    from qiskit_metainit import contest, jobs, standings

    plan = standings.Contest(optimizers=tuple(optimizers), rates=tuple(float(rate) for rate in words(rates)))
    models, baselines, _ = jobs.line_up_vqe(initializers, arena.problems, others)
    with progress_bar() as update:
        found = contest.hold(models, arena.problems, plan, update)
    seed = arena.origin["seed"]
    title = f"{arena.title}, seed {seed}"
    show(standings.table(found), title, wrap=False)
    if (strongest := found.strongest(baselines)) is not None:
        show(standings.duels(found, strongest), f"Against {strongest}, instance by instance")
    say(standings.legend(found))
    if json_file is not None:
        standings.write(json_file, title, found, **arena.origin)
        _written(json_file)


def _legend(comparison: Comparison, seconds: Mapping[str, float]) -> list[str]:
    """Return what the tables say."""
    from qiskit_metainit import card

    told = [
        "Closed: the share of the headroom over the strongest formula, which the second table counts from. Asks: costs "
        "asked for first. Worst tenth: the mean gain where it is least. 95%: bootstrap intervals over instances.",
    ]
    if comparison.optimizers:
        shots = comparison.protocol.shots
        what = "To 99%: median circuit evaluations" if shots is None else f"Shots: median, {shots} an evaluation"
        names = {"cobyla": "COBYLA", "l_bfgs_b": "L-BFGS-B (gradients by the shift rule)", "spsa": "SPSA"}
        told.append(
            f"{what}, those asked for included, to 99% of the way to the best optimum found, with "
            f"{', '.join(names[name] for name in comparison.optimizers)}. Reach: the share of runs that get there; the "
            f"others count as {comparison.protocol.cap} evaluations."
        )
    if comparison.searches:
        told.append(card.searching(comparison.searches, arrivals=bool(comparison.optimizers)))
    told += [
        f"{name} optimises on the instance itself, classically ({mean:.2g} s each): a row apart from the formulas."
        for name, mean in seconds.items()
    ]
    return told


def _written(path: Path) -> None:
    console.print(f"Written: {path}", markup=False, highlight=False, soft_wrap=True)


def card_(
    initializer: Annotated[str, typer.Argument(help="A shipped initializer or an artifact's folder.")],
    comparisons: Annotated[list[Path], typer.Argument(help="JSON files of metainit evaluate.")],
) -> None:
    """Write an artifact's model card from stored comparisons."""
    from qiskit_metainit import artifact, card, standings
    from qiskit_metainit.comparison import read_cells
    from qiskit_metainit.jobs import BASELINES, limits
    from qiskit_metainit.standings import Standings

    stored, folder = artifact.read(initializer), artifact.find(initializer)
    known: dict[str, tuple[str, Comparison]] = {}
    vqe: list[tuple[str, str, Standings]] = []
    for path in comparisons:
        content = json.loads(path.read_text(encoding="utf-8"))
        try:
            if "contest" in content:
                vqe.append(standings.read(content))
            else:
                known |= read_cells(content)
        except (KeyError, TypeError) as error:
            raise ValueError(f"A file of metainit evaluate --json is needed, but {path} is none ({error}).") from error
    results = [*(card.sections(known, BASELINES) if known else []), *card.vqe_sections(vqe, stored.name)]
    card.write(folder, stored, results, limits(stored))
    _written(folder / "card.md")
