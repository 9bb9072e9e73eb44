"""`metainit`: learned starting points from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from qiskit_metainit import cli_deployment, cli_evaluate
from qiskit_metainit.terminal import console, messages, numbers, progress_bar, say, settings, show, spans, words

# Qiskit and torch take over a second to import: each command imports what it runs, so `--help` is immediate.
if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    name="metainit",
    help="Learned starting points for QAOA and VQE with Qiskit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; a user's mistake ends with its message, not with a traceback."""
    try:
        app()
    except (ValueError, TypeError, ArithmeticError, MemoryError, OSError) as error:
        messages.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except RuntimeError as error:
        from qiskit_metainit.deployment import ChannelError, RunInterruptedError

        if not isinstance(error, ChannelError | RunInterruptedError):
            raise
        messages.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        messages.print("interrupted")
        sys.exit(130)


@app.command()
def demo(
    initializer: Annotated[str, typer.Option(help="A shipped initializer or an artifact's folder.")] = "qaoa",
    output: Annotated[Path, typer.Option(help="Folder for demo.png and demo.json.")] = Path("metainit-demo"),
    seed: Annotated[int, typer.Option(help="Of the random starts and the shot noise.")] = 7,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer random starts and evaluations.")] = False,
) -> None:
    """Cut the marriages of the Florentine families from random, formula and learned starts (about two minutes)."""
    from qiskit_metainit import demo

    with progress_bar() as update:
        heats = demo.run(initializer, output, seed=seed, quick=quick, progress=update)
    for heat in heats:
        show(heat.table, heat.title)
        say(heat.best_cut + "\n")
    say(
        f"MaxCut by QAOA with p = {demo.REPS}, COBYLA with rhobeg = {demo.RHOBEG} from every start. Energies are "
        "expected cut weights. Points are judged by their exact, noiseless energy. To 99%: circuit evaluations until a "
        "point 99% of the way from the mean random point to the best local optimum found. "
        "r = (E_max - E) / (E_max - E_min). Best cut: of all sampled bitstrings.\n"
        f"Pictures and numbers: {output / 'demo.png'}, {output / 'demo.json'}",
    )


app.command()(cli_deployment.solve)
app.command()(cli_deployment.plan)
app.command()(cli_deployment.runs)
app.command()(cli_deployment.resume)


@app.command("list")
def list_() -> None:
    """Show the shipped initializers, and the models, engines, problem families and reproductions."""
    from qiskit_metainit import artifact, plugins

    rows = [["initializer", "model", "queries", "trained on"]]
    for name in artifact.shipped():
        stored = artifact.read(name)
        coverage = stored.coverage
        kinds = ", ".join(stored.families)
        trained = "" if coverage is None else f"{kinds}, {coverage.qubits[0]}-{coverage.qubits[1]} qubits, "
        trained += "" if coverage is None else f"reps {spans(coverage.reps)}" if coverage.reps else "their own ansatz"
        rows.append([name, type(stored.model).__name__, str(stored.model.queries), trained])
    show(rows, "Shipped initializers")
    for kind in ("models", "engines", "problems", "reproductions"):
        console.print(f"[bold]{kind}[/]: {', '.join(plugins.names(kind))}", highlight=False)


@app.command()
def train(
    model: Annotated[
        str, typer.Argument(help="A model with weights, such as lstm or graph_correction (metainit list).")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the artifact, its checkpoint and its loss curve.")],
    reps: Annotated[str | None, typer.Option(help="QAOA layers: 2, 1,2,3 or 1-8; by default 1. None for VQE.")] = None,
    problem: Annotated[str, typer.Option(help="A problem family (metainit list).")] = "maxcut",
    sizes: Annotated[str | None, typer.Option(help="Numbers of qubits: 7 or 6-9.")] = None,
    graphs: Annotated[str | None, typer.Option(help="Of maxcut: erdos_renyi, regular, complete, sparse, ..")] = None,
    weights: Annotated[str | None, typer.Option(help="Of maxcut: unit, uniform, exponential, normal, ..")] = None,
    problem_setting: Annotated[
        list[str] | None, typer.Option(help="Any setting of the family, KEY=JSON; repeatable.")
    ] = None,
    loss: Annotated[
        str, typer.Option(help="final, root, weighted_sum, observed_improvement, cumulative_improvement.")
    ] = "final",
    steps: Annotated[int, typer.Option(help="Gradient steps.", min=1)] = 2000,
    batch: Annotated[int, typer.Option(help="Instances a step.", min=1)] = 64,
    instances: Annotated[int, typer.Option(help="Training instances.", min=1)] = 1008,
    learning_rate: Annotated[float, typer.Option(help="Adam's, at the start.")] = 3e-3,
    engine: Annotated[
        str, typer.Option(help="Answers with costs and gradients: statevector, parameter_shift, general_shift, spsa.")
    ] = "statevector",
    shots_per_eval: Annotated[
        int | None, typer.Option(help="Sampled shots of every circuit evaluation; by default exact values.", min=1)
    ] = None,
    noise: Annotated[
        str | None, typer.Option(help="Train under the noise of a fake backend, such as fake_fez; needs shots.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the weights, the instances and the noise.")] = 0,
    setting: Annotated[list[str] | None, typer.Option(help="A setting of the model, KEY=JSON; repeatable.")] = None,
    start_from: Annotated[
        str | None, typer.Option(help="Begin with the weights of a shipped initializer or an artifact's folder.")
    ] = None,
) -> None:
    """Meta-train a model on random instances; repeat the command to go on after an interruption."""
    import numpy as np

    from qiskit_metainit import card
    from qiskit_metainit.held_out import make_family
    from qiskit_metainit.jobs import make_engine, train_artifact
    from qiskit_metainit.training import Schedule

    kinds = {key: words(value) for key, value in (("graphs", graphs), ("weights", weights)) if value is not None}
    sized = {"sizes": numbers(sizes)} if sizes else {}
    family = make_family(problem, {**sized, **kinds, **settings(problem_setting)}, sizes=None)
    # Another stream than the instances': the same problems and batches come with and without noise.
    answers = make_engine(engine, shots=shots_per_eval, noise=noise, rng=np.random.default_rng([seed, 1]))

    def note(value: float) -> str:
        return f"loss {value:.4f}" + (f", {answers.budget.shots:,} shots" if shots_per_eval else "")

    try:
        with progress_bar() as update:
            meta, report = train_artifact(
                model,
                settings(setting),
                family,
                reps=None if reps is None else numbers(reps),
                loss=loss,
                steps=steps,
                batch=batch,
                seed=seed,
                schedule=Schedule(learning_rate=learning_rate, instances=instances),
                folder=output,
                start_from=start_from,
                engine=answers,
                progress=lambda step, value: update("training", step + 1, steps, note(value)),  # type: ignore[call-arg]
            )
    except KeyboardInterrupt:
        kept = (output / "checkpoint.pt").exists()
        told = f"The checkpoint is in {output}: repeat the command to go on." if kept else "There is no checkpoint yet."
        messages.print(f"Interrupted. {told}", markup=False)
        raise typer.Exit(130) from None
    card.loss_curve(report, output / "loss.png")
    where = f"--reps {report.depths[-1]}" if report.depths[-1] else f"--problem {problem}"
    console.print(
        f"Trained {meta.name} for {steps} steps in {report.seconds:.0f} s"
        f"{f' (resumed at step {report.resumed_at})' if report.resumed_at else ''}; "
        f"mean loss of the last tenth {_tail(report.losses):.4f}"
        f"{f'; {report.shots:,} shots' if report.shots else ''}. Saved in {output}. "
        f"Next: metainit evaluate {output} {where}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def join(
    initializers: Annotated[list[str], typer.Argument(help="Trained graph_correction artifacts, such as of 3 seeds.")],
    output: Annotated[Path, typer.Option(help="Folder for the artifact.")],
) -> None:
    """Make one initializer of several trained ones: their mean, or with queries the best of them."""
    from qiskit_metainit.jobs import join_artifacts

    join_artifacts(initializers, output)
    console.print(
        f"Joined {', '.join(initializers)}. Saved in {output}. It asks for no costs; {output}:4 asks for four and "
        f"answers with the best. Next: metainit evaluate {output} {output}:4",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


app.command()(cli_evaluate.evaluate)
app.command("card")(cli_evaluate.card_)


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(help="Of a paper, such as lin2025; without it they are listed.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smaller run, in under two minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="A larger run, of hours, where there is one.")] = False,
    seed: Annotated[int, typer.Option(help="Of everything.", min=0)] = 0,
    output: Annotated[Path, typer.Option(help="Folder for the numbers, the picture and the page.")] = Path(
        "tutorials/reproductions"
    ),
) -> None:
    """Run a founding paper's experiment again, its figures beside ours; repeat the command after an interruption."""
    from qiskit_metainit import plugins, reproduction

    if name is None:
        say(f"Name one of: {', '.join(plugins.names('reproductions'))}")
        return
    try:
        with progress_bar() as update:
            result, files = reproduction.reproduce(name, output, quick=quick, full=full, seed=seed, progress=update)
    except KeyboardInterrupt:
        messages.print("Interrupted. What is finished is kept: repeat the command to go on.")
        raise typer.Exit(130) from None
    for caption, rows in result.tables:
        show(rows, caption)
        say("")
    told = [f"- {finding.replace('**', '')}" for finding in result.findings]
    say("\n".join([*told, f"Written: {', '.join(map(str, files))}"]))


def _tail(losses: Sequence[float]) -> float:
    tail = losses[-max(1, len(losses) // 10) :]
    return sum(tail) / len(tail)
