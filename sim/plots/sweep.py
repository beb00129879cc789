"""Runs side by side: latency and throughput against what was varied."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sim.plots.canvas import INK, SERIES, literal, new_figure, panel_title
from sim.plots.ticks import PLAIN_LABELS_APART, log_labels

LATENCIES = {
    "ttft": "Time to first token (s)",
    "e2e": "End to end (s)",
    "tpot": "Time per output token (s)",
}
P99_STYLE: dict[str, Any] = {"marker": "o", "markersize": 4}
MEDIAN_STYLE: dict[str, Any] = {"linestyle": ":", "linewidth": 1.3}
RING_STYLE: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 9, "markerfacecolor": "none"}


def sweep_figure(title: str, table: pd.DataFrame, series: str, x: str, x_label: str, slo: dict[str, float]) -> Figure:
    """Latency and throughput against the varied number `x`, one line per value of the column `series`.

    `table` has one row per run with columns `output_throughput`, `verdict` and, in seconds, `p50_…` and `p99_…` of
    `ttft`, `tpot` and `e2e`.
    """
    figure = new_figure(title, 7.6)
    *latency_panels, throughput_axes = figure.subplots(2, 2).flat
    lines = [(str(name), part.sort_values(x)) for name, part in table.groupby(series, sort=False)]
    for axes, (metric, label) in zip(latency_panels, LATENCIES.items(), strict=True):
        for (_, part), colour in zip(lines, SERIES * 9, strict=False):
            axes.plot(part[x], part[f"p99_{metric}"], color=colour, **P99_STYLE)
            axes.plot(part[x], part[f"p50_{metric}"], color=colour, **MEDIAN_STYLE)
            _ring_unstable(axes, part, x, f"p99_{metric}", colour)
        _mark_slo(axes, metric, slo)
        axes.set_yscale("log")
        log_labels(axes.yaxis, PLAIN_LABELS_APART)
        _label(axes, label, x_label)
    for (name, part), colour in zip(lines, SERIES * 9, strict=False):
        throughput_axes.plot(part[x], part["output_throughput"], color=colour, label=literal(name), **P99_STYLE)
        _ring_unstable(throughput_axes, part, x, "output_throughput", colour)
    throughput_axes.set_ylim(0, (table["output_throughput"].max() or 1) * 1.05)
    _label(throughput_axes, "Output tokens per second", x_label)
    _explain(figure, throughput_axes, any_unstable=bool((table["verdict"] == "unstable").any()))
    return figure


def _ring_unstable(axes: Axes, part: pd.DataFrame, x: str, column: str, colour: str) -> None:
    unstable = part[part["verdict"] == "unstable"]
    axes.plot(unstable[x], unstable[column], color=colour, **RING_STYLE)


def _mark_slo(axes: Axes, metric: str, slo: dict[str, float]) -> None:
    """Limits on what is drawn; their values stand beside the panel, where they cover no line."""
    for statistic, style in (("p99", "--"), ("p50", ":")):
        limit = slo.get(f"{statistic}_{metric}")
        if limit is not None:
            axes.axhline(limit, color=INK, linestyle=style, linewidth=1)
            axes.text(1.01, limit, f"SLO {limit:g} s", transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)


def _label(axes: Axes, title: str, x_label: str) -> None:
    panel_title(axes, title)
    axes.set_xlabel(literal(x_label))
    axes.grid(alpha=0.25)


def _explain(figure: Figure, axes: Axes, any_unstable: bool) -> None:
    """One legend for all panels: whose line it is, then what its style means."""
    named, labels = axes.get_legend_handles_labels()
    styles: dict[str, Artist] = {"P99": Line2D([], [], color=INK, **P99_STYLE)}
    styles["median"] = Line2D([], [], color=INK, **MEDIAN_STYLE)
    if any_unstable:
        styles["unstable queue"] = Line2D([], [], color=INK, **RING_STYLE)
    labels = [*labels, *styles]
    columns_that_fit = max(1, 130 // (8 + max(map(len, labels))))
    figure.legend([*named, *styles.values()], labels, loc="outside lower center", ncols=columns_that_fit, frameon=False)
