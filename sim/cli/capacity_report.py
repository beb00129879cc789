"""A capacity as a person reads it in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from sim.cli.format import empty_table, number, percent, seconds
from sim.study.capacity import Capacity, Point

PLACES = {"met": "", "missed": "missed", "unstable": "not kept up with"}


def print_capacity(console: Console, answer: Capacity) -> None:
    """The curve, then the answer and what explains it."""
    console.print(_curve(answer))
    for label, text in _facts(answer):
        console.print(f"{label:<11}{text}", highlight=False, markup=False, soft_wrap=True)


def headline(answer: Capacity) -> str:
    """`4.15 requests/s (95 % interval 4.13 to 4.18) meet p99_ttft <= 0.5 s`"""
    interval = answer.interval
    value, low, high = (_load(answer, each) for each in (interval.value, interval.low, interval.high))
    sure = f"{100 * interval.level:.4g} % interval {low} to {high}" if interval.level < 1 else f"{low} to {high}"
    return f"{value} {answer.unit} ({sure}) meet {answer.slo}"


def _load(answer: Capacity, load: float) -> str:
    return f"{load:.0f}" if answer.over == "users" else number(load, 4)


def _curve(answer: Capacity) -> Table:
    names = list(answer.slo.names)
    shown = ["output\ntok/s", "E2E\nmean", "KV\npeak"]
    table = empty_table(f"{answer.name}, latencies in seconds", [answer.unit], [*names, *shown, "SLO"])
    for point in answer.curve:
        load = f"{_load(answer, point.load)}{' knee' if point.is_knee else ''}"
        facts = (
            number(point.facts["output_tokens_per_s"]),
            seconds(point.facts["mean_e2e"]),
            percent(point.facts["kv_peak_used_fraction"]),
        )
        table.add_row(load, *(_value(name, point) for name in names), *facts, PLACES[point.status])
    return table


def _value(name: str, point: Point) -> str:
    value = point.values[name]
    return f"{value:.2%}" if name == "attainment" else seconds(value)


def _facts(answer: Capacity) -> list[tuple[str, str]]:
    reached = f"{number(answer.saturation)} {'requests/s' if answer.over == 'users' else answer.unit} served"
    under = "with the most users tried" if answer.over == "users" else "when more arrives than can be"
    facts = [
        ("capacity", headline(answer)),
        ("binds", f"{answer.binding.slo}, for {answer.binding.resource}: {answer.binding.why}"),
        ("KV cliff", _cliff(answer)),
        ("saturation", f"{reached} {under}"),
    ]
    if answer.knee is not None:
        knee = f"{_load(answer, answer.knee.load)} {answer.unit}: most throughput for the mean end-to-end time"
        facts.append(("knee", knee))
    return [*facts, ("what it is", answer.definition), ("simulated", f"{answer.simulated_requests:,} requests")]


def _cliff(answer: Capacity) -> str:
    kv = answer.kv
    used = (
        f"at the capacity KV memory is {percent(kv.mean_used_fraction)} full, {percent(kv.peak_used_fraction)} at most"
    )
    if kv.at is None or kv.margin is None:
        return f"no load of the curve preempts 1 of 1000 requests; {used}"
    side = f"{percent(kv.margin)} above" if kv.margin > 0 else f"{percent(-kv.margin)} below"
    return (
        f"1 of 1000 requests is preempted from {_load(answer, kv.at)} {answer.unit} on, {side} the capacity; {used}, "
        f"with {number(kv.preemptions_per_1000)} preemptions per 1000 requests"
    )
