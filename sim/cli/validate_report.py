"""A replay beside the real run as a person reads it in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from sim.cli.format import empty_table, number, seconds
from sim.study.validate import Validation
from sim.study.validate.compare import LATENCIES, THROUGHPUT, Pair

SIDES = ("real", "simulated", "error")


def title_of(validation: Validation) -> str:
    """`rtx4090_llama31_8b: llama-3.1-8b on rtx-4090, simulated against real`."""
    experiment, tp = validation.experiment, validation.experiment.engine.tensor_parallel_size
    gpus = f"{tp} x {experiment.accelerator.name}" if tp > 1 else experiment.accelerator.name
    return f"{experiment.name}: {experiment.model.name} on {gpus}, simulated against real"


def print_validation(console: Console, validation: Validation) -> None:
    """Latencies with their signed errors, then throughput and how many requests ran and waited."""
    shown = empty_table(title_of(validation), ["", ""], SIDES)
    for name, words in LATENCIES.items():
        for statistic, pair in validation.metrics.get(name, {}).items():
            label = escape(words) if statistic == "mean" else ""
            shown.add_row(label, statistic, *(f"{seconds(value)} s" for value in pair), _signed(pair))
        shown.add_section()
    pair = validation.metrics[THROUGHPUT]["mean"]
    shown.add_row("output throughput", "", *(f"{number(value, 4)} tokens/s" for value in pair), _signed(pair))
    for name, of in validation.over_time.items():
        for statistic, pair in of.items():
            label = f"requests {name}" if statistic == "mean" else ""
            shown.add_row(label, statistic, *(number(value, 4) for value in pair), _signed(pair))
    console.print(shown)
    requests = f"{len(validation.requests)} requests"
    left_out = f", {len(validation.left_out)} left out" if validation.left_out else ""
    console.print(f"Error is simulated / real - 1. Latencies are of {requests}{left_out}.", highlight=False)


def _signed(pair: Pair) -> str:
    return "-" if pair.error is None else f"{pair.error:+.1%}"
