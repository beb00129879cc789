"""`servesim estimate`: the closed-form answer for an experiment file, or for a model on an accelerator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from sim.cli.describe import describe
from sim.cli.format import empty_table, number
from sim.cli.options import JsonOption, SetOption, note, stdout
from sim.config import load_accelerator, load_model, read_experiment, untimed_experiment_from
from sim.errors import InputError
from sim.estimate import COMPUTE_ALONE, Case, Figure, notes, sections
from sim.estimate.machine import Machine
from sim.estimate.steps import steps_of
from sim.specs.presets import complete_engine
from sim.study.store import to_json
from sim.workload.source import build_workload

ABBREVIATIONS = {"ttft": "TTFT", "tpot": "TPOT", "kv": "KV", "flop": "FLOP", "flops": "FLOPs", "1e12": "10^12"}
DEFAULT_TOKENS = 1024.0
FILE_KEYS = {
    "--model": "model",
    "--accelerator": "accelerator",
    "--tensor-parallel-size": "engine.tensor_parallel_size",
    "--prompt-tokens": "workload",
    "--output-tokens": "workload",
}
"""Where an experiment file says what these options say."""


def estimate_command(
    config: Annotated[Path | None, typer.Argument(help="Experiment file (YAML).", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="Model: catalogue name or path.")] = None,
    accelerator: Annotated[str | None, typer.Option(help="Accelerator: catalogue name or path.")] = None,
    tensor_parallel_size: Annotated[
        int | None, typer.Option(min=1, help="GPUs that share the model; default 1.")
    ] = None,
    prompt_tokens: Annotated[float | None, typer.Option(help="Mean prompt length; default 1024.")] = None,
    output_tokens: Annotated[float | None, typer.Option(help="Mean output length; default 1024.")] = None,
    price_per_hour: Annotated[
        float | None, typer.Option(help="Price of one GPU for an hour; the catalogue has none.")
    ] = None,
    power_w: Annotated[float | None, typer.Option(help="Power of one GPU in watts; default its TDP.")] = None,
    set_: SetOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the formula or source of each number.")] = False,
    out: Annotated[Path | None, typer.Option(help="Draw the roofline and the split of iterations here.")] = None,
    json_: JsonOption = False,
) -> None:
    """Does it fit, how fast at best, how many at once, and what binds: closed form, no simulation."""
    names = (model, accelerator, tensor_parallel_size, prompt_tokens, output_tokens)
    if config is None:
        _refuse_overrides(set_ or [])
        case = _case_of_names(*names)
    else:
        _refuse_names(config, dict(zip(FILE_KEYS, names, strict=True)))
        case = _case_of_file(config, set_ or [])
    case = replace(case, price_per_hour=price_per_hour, power_w=power_w)
    answer = sections(case)
    if out is not None:
        _draw(case, out)
    for text in notes(case):
        note(text)
    if json_:
        print(to_json({figure.name: figure.value for figures in answer.values() for figure in figures}))
    else:
        stdout.print(_table(case, answer, explain))


def _draw(case: Case, folder: Path) -> None:
    """Its iterations under the roof, and what the time of decodes goes to."""
    from sim.cli.machine_pictures import draw_machine  # matplotlib is slow to import and not always wanted

    machine = Machine(case)
    steps = steps_of(machine)
    if machine.largest_batch < 1:
        raise InputError(
            f"--out: not one such request fits ({describe(case)}), so there is no iteration to draw; drop it, or give "
            "a larger accelerator, more GPUs or fewer tokens"
        )
    if steps is None:
        raise InputError(
            f"--out: {case.accelerator.name} has no {case.model.dtype} peak, so there are no kernels to draw; drop it, "
            "or choose another accelerator"
        )
    draw_machine(steps, describe(case), folder)
    note(f"pictures are in {folder}")


def _refuse_overrides(overrides: list[str]) -> None:
    if overrides:
        raise InputError(f"--set: got {overrides[0]}, which overrides an experiment file; give that file, or drop it")


def _refuse_names(config: Path, options: dict[str, Any]) -> None:
    """A file says all of it already; which of the two was meant is not for us to guess."""
    for option, value in options.items():
        if value is not None:
            key = FILE_KEYS[option]
            raise InputError(f"{option}: got {value}, but {config} has its own {key}; drop one, or use --set {key}")


def _case_of_names(
    model: str | None,
    accelerator: str | None,
    tensor_parallel_size: int | None,
    prompt_tokens: float | None,
    output_tokens: float | None,
) -> Case:
    """The model on the accelerator, with the default engine for it."""
    if model is None or accelerator is None:
        raise InputError("estimate: give an experiment file, or both --model and --accelerator")
    gpu = load_accelerator(accelerator)
    engine, _ = complete_engine({"tensor_parallel_size": tensor_parallel_size or 1}, gpu)
    lengths = (DEFAULT_TOKENS if tokens is None else tokens for tokens in (prompt_tokens, output_tokens))
    return Case(load_model(model), gpu, engine, *lengths)


def _case_of_file(config: Path, overrides: list[str]) -> Case:
    """The experiment's model, accelerator, engine and the mean lengths of its own requests."""
    experiment = untimed_experiment_from(read_experiment(config, overrides), config.parent, "estimate")
    workload = build_workload(experiment)
    has_common_text = workload.block_tokens is not None or experiment.workload.shares_text
    if experiment.engine.enable_prefix_caching and has_common_text:
        note("a prefix cache is taken to find nothing: every prompt is computed in full, and stored by itself")
    lengths = (float(workload.table[f"{part}_tokens"].mean()) for part in ("prompt", "output"))
    return Case(experiment.model, experiment.accelerator, experiment.engine, *lengths)


def _table(case: Case, answer: dict[str, list[Figure]], explain: bool) -> Table:
    """All figures by section, with formulas if `explain`; the shortcuts that others quote only then."""
    title = (
        f"{describe(case)}, {case.prompt_tokens:.0f} prompt and {case.output_tokens:.0f} output tokens: "
        "at datasheet peaks, nothing lost"
    )
    table = empty_table(title, ["quantity"], ["value"])
    if explain:
        table.add_column("formula")
    for title, figures in answer.items():
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
    return f"{number(value, 4)} {unit}"
