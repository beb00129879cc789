"""How much an engine carries: every limit of an SLO against the load, and latency against throughput."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.plots.canvas import FAINT, INK, OPAQUE_LEGEND, SERIES, literal, new_figure, panel_title
from sim.plots.ticks import PLAIN_LABELS_APART, log_labels

ATTAINMENT = "attainment"
LINE_STYLE: dict[str, Any] = {"marker": "o", "markersize": 4}
KNEE_STYLE: dict[str, Any] = {"linestyle": "none", "marker": "D", "markersize": 9, "markerfacecolor": "white"}
LEAST, HIGHEST = 1e-3, 5.0
"""Of a metric over its limit, what is drawn."""
LINE_CHARACTERS = 150

Row = Mapping[str, Any]


def capacity_figure(title: str, answer: Mapping[str, Any]) -> Figure:
    """The answer is that of `capacity.json`, whose keys but `simulated_requests` and `notes` are all used."""
    figure = new_figure(f"{title}: capacity {_headline(answer)}", 6.6)
    limits_axes, latency_axes = figure.subplots(1, 2, width_ratios=(3, 2))
    over = next(name for name in ("users", "rate") if name in answer["curve"][0])
    rows = sorted(answer["curve"], key=lambda row: float(row[over]))
    _limits(limits_axes, answer, rows, over)
    _latencies(latency_axes, answer, [row for row in rows if row["status"] != "unstable"], over)
    binding = answer["binding"]
    words = f"What binds is {binding['slo']}, for {binding['resource']}: {binding['why']}."
    lines = [literal(line) for line in textwrap.wrap(words, LINE_CHARACTERS)]
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=9.5, color=INK)
    return figure


def _headline(answer: Mapping[str, Any]) -> str:
    found, whole = answer["capacity"], answer["capacity"]["unit"] == "users"
    value, low, high = (f"{found[name]:.0f}" if whole else f"{found[name]:.4g}" for name in ("value", "low", "high"))
    sure = f"{100 * answer['level']:.4g} % interval {low} to {high}" if answer["level"] < 1 else f"{low} to {high}"
    return f"{value} {found['unit']} ({sure})"


def _limits(axes: Axes, answer: Mapping[str, Any], rows: Sequence[Row], over: str) -> None:
    """Each metric over its limit: above 1 it is missed. Beyond what can be served curves go on until they are out."""
    found, names, lowest = answer["capacity"], _names(answer), 1.0
    overloaded = [float(row[over]) for row in rows if row["status"] == "unstable"]
    last = min(overloaded, default=max(float(rows[-1][over]), found["high"]))
    drawn = [row for row in rows if row[over] <= last]
    for (name, label), colour in zip(names.items(), SERIES * 9, strict=False):
        values = [_relative(answer, name, row) for row in drawn]
        lowest = min([lowest, *(value for value in values if value > LEAST)])
        axes.plot([row[over] for row in drawn], values, color=colour, label=literal(label), **LINE_STYLE)
    axes.axhline(1, color=INK, linestyle="--", linewidth=1)
    axes.axvspan(found["low"], found["high"], color=FAINT, alpha=0.4, linewidth=0)
    axes.axvline(found["value"], color=INK, linewidth=1, label="capacity and its interval")
    if overloaded and answer["saturation"] < last:
        axes.axvspan(answer["saturation"], last, facecolor="none", edgecolor=FAINT, hatch="//", alpha=0.6, linewidth=0,
                     label="more arrives than can be served")  # fmt: skip
    _mark_knee(axes, answer, drawn, over)
    axes.set_yscale("log")
    axes.set_ylim(lowest / 1.3, HIGHEST)
    axes.set_xlim(0, last)
    log_labels(axes.yaxis, PLAIN_LABELS_APART)
    panel_title(axes, "Metric over its limit (above 1: missed)")
    axes.set_xlabel(f"load ({found['unit']})")
    axes.grid(alpha=0.25)
    axes.legend(loc="best", **OPAQUE_LEGEND)


def _mark_knee(axes: Axes, answer: Mapping[str, Any], rows: Sequence[Row], over: str) -> None:
    """On the curve of what binds, or the first one."""
    names = list(_names(answer))
    name = answer["binding"]["slo"] if answer["binding"]["slo"] in names else names[0]
    knee = [row for row in rows if row["knee"]]
    places = [_relative(answer, name, row) for row in knee]
    axes.plot([row[over] for row in knee], places, color=INK, label="knee", zorder=3, **KNEE_STYLE)


def _names(answer: Mapping[str, Any]) -> dict[str, str]:
    """What can be missed, and how the legend says it."""
    rows = answer["curve"]
    names = {name: f"{name} / {limit:g} s" for name, limit in answer["slo"].items() if name in rows[0]}
    if answer["attainment"] is not None:
        names[ATTAINMENT] = f"requests beyond a limit / {1 - answer['attainment']:.3g}"
    return names


def _relative(answer: Mapping[str, Any], name: str, row: Row) -> float:
    if name == ATTAINMENT:
        return float((1 - row[name]) / (1 - answer["attainment"]))
    return float(row[name] / answer["slo"][name])


def _latencies(axes: Axes, answer: Mapping[str, Any], rows: Sequence[Row], over: str) -> None:
    """End-to-end time against output tokens per second, as far as all that arrives is served."""
    tokens = [row["output_tokens_per_s"] for row in rows]
    for name, label, style in (("p99_e2e", "P99", "-"), ("mean_e2e", "mean", ":")):
        axes.plot(tokens, [row[name] for row in rows], color=SERIES[0], linestyle=style, label=label, **LINE_STYLE)
    knee = [row for row in rows if row["knee"]]
    places = [[row[name] for row in knee] for name in ("output_tokens_per_s", "mean_e2e")]
    axes.plot(*places, color=INK, label="knee", zorder=3, **KNEE_STYLE)
    at = float(np.interp(answer["capacity"]["value"], [row[over] for row in rows], tokens))
    axes.axvline(at, color=INK, linewidth=1, label="at the capacity")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    panel_title(axes, "End-to-end time (s)")
    axes.set_xlabel("output tokens per second")
    axes.grid(alpha=0.25)
    axes.legend(loc="best", **OPAQUE_LEGEND)
