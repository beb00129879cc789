"""The table of a sweep as a person reads it in a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sim.cli.format import empty_table, number
from sim.study.sweep import TABLE

SHOWN = {
    "verdict": "queue",
    "slo_met": "SLO",
    "request_throughput": "req/s",
    "request_goodput": "good/s",
    "p50_ttft": "TTFT\np50",
    "p99_ttft": "TTFT\np99",
    "p50_tpot": "TPOT\np50",
    "p99_tpot": "TPOT\np99",
    "p99_itl": "ITL\np99",
    "p50_e2e": "E2E\np50",
    "p99_e2e": "E2E\np99",
    "mean_running": "batch",
    "idle_slot_fraction": "idle",
    "kv_wasted_fraction": "waste",
    "preemptions": "pre-\nempted",
}
"""Columns of the table and their headings; those that nothing was measured for are left out."""
EXPLAINED = {
    "request_goodput": "good: within the SLO",
    "mean_running": "batch: mean running",
    "idle_slot_fraction": "idle: of batch slots",
    "kv_wasted_fraction": "waste: of KV memory held",
}
DISPENSABLE = (
    "p50_tpot", "p50_e2e", "idle_slot_fraction", "mean_running", "p99_e2e", "p99_itl", "request_goodput", "preemptions",
    "kv_wasted_fraction",
)  # fmt: skip
"""What a narrow terminal does without, the first one first."""


def print_sweep(console: Console, table: pd.DataFrame, keys: Sequence[str]) -> None:
    """A row a run: the values of the varied `keys`, then medians and P99s and what explains them."""
    columns = [column for column in SHOWN if column in table and table[column].notna().any()]
    shown = _terminal_table(table, keys, columns)
    unlimited = console.options.update(max_width=sys.maxsize)
    for column in DISPENSABLE:
        if console.measure(shown, options=unlimited).maximum > console.width and column in columns:
            columns.remove(column)
            shown = _terminal_table(table, keys, columns)
    console.print(shown)


def _terminal_table(table: pd.DataFrame, keys: Sequence[str], columns: Sequence[str]) -> Table:
    explained = [text for column, text in EXPLAINED.items() if column in columns]
    title = "; ".join(["latencies in seconds", *explained, f"more in {TABLE}"])
    shown = empty_table(title, [key.rpartition(".")[2] for key in keys], [SHOWN[column] for column in columns])
    shown.padding = (0, 1, 0, 0)  # many columns
    for row in table.astype(object).to_dict("records"):
        shown.add_row(*(_value(row[key]) for key in keys), *(_cell(column, row[column]) for column in columns))
    return shown


def _value(value: object) -> str:
    """A varied value; what a config writes as null is None in a fresh table and NaN in one read again."""
    return "null" if value is None or (isinstance(value, float) and math.isnan(value)) else escape(str(value))


def _cell(column: str, value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return number(None)
    if column == "slo_met":
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    measured = float(str(value))
    return f"{measured:.0%}" if column.endswith("_fraction") else number(measured)
