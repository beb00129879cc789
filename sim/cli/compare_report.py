"""The tables of a comparison as a person reads them in a terminal: one for each config compared with the first."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sim.cli.format import empty_table, number
from sim.errors import printable
from sim.stats.interval import Interval
from sim.study.compare_words import percent_interval, sentences, spoken
from sim.study.compared import Compared, Difference, Metric, System

DIFFERENCE, PAIRING = "difference", "pairing"
DISPENSABLE = (DIFFERENCE, PAIRING)
"""What a narrow terminal does without, the first one first."""
DIGITS = 4
"""Of a value that is surer than that."""


def print_comparison(console: Console, compared: Compared) -> None:
    """What the configs are, a table for each but the first, and what they say in sentences."""
    for system in compared.systems:
        console.print(escape(printable(f"{system.key}: {system.label}")), highlight=False)
    for system in compared.systems[1:]:
        console.print(_fitting(console, compared, system))
    console.print(_explanation(compared), highlight=False)
    for text in sentences(compared):
        console.print(escape(text), highlight=False)


def _explanation(compared: Compared) -> str:
    several = ", which hold for all configs at once where it is of differences" if len(compared.systems) > 2 else ""
    first, last = compared.start_up.requests, compared.start_up.cool_down
    ends = f" without the first {first:,} and the last {last:,} requests of each run" if first or last else ""
    return (
        f"Latencies in seconds{ends}; means of {len(compared.seeds)} replications, paired by seed; ± and "
        f"\\[low, high] are {100 * compared.level:g} % intervals{several}.\npairing: by how many times it cut the "
        "variance of the difference, so how many times the replications two separate means would take.\n"
    )


def _fitting(console: Console, compared: Compared, system: System) -> Table:
    """As many columns as the terminal is wide."""
    left_out: list[str] = []
    table = _table(compared, system, left_out)
    unlimited = console.options.update(max_width=sys.maxsize)
    for column in DISPENSABLE:
        if console.measure(table, options=unlimited).maximum > console.width:
            left_out.append(column)
            table = _table(compared, system, left_out)
    return table


def _table(compared: Compared, system: System, left_out: Sequence[str]) -> Table:
    first, key = compared.systems[0].key, system.key
    headings = [first, key, DIFFERENCE, f"{key} against {first}", "verdict", PAIRING]
    shown = empty_table(
        f"{key} against {first}", ["metric"], [heading for heading in headings if heading not in left_out]
    )
    shown.padding = (0, 1, 0, 0)  # many columns
    for metric in compared.metrics:
        cells = dict(zip(headings, _cells(metric, first, key), strict=True))
        shown.add_row(
            spoken(metric.name), *(escape(cell) for heading, cell in cells.items() if heading not in left_out)
        )
    return shown


def _cells(metric: Metric, first: str, key: str) -> list[str]:
    values = [_value(metric.intervals[one], metric.means[one]) for one in (first, key)]
    difference = metric.differences[key]
    if isinstance(difference, str):
        return [*values, number(None), number(None), "-", number(None)]
    return [*values, *_difference(difference)]


def _value(found: Interval | str, mean: float | None) -> str:
    return number(mean) if isinstance(found, str) else plus_minus(found)


def _difference(difference: Difference) -> list[str]:
    found = difference.found
    relative = number(None) if found.relative is None else percent_interval(found.relative)
    gained = found.variance_reduction
    pairing = "all" if math.isinf(gained) else f"{gained:,.0f} x" if gained >= 9.95 else f"{gained:.2g} x"
    return [plus_minus(found.difference, "+"), relative, difference.verdict, pairing]


def plus_minus(interval: Interval, sign: str = "-") -> str:
    """`2.84 ± 0.26`: the half-width to two digits, and the value to as many places, or four digits in all."""
    half_width, size = interval.half_width, max(abs(interval.value), interval.half_width)
    if not size:
        return "0 ± 0"
    places = DIGITS - 1 - math.floor(math.log10(size))
    if half_width:
        places = min(places, 1 - math.floor(math.log10(half_width)))
    places = max(0, places)
    return f"{round(interval.value, places) + 0.0:{sign},.{places}f} ± {half_width:,.{places}f}"
