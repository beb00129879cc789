"""How latencies are distributed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from sim.plots.canvas import FAINT, INK, SERIES, legend_inside, new_figure, panel_title
from sim.plots.ticks import seconds, time_axis

TITLES = {
    "ttft": "Time to first token (TTFT)",
    "tpot": "Time per output token (TPOT)",
    "itl": "Gap between tokens (ITL)",
    "e2e": "End to end (E2E)",
}


def latency_figure(
    title: str, requests: pd.DataFrame, gaps: pd.DataFrame, metrics: dict[str, float | None], slo: dict[str, float]
) -> Figure:
    """What share of requests (ITL: of tokens) was at least as quick, per latency, with percentiles and SLO limits."""
    figure = new_figure(title, 7.2)
    for axes, (metric, name) in zip(figure.subplots(2, 2).flat, TITLES.items(), strict=True):
        if metric == "itl":
            values, weights = gaps["gap_s"].to_numpy(float), gaps["tokens"].to_numpy(float)
        else:
            values = requests[f"{metric}_s"].dropna().to_numpy(float)
            weights = np.ones(len(values))
        _draw_shares(axes, values, weights)
        _mark_percentiles(axes, metric, metrics)
        _mark_slo(axes, metric, slo)
        time_axis(axes)
        legend_inside(axes)
        panel_title(axes, name)
        axes.set_ylabel("share of tokens" if metric == "itl" else "share of requests")
    return figure


def _draw_shares(axes: Axes, values: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
    if not len(values):
        axes.text(0.5, 0.5, "nothing to measure", ha="center", va="center", transform=axes.transAxes, color=FAINT)
        return
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    axes.plot(values[order], share, color=SERIES[0], drawstyle="steps-post")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.25)


def _mark_percentiles(axes: Axes, metric: str, metrics: dict[str, float | None]) -> None:
    for level, style in (("p50", ":"), ("p99", "--")):
        value = metrics[f"{level}_{metric}"]
        if value is not None:
            axes.axvline(value, color=INK, linestyle=style, linewidth=1, label=f"{level.upper()} {seconds(value)}")


def _mark_slo(axes: Axes, metric: str, slo: dict[str, float]) -> None:
    for name, limit in slo.items():
        if name.endswith(f"_{metric}"):
            axes.axvline(limit, color=SERIES[1], linewidth=1.5, label=f"SLO {name} {seconds(limit)}")
