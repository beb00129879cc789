"""Runs side by side that differ in no number: a row each, what their readers saw and what it cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import zip_longest
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sim.plots.canvas import INK, SERIES, literal, new_figure, panel_title
from sim.plots.sweep import P99_STYLE, RING_STYLE
from sim.plots.ticks import seconds, time_axis

PANEL_INCHES, ROW_INCHES, LINE_INCHES, LEGEND_INCHES = 0.75, 0.08, 0.16, 0.6
LABEL_LETTERS, MOST_LINES = 24, 4
"""What of a label stands in one line, and how many there are at most."""
TIMES_APART = 0.19
"""Share of a panel's narrow axis that a time needs."""
MEDIAN_STYLE: dict[str, Any] = {"marker": "o", "markersize": 4, "markerfacecolor": "white"}
LEGEND_STYLE: dict[str, Any] = {"frameon": False, "columnspacing": 1.3, "handlelength": 1.6, "fontsize": 9}
NOTHING = "none measured"
PALE = 0.3
"""How strongly that is drawn which was served too late."""
ROOM_FOR_NUMBERS = 1.25
"""How far an axis goes beyond its longest bar, beside which stands a number."""


def runs_figure(title: str, table: pd.DataFrame, slo: dict[str, float]) -> Figure:
    """Six panels with a row a run, in the order of `table`, coloured by its column `group`.

    Other columns are `label`, `verdict`, rates (requests/s) `request_throughput` and `request_goodput`, in seconds
    `p50_…` and `p99_…` of `ttft` and `tpot` and `p99_itl`, `kv_wasted_fraction` and `preemptions`.
    """
    labels = [_in_lines(label) for label in table["label"]]
    row_inches = ROW_INCHES + LINE_INCHES * max(label.count("\n") + 1 for label in labels)
    figure = new_figure(title, 0.4 + 2 * (PANEL_INCHES + row_inches * len(table)) + LEGEND_INCHES)
    panels = figure.subplots(2, 3, sharey=True)
    groups = list(dict.fromkeys(table["group"]))
    table = table.assign(colour=table["group"].map(dict(zip(groups, SERIES * len(groups), strict=False))))
    _draw_latency(panels[0, 0], table, "ttft", "Time to first token", slo)
    _draw_latency(panels[0, 1], table, "tpot", "Time per output token", slo)
    _draw_bars(panels[0, 2], table, "p99_itl", "Inter-token latency, P99", seconds)
    panels[0, 2].xaxis.set_major_formatter(lambda value, _: seconds(value, digits=6))
    _draw_rates(panels[1, 0], table)
    _draw_bars(panels[1, 1], table, "kv_wasted_fraction", "KV memory wasted", "{:.0%}".format)
    _start_at_zero(panels[1, 1], 1)
    panels[1, 1].set_xticks(np.linspace(0, 1, 5))
    panels[1, 1].xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _draw_bars(panels[1, 2], table, "preemptions", "Preemptions", "{:,.0f}".format)
    panels[1, 2].xaxis.get_major_locator().set_params(integer=True)
    panels[0, 0].set_ylim(len(table) - 0.5, -0.5)
    panels[0, 0].set_yticks(range(len(table)), labels)
    for axes in panels.flat:
        axes.tick_params(axis="y", length=0, labelsize=9)
        axes.tick_params(axis="x", which="both", labelsize=8.5)
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
    _explain(figure, table, slo)
    return figure


def _in_lines(label: str) -> str:
    return "\n".join(map(literal, wrap(label, LABEL_LETTERS, max_lines=MOST_LINES, placeholder=" …")))


def _draw_latency(axes: Axes, table: pd.DataFrame, metric: str, name: str, slo: dict[str, float]) -> None:
    """From the median to the P99, and what the P99 is to be."""
    for height, (_, row) in enumerate(table.iterrows()):
        median, p99 = row[f"p50_{metric}"], row[f"p99_{metric}"]
        if p99 is None or not np.isfinite(p99):
            axes.text(0.01, height, NOTHING, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=INK)
            continue
        axes.plot([median, p99], [height] * 2, color=row["colour"], linewidth=1.5)
        axes.plot([p99], [height], color=row["colour"], **P99_STYLE)
        axes.plot([median], [height], color=row["colour"], **MEDIAN_STYLE)
        if row["verdict"] == "unstable":
            axes.plot([p99], [height], color=row["colour"], **RING_STYLE)
    limit = slo.get(f"p99_{metric}")
    if limit is not None:
        axes.axvline(limit, color=INK, linestyle="--", linewidth=1, zorder=0)
    time_axis(axes, TIMES_APART)
    panel_title(axes, name)


def _draw_bars(axes: Axes, table: pd.DataFrame, column: str, name: str, written: Callable[[float], str]) -> None:
    """Bars from 0, each with its number."""
    values = table[column].astype(float)
    axes.barh(range(len(table)), values.fillna(0), color=table["colour"], height=0.7)
    for height, value in enumerate(values):
        _write(axes, value, height, written(value) if np.isfinite(value) else NOTHING)
    _start_at_zero(axes, values.max())
    panel_title(axes, name)


def _draw_rates(axes: Axes, table: pd.DataFrame) -> None:
    """What was served and, where there are limits, how much of it within them, which the number says."""
    served, good = (table[f"request_{name}"].astype(float) for name in ("throughput", "goodput"))
    has_limits = bool(good.notna().any())
    heights = range(len(table))
    axes.barh(heights, served, color=table["colour"], height=0.7, alpha=PALE if has_limits else 1)
    if has_limits:
        axes.barh(heights, good.fillna(0), color=table["colour"], height=0.7)
    digits = max(0, 2 - math.floor(math.log10(max(served.max(), 1e-9))))
    for height, (all_of_them, in_time) in enumerate(zip(served, good, strict=True)):
        _write(axes, all_of_them, height, f"{in_time if has_limits else all_of_them:,.{digits}f}")
    _start_at_zero(axes, served.max())
    panel_title(axes, "Requests/s within the SLO" if has_limits else "Requests/s served")


def _write(axes: Axes, value: float, height: int, text: str) -> None:
    place = value if np.isfinite(value) else 0.0
    axes.annotate(text, (place, height), (3, 0), textcoords="offset points", va="center", fontsize=8, color=INK)


def _start_at_zero(axes: Axes, largest: float) -> None:
    axes.set_xlim(0, (largest if np.isfinite(largest) and largest > 0 else 1.0) * ROOM_FOR_NUMBERS)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _explain(figure: Figure, table: pd.DataFrame, slo: dict[str, float]) -> None:
    """One legend for all panels: a row of colours, if there are several, and a row of marks."""
    marks: dict[str, Artist] = {
        "median": Line2D([], [], color=INK, linestyle="none", **MEDIAN_STYLE),
        "P99": Line2D([], [], color=INK, linestyle="none", **P99_STYLE),
    }
    if (table["verdict"] == "unstable").any():
        marks["P99, unstable queue"] = Line2D([], [], color=INK, **RING_STYLE)
    if not {"p99_ttft", "p99_tpot"}.isdisjoint(slo):
        marks["SLO"] = Line2D([], [], color=INK, linestyle="--", linewidth=1)
    if table["request_goodput"].notna().any():
        marks["served too late"] = Patch(color=INK, alpha=PALE)
    named = dict(zip(table["group"], table["colour"], strict=True))
    colours: dict[str, Artist] = {literal(name): Patch(color=colour) for name, colour in named.items()}
    rows = [list(marks.items())] if len(colours) == 1 else [list(colours.items()), list(marks.items())]
    empty: tuple[str, Artist] = ("", Line2D([], [], linestyle="none"))
    columns = max(map(len, rows))
    entries = [entry for column in zip_longest(*rows, fillvalue=empty) for entry in column]
    handles, names = [handle for _, handle in entries], [name for name, _ in entries]
    figure.legend(handles, names, loc="outside lower center", ncols=columns, **LEGEND_STYLE)
