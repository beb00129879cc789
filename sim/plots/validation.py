"""A simulated run beside the real one: requests over time, each request, and how latencies are spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from sim.plots.canvas import FAINT, INK, SERIES, legend_above, legend_inside, new_figure, panel_title
from sim.plots.ticks import seconds

SIMULATED, REAL = SERIES[1], INK
PANELS = {
    "ttft": "Time to first token, from arrival",
    "tpot": "Time per output token",
    "e2e": "End-to-end time, from arrival",
}
"""Latencies that are drawn request by request."""
BAND = 0.10
"""Around equality, drawn as a help for the eye."""
WIDE = 30
"""A range in which the largest value is this many times the smallest is drawn on logarithmic axes."""
DOT_STYLE: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 4, "alpha": 0.45, "markeredgewidth": 0}


def validation_curves_figure(title: str, curves: pd.DataFrame) -> Figure:
    """Requests running and waiting: columns `t` (s), `running_real`, `running_simulated`, `waiting_real` …"""
    figure = new_figure(title, 6.2)
    panels = figure.subplots(2, 1, sharex=True)
    for axes, name in zip(panels, ("running", "waiting"), strict=True):
        for side, style in (("real", {"color": REAL, "linewidth": 2.2}), ("simulated", {"color": SIMULATED})):
            values = curves[f"{name}_{side}"]
            axes.plot(curves["t"], values, label=f"{side} (mean {values.mean():.1f})", **style)
        panel_title(axes, f"Requests {name}")
        axes.set_ylim(bottom=0)
        axes.set_ylabel("requests")
        axes.grid(alpha=0.25)
        legend_above(axes)
    panels[-1].set_xlabel("seconds since the first arrival")
    panels[-1].set_xlim(0, max(float(curves["t"].max()), 1e-9))
    return figure


def validation_requests_figure(title: str, requests: pd.DataFrame) -> Figure:
    """Each request's latencies, simulated against real: columns `NAME_real` and `NAME_simulated` in seconds."""
    figure = new_figure(title, 4.1)
    for axes, (name, words) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        both = requests[[f"{name}_real", f"{name}_simulated"]].dropna()
        panel_title(axes, words)
        if not both.empty:
            _draw_requests(axes, both.to_numpy(float))
    return figure


def _draw_requests(axes: Axes, both: Any) -> None:
    """A dot a request, the line on which they are equal, and a band around it."""
    low, high = _frame(axes, both)
    line = np.geomspace(low, high, 200) if axes.get_xscale() == "log" else np.linspace(low, high, 2)
    axes.fill_between(
        line, line * (1 - BAND), line * (1 + BAND), color=FAINT, alpha=0.2, linewidth=0, label=f"±{BAND:.0%}"
    )
    axes.plot(line, line, color=INK, linewidth=1, label="equal")
    axes.plot(both[:, 0], both[:, 1], color=SIMULATED, label="a request", **DOT_STYLE)
    axes.set(xlim=(low, high), ylim=(low, high), xlabel="real", ylabel="simulated", aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        if axes.get_xscale() == "linear":
            axis.set_major_locator(MaxNLocator(4))
        axis.set_major_formatter(FuncFormatter(lambda value, _: seconds(value)))
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", edgecolor="none", framealpha=0.85)


def _frame(axes: Axes, both: Any) -> tuple[float, float]:
    """The same range for both axes, logarithmic where it is wide."""
    low, high = float(both.min()), float(both.max())
    if low > 0 and high / low > WIDE:
        axes.set(xscale="log", yscale="log")
        return low / 1.3, high * 1.3
    margin = 0.06 * (high - low) or 0.06 * high or 1.0
    return max(low - margin, 0.0), high + margin


def validation_latencies_figure(
    title: str, requests: pd.DataFrame, errors: Mapping[str, Mapping[str, float | None]], names: Mapping[str, str]
) -> Figure:
    """Above, the share of requests up to each latency; below, signed errors by metric (`names` for people)."""
    figure = new_figure(title, 7.4)
    panels = figure.subplot_mosaic([[*PANELS], ["errors"] * len(PANELS)], height_ratios=(1.15, 1))
    for name, words in PANELS.items():
        panel_title(panels[name], words)
        _draw_shares(panels[name], requests[f"{name}_real"], requests[f"{name}_simulated"])
    panels["ttft"].set_ylabel("of the requests")
    _draw_errors(panels["errors"], errors, names)
    return figure


def _draw_shares(axes: Axes, real: pd.Series[float], simulated: pd.Series[float]) -> None:
    for values, label, style in (
        (real, "real", {"color": REAL, "linewidth": 2.2}),
        (simulated, "simulated", {"color": SIMULATED}),
    ):
        known = np.sort(values.dropna().to_numpy(float))
        if known.size:
            axes.step(known, np.arange(1, known.size + 1) / known.size, where="post", label=label, **style)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds(value)))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    legend_inside(axes)


def _draw_errors(axes: Axes, errors: Mapping[str, Mapping[str, float | None]], names: Mapping[str, str]) -> None:
    """A group of bars a metric, a bar a statistic, with its value beside it."""
    panel_title(axes, "Signed error: simulated / real - 1")
    statistics = list(dict.fromkeys(statistic for found in errors.values() for statistic in found))
    width = 0.8 / max(len(statistics), 1)
    for number, statistic in enumerate(statistics):
        places = [(group, found.get(statistic)) for group, found in enumerate(errors.values())]
        known = [(group, value) for group, value in places if value is not None]
        x = [group + (number - (len(statistics) - 1) / 2) * width for group, _ in known]
        bars = axes.bar(x, [value for _, value in known], 0.9 * width, color=SERIES[number], label=statistic)
        axes.bar_label(bars, [f"{value:+.1%}" for _, value in known], padding=2, fontsize=8, color=INK)
    axes.axhline(0, color=INK, linewidth=1)
    axes.set_xticks(range(len(errors)), [names[name] for name in errors])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.margins(y=0.18)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", alpha=0.25)
    legend_above(axes)
