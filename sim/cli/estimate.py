"""`servesim estimate`: the closed-form answer for an experiment file, or for a model on an accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from sim.cli.options import JsonOption, SetOption, stdout
from sim.config import complete_engine, experiment_from, load_accelerator, load_model, read_experiment
from sim.errors import InputError
from sim.estimate import COMPUTE_ALONE, Case, Figure, estimate, sections
from sim.study.store import to_json
from sim.workload.source import build_workload

ABBREVIATIONS = {"ttft": "TTFT", "tpot": "TPOT", "kv": "KV", "flop": "FLOP", "flops": "FLOPs"}


def estimate_command(
    config: Annotated[Path | None, typer.Argument(help="Experiment file (YAML).", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="Model: catalogue name or path.")] = None,
    accelerator: Annotated[str | None, typer.Option(help="Accelerator: catalogue name or path.")] = None,
    tensor_parallel_size: Annotated[int, typer.Option(min=1, help="GPUs that share the model.")] = 1,
    prompt_tokens: Annotated[float, typer.Option(min=1, help="Mean prompt length.")] = 1024,
    output_tokens: Annotated[float, typer.Option(min=1, help="Mean output length.")] = 1024,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0, help="Price of one GPU for an hour; the catalogue has none.")
    ] = None,
    power_w: Annotated[float | None, typer.Option(min=0, help="Power of one GPU in watts; default its TDP.")] = None,
    set_: SetOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the formula or source of each number.")] = False,
    json_: JsonOption = False,
) -> None:
    """Does it fit, how fast at best, how many at once, and what binds: closed form, no simulation."""
    prices: dict[str, Any] = {"price_per_hour": price_per_hour, "power_w": power_w}
    if config is not None:
        case = _case_of_file(config, set_ or [], prices)
    elif model is not None and accelerator is not None:
        gpu = load_accelerator(accelerator)
        engine, _ = complete_engine({"tensor_parallel_size": tensor_parallel_size}, gpu)
        case = Case(load_model(model), gpu, engine, prompt_tokens, output_tokens, **prices)
    else:
        raise InputError("estimate: give an experiment file, or both --model and --accelerator")
    if json_:
        print(to_json({figure.name: figure.value for figure in estimate(case)}))
    else:
        stdout.print(_table(case, explain))


def _case_of_file(config: Path, overrides: list[str], prices: dict[str, Any]) -> Case:
    """The experiment's model, accelerator, engine and the mean lengths of its own requests."""
    data = read_experiment(config, overrides)
    experiment = experiment_from({**data, "cost": {"kind": "constant", "step_s": 1.0}}, config.parent, "estimate")
    workload = build_workload(experiment)
    lengths = (float(workload.table[f"{part}_tokens"].mean()) for part in ("prompt", "output"))
    return Case(experiment.model, experiment.accelerator, experiment.engine, *lengths, **prices)


def _table(case: Case, explain: bool) -> Table:
    """All figures by section, with formulas if `explain`; the shortcuts that others quote only then."""
    gpus = f"{case.engine.tensor_parallel_size} x " if case.engine.tensor_parallel_size > 1 else ""
    title = (
        f"{case.model.name} on {gpus}{case.accelerator.name}, "
        f"{case.prompt_tokens:.0f} prompt and {case.output_tokens:.0f} output tokens: at datasheet peaks, nothing lost"
    )
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, header_style="bold")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    if explain:
        table.add_column("formula")
    for title, figures in sections(case).items():
        if explain or title != COMPUTE_ALONE:
            table.add_row(f"[bold]{title}[/bold]")
            for figure in figures:
                cells = [f"  {_label(figure)}", _shown(figure)]
                table.add_row(*cells, *([figure.formula] if explain else []))
    return table


def _label(figure: Figure) -> str:
    """The name as words; its unit stands beside the value."""
    name = figure.name.removesuffix("_w").replace("_per_s", "_per_second").removesuffix("_s")
    return " ".join(ABBREVIATIONS.get(word, word) for word in name.split("_"))


def _shown(figure: Figure) -> str:
    value, unit = figure.value, figure.unit
    if isinstance(value, str):
        return value
    if figure.name.endswith("parameters"):
        return f"{value / 1e9:,.2f} billion"
    for scale, prefix in ((1e12, "T"), (1e9, "G")):
        if unit in ("B", "FLOP", "B/s", "FLOP/s") and value >= scale:
            return f"{value / scale:,.2f} {prefix}{unit}"
    if unit == "s" and value < 1:
        return f"{value * 1e3:,.3g} ms"
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.4g} {unit}"
