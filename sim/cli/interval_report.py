"""Replications and intervals as a person reads them in a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from rich.table import Table

from sim.cli.format import empty_table, number, seconds
from sim.study.replicated import mean_of

STATISTICS = ("mean", "p50", "p90", "p95", "p99")
DIGITS = 4
"""Of a value, unless the interval says that fewer are certain."""

SHOWN = ("mean_ttft", "p99_ttft", "mean_e2e", "p99_e2e")
"""Of a single run's intervals."""

Entry = dict[str, Any]
"""An interval as it stands in summary.json."""


def replicated_table(ours: dict[str, Any], rows: dict[str, str]) -> Table:
    """Latencies over the replications, each with its interval below it; those without one are of finite runs."""
    count, level = ours["replications"]["count"], ours["replications"]["level"]
    title = f"{ours['name']}: {count} replications, {100 * level:g}% intervals"
    table = empty_table(title, ["seconds"], STATISTICS)
    for metric, label in rows.items():
        cells = [_cell(ours, f"{statistic}_{metric}") for statistic in STATISTICS]
        table.add_row(label, *cells)
    return table


def replicated_facts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """(label, one line): throughput with its intervals, what was left out, which intervals there are not and why."""
    ours = summary["sim"]
    facts = [("throughput", _throughput(ours)), ("replicated", _replicated(ours["replications"]))]
    facts += [("", text) for text in refusals(ours)]
    if ours["slo"]:
        facts.append(("SLO", _slo(ours)))
    return facts


def single_fact(ours: dict[str, Any]) -> str:
    """What one run by itself knows of how sure its numbers are."""
    intervals = ours["intervals"]
    if not intervals:
        (first, *_) = refusals(ours) or ["nothing was measured"]
        beyond_help = ours["stability"]["verdict"] == "unstable" or "recorded trace" in first
        return first if beyond_help else f"{first}; or give --replications 20"
    shown = [name for name in SHOWN if name in intervals] or list(intervals)[:1]
    named = ", ".join(f"{name} {bracketed(intervals[name])}" for name in shown)
    level = intervals[shown[0]]["level"]
    others = len(intervals) - len(shown)
    more = f"; {others} more in summary.json" if others else ""
    return f"{named}, at {100 * level:g}%, by batch means without start-up{more}; for all: --replications 20"


def bracketed(entry: Entry) -> str:
    """`0.0451 [0.0443, 0.0459]`, to two digits of the half-width."""
    if entry["low"] == entry["high"]:
        value = low = high = seconds(entry["value"])
    else:
        value, low, high = (f"{entry[key]:,.{_decimals(entry)}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def refusals(ours: dict[str, Any]) -> list[str]:
    """Of which latencies in the table there is no interval, and why: in full of that which takes most."""
    refused: dict[str, str] = ours["no_intervals"]
    if len(set(refused.values())) == 1 and not ours["intervals"]:
        return [f"no intervals: {next(iter(refused.values()))}"]
    means = [f"no interval of {name}: {reason}" for name, reason in refused.items() if name.startswith("mean_")]
    names = [name for name in refused if name.partition("_")[0] in STATISTICS[1:]]
    if not names:
        return means
    return [*means, *_by_reason(names, refused)]


def _by_reason(names: list[str], refused: dict[str, str]) -> Iterator[str]:
    """Those that want the same together, those that take most last."""
    alike: dict[int, list[str]] = {}
    for name in names:
        alike.setdefault(_needed(refused[name]), []).append(name)
    for _, some in sorted(alike.items()):
        yield f"no interval of {', '.join(some)}: {max((refused[name] for name in some), key=_needed)}"


def _needed(reason: str) -> int:
    """The number that a refusal asks for; the largest one helps all."""
    found = re.search(r"needs about ([\d,]+)", reason)
    return int(found[1].replace(",", "")) if found else 0


def _cell(ours: dict[str, Any], name: str) -> str:
    entry = ours["intervals"].get(name)
    if entry is None:
        return seconds(mean_of(ours["replications"]["values"].get(name, [])))
    return bracketed(entry).replace(" [", "\n[")


def _decimals(entry: Entry) -> int:
    """After the point: two digits of the half-width, but no more than four of the value."""
    half, value = (entry["high"] - entry["low"]) / 2, abs(entry["value"])
    of_value = DIGITS - 1 - _exponent(value)
    return max(0, min(of_value, 1 - _exponent(half)))


def _exponent(value: float) -> int:
    return math.floor(math.log10(value)) if value else 0


def _throughput(ours: dict[str, Any]) -> str:
    units = {"request_throughput": "requests/s", "output_throughput": "output tokens/s"}
    units["request_goodput"] = "good requests/s"
    values = ours["replications"]["values"]
    return ", ".join(f"{_rate(ours, name)} {unit}" for name, unit in units.items() if name in values)


def _rate(ours: dict[str, Any], name: str) -> str:
    entry = ours["intervals"].get(name)
    return bracketed(entry) if entry else number(mean_of(ours["replications"]["values"][name]), DIGITS)


def _replicated(told: dict[str, Any]) -> str:
    first, last = told["warm_up_requests"], told["cool_down_requests"]
    left_out = f"latencies are of whole runs ({told['warm_up']})"
    if first or last:
        beginning = f"the first {first:,} requests" if first else "none of the first requests"
        left_out = f"left out of latencies are {beginning} ({told['warm_up']}) and the last {last:,}"
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in told["stability"].items())
    aims = "".join(f"; {name} {_aim(aim)}" for name, aim in (told["until"] or {}).items())
    return f"{told['count']} times, {_seeds(told['seeds'])}: {verdicts}; {left_out}{aims}"


def _aim(aim: dict[str, Any]) -> str:
    reached = "no interval" if aim["reached"] is None else f"±{aim['reached']:.2%}"
    return f"{reached}, {'within' if aim['met'] else 'NOT within'} the ±{100 * aim['wanted']:g}% asked for"


def _seeds(seeds: list[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    whole = all(after == before + 1 for before, after in pairwise(seeds))
    return f"seeds {seeds[0]} to {seeds[-1]}" if whole else f"seeds {', '.join(map(str, seeds))}"


def _slo(ours: dict[str, Any]) -> str:
    """Against the intervals: a limit inside one is undecided."""
    parts, states = [], []
    for name, limit in ours["slo"]["limits"].items():
        entry = ours["intervals"].get(name)
        value = entry["value"] if entry else mean_of(ours["replications"]["values"].get(name, []))
        shown = bracketed(entry) if entry else seconds(value)
        undecided = entry is not None and entry["low"] <= limit < entry["high"]
        met = value is None or value <= limit
        states.append("UNDECIDED" if undecided else "met" if met else "MISSED")
        parts.append(f"{name} {shown} {'may be' if undecided else 'is'} {'within' if met else 'above'} {limit:g} s")
    worst = next((state for state in ("MISSED", "UNDECIDED") if state in states), "met")
    return f"{worst}: {', '.join(parts)}"
