"""How latencies are distributed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sim.metrics.latency import PERCENTILES, measured
from sim.metrics.runs import FloatArray
from sim.plots.canvas import FAINT, INK, SERIES, LegendPlace, legend_inside, new_figure, panel_title
from sim.plots.ticks import seconds, time_axis
from sim.specs.metric_names import metric_of
from sim.stats.interval import Interval
from sim.stats.series import SeriesSample

TITLES = {
    "ttft": "Time to first token (TTFT)",
    "tpot": "Time per output token (TPOT)",
    "itl": "Gap between tokens (ITL)",
    "e2e": "End to end (E2E)",
}

BAR_STYLE: dict[str, Any] = {"fmt": "o", "color": INK, "markersize": 3.5, "capsize": 3.5, "zorder": 3}

STEPS = 500
"""Of a curve of shares, on a linear axis and on a logarithmic one."""


def latency_figure(
    title: str,
    requests: pd.DataFrame,
    gaps: SeriesSample,
    metrics: dict[str, float | None],
    slo: dict[str, float],
    intervals: Mapping[str, Interval] | None = None,
) -> Figure:
    """What share of requests (ITL: of tokens) was at least as quick, per latency, with percentiles and SLO limits.

    Percentiles that have `intervals` are drawn with them, as error bars at their height.
    """
    figure = new_figure(title, 7.2)
    for axes, (metric, name) in zip(figure.subplots(2, 2).flat, TITLES.items(), strict=True):
        of_tokens = metric == "itl"
        curve = _shares_of_gaps(gaps) if of_tokens else _shares(measured(requests[f"{metric}_s"]))
        _draw_shares(axes, *curve)
        _mark_intervals(axes, metric, intervals or {})
        _mark_percentiles(axes, metric, metrics, intervals or {})
        _mark_slo(axes, metric, slo)
        time_axis(axes)
        legend_inside(axes, _beside(axes, *curve))
        panel_title(axes, name)
        axes.set_ylabel("share of tokens" if of_tokens else "share of requests")
    return figure


def _shares(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The values in order, and the share of those up to each."""
    return np.sort(values), np.arange(1, len(values) + 1) / len(values)


def _shares_of_gaps(gaps: SeriesSample) -> tuple[FloatArray, FloatArray]:
    """The gaps in order, or where they are many limits so close that no step is seen; and the share up to each."""
    if gaps.length.sum() <= STEPS:
        values, repeats = gaps.written_out()
        order = np.argsort(values)
        return values[order], np.cumsum(repeats[order]) / gaps.size
    low_s, high_s = gaps.min(), gaps.max()
    by_ratio = np.maximum(low_s, high_s * np.geomspace(1e-6, 1, STEPS))
    limits_s = np.union1d(np.linspace(low_s, high_s, STEPS), by_ratio)
    return limits_s, gaps.counts_upto(limits_s) / gaps.size


def _draw_shares(axes: Axes, values: FloatArray, shares: FloatArray) -> None:
    if not len(values):
        axes.text(0.5, 0.5, "nothing to measure", ha="center", va="center", transform=axes.transAxes, color=FAINT)
        return
    axes.plot(values, shares, color=SERIES[0], drawstyle="steps-post")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.25)


def _beside(axes: Axes, values: FloatArray, shares: FloatArray) -> LegendPlace:
    """Where a curve of shares is not: above its rise if that comes late, else below what it has reached."""
    if not len(values):
        return "best"
    mostly = values[np.searchsorted(shares, 0.8)]
    across, _ = axes.transAxes.inverted().transform(axes.transData.transform((mostly, 0.0)))
    return "upper left" if across > 0.5 else "lower right"


def _mark_percentiles(
    axes: Axes, metric: str, metrics: dict[str, float | None], intervals: Mapping[str, Interval]
) -> None:
    """Those of the curve itself that have no interval."""
    whose = " of this run" if intervals else ""
    for level, style in (("p50", ":"), ("p99", "--")):
        name = f"{level}_{metric}"
        value = metrics[name]
        if value is not None and name not in intervals:
            label = f"{level.upper()} {seconds(value)}{whose}"
            axes.axvline(value, color=INK, linestyle=style, linewidth=1, label=label)


def _mark_intervals(axes: Axes, metric: str, intervals: Mapping[str, Interval]) -> None:
    """An error bar a percentile, at the share of requests below it."""
    for percent in PERCENTILES:
        interval = intervals.get(f"p{percent}_{metric}")
        if interval is None:
            continue
        low, value, high = (seconds(time_s) for time_s in (interval.low, interval.value, interval.high))
        reach = [[interval.value - interval.low], [interval.high - interval.value]]
        label = f"P{percent} {value} [{low}, {high}]"
        axes.errorbar([interval.value], [percent / 100], xerr=reach, label=label, **BAR_STYLE)


def _mark_slo(axes: Axes, metric: str, slo: dict[str, float]) -> None:
    for name, limit in slo.items():
        if metric_of(name) == metric:
            axes.axvline(limit, color=SERIES[1], linewidth=1.5, label=f"SLO {name} {seconds(limit)}")
