"""The summary of a run as a person reads it in a terminal."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sim.plots import RESOURCE_NAMES

ROWS = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "E2E", "queue": "queueing"}
COLUMNS = ("mean", "p50", "p90", "p95", "p99", "max")


def print_report(console: Console, summary: dict[str, Any]) -> None:
    """Latency table, throughput, and what explains them."""
    ours = summary["sim"]
    console.print(_latency_table(ours["name"], ours["metrics"]))
    for label, text in _facts(summary):
        console.print(f"{label:<11}{text}", highlight=False, markup=False, soft_wrap=True)


def _latency_table(name: str, metrics: dict[str, float | None]) -> Table:
    table = Table(title=name, title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    table.add_column("seconds")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for metric, label in ROWS.items():
        table.add_row(label, *(_seconds(metrics[f"{column}_{metric}"]) for column in COLUMNS))
    return table


def _facts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """(label, one line) of everything worth reading first."""
    ours = summary["sim"]
    facts = [("throughput", _throughput(summary)), ("queue", _queue(ours)), ("engine", _engine(ours))]
    if ours["closed_loop"]:
        facts.insert(1, ("users", _users(ours["closed_loop"])))
    if ours["utilisation"]["busy_mfu"] is not None:
        facts.append(("hardware", _hardware(ours)))
    facts += [("step time", _step_time(ours)), ("KV cache", _kv_cache(ours["kv_cache"]))]
    if ours["slo"]:
        facts.append(("SLO", _slo(ours["slo"])))
    facts.append(("simulated", _performance(ours["performance"])))
    return facts


def _throughput(summary: dict[str, Any]) -> str:
    return (
        f"{_number(summary['request_throughput'])} requests/s, "
        f"{_number(summary['output_throughput'])} output tokens/s; "
        f"{summary['completed']} of {summary['num_prompts']} requests in {_number(summary['duration'])} s"
    )


def _users(loop: dict[str, Any]) -> str:
    rate, response_s, think_s = loop["requests_per_s"], loop["mean_response_s"], loop["mean_think_s"]
    law = f"{_number(rate)}/s x ({_seconds(response_s)} s + {_seconds(think_s)} s)"
    return f"{loop['users']:,}; X(R + Z) = {law} = {_number(loop['mean_present_users'])} of them on average, to the end"


def _queue(ours: dict[str, Any]) -> str:
    stability = ours["stability"]
    blockers = ours["batch"]["queue_blocked_by"]
    held_up = ", ".join(f"{why} {share:.0%}" for why, share in sorted(blockers.items(), key=lambda item: -item[1]))
    waits = f"; the next request could not start because of: {held_up} of busy time" if held_up else ""
    return f"{stability['verdict'].upper()}: {stability['reason']}{waits}"


def _engine(ours: dict[str, Any]) -> str:
    batch = ours["batch"]
    extras = [f"busy {_percent(batch['busy_fraction'])}", f"{_number(batch['mean_running'])} running on average"]
    extras.append(f"{batch['peak_running']} at most")
    if batch["idle_slot_fraction"]:
        extras.append(f"{_percent(batch['idle_slot_fraction'])} of batch slots idle")
    if batch["padding_fraction"]:
        extras.append(f"{_percent(batch['padding_fraction'])} of executed tokens are padding")
    return ", ".join(extras)


def _hardware(ours: dict[str, Any]) -> str:
    used, price = ours["utilisation"], ours["cost"]["cost_per_million_tokens"]
    shares = f"MFU {_percent(used['busy_mfu'])} and MBU {_percent(used['busy_mbu'])} of datasheet peaks while busy"
    return shares if price is None else f"{shares}; a million output tokens cost {_number(price)}"


def _step_time(ours: dict[str, Any]) -> str:
    shares = sorted(ours["step_time"]["share_by_resource"].items(), key=lambda item: -item[1])
    return ", ".join(f"{share:.0%} {RESOURCE_NAMES[resource]}" for resource, share in shares)


def _kv_cache(kv: dict[str, Any]) -> str:
    held = (
        f"{_percent(kv['mean_used_fraction'])} of {kv['capacity_tokens']:,} tokens held on average, "
        f"{_percent(kv['peak_used_fraction'])} at most"
    )
    waste = (
        f"of what is held {_percent(kv['stored_fraction'])} stores tokens, "
        f"{_percent(kv['reserved_waste_fraction'])} is reserved for later and "
        f"{_percent(kv['internal_waste_fraction'])} is never used"
    )
    return f"{held}; {waste}; {kv['preemptions']} preemptions, {kv['recomputed_tokens']:,} tokens recomputed"


def _slo(slo: dict[str, Any]) -> str:
    parts = [
        f"{name} {_seconds(slo['values'][name])} {'<=' if _met(slo, name) else 'exceeds'} {limit:g} s"
        for name, limit in slo["limits"].items()
    ]
    share = slo["good_request_fraction"]
    good = "" if share is None else f"; {share:.1%} of requests within the limits"
    return f"{'met' if slo['met'] else 'MISSED'}: {', '.join(parts)}{good}"


def _met(slo: dict[str, Any], name: str) -> bool:
    value = slo["values"][name]
    return value is None or value <= slo["limits"][name]


def _performance(spent: dict[str, Any]) -> str:
    return (
        f"{spent['engine_iterations']:,} iterations in {spent['cpu_s']:.2f} s of CPU "
        f"({_number(spent['requests_per_cpu_s'])} requests per CPU second)"
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if value < 1000 else f"{value:,.0f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
