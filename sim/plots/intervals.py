"""How intervals shrink as replications are added."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sim.plots.canvas import FAINT, SERIES, legend_inside, literal, new_figure, panel_title
from sim.plots.ticks import seconds

Values = Sequence[float | None]

RATE_UNITS = {
    "request_throughput": "requests/s",
    "output_throughput": "output tokens/s",
    "request_goodput": "good requests/s",
}


def intervals_figure(
    title: str,
    own: Mapping[str, Values],
    growth: Mapping[str, pd.DataFrame],
    targets: Mapping[str, float],
    why_not: Mapping[str, str],
    level: float,
) -> Figure:
    """A panel a metric: value and interval of the first 1, 2, 3 … replications, and the `own` value of each.

    A table of `growth` has columns `replications`, `value`, `low`, `high`. Of `targets` the half-widths that were asked
    for are drawn, as shares of the final value; `why_not` tells of metrics that have no interval.
    """
    figure = new_figure(title, 7.2)
    for axes, (name, table) in zip(figure.subplots(2, 2).flat, growth.items(), strict=False):
        _draw(axes, own[name], table, name in why_not, level)
        if name in targets:
            _draw_target(axes, float(table["value"].iloc[-1]), targets[name])
        panel_title(axes, _named(name))
        _measure(axes, name)
        legend_inside(axes)
    for axes in figure.axes[len(growth) :]:
        axes.remove()
    return figure


def _draw(axes: Axes, own: Values, table: pd.DataFrame, refused: bool, level: float) -> None:
    replications = range(1, len(own) + 1)
    axes.plot(replications, _floats(own), ".", color=FAINT, markersize=4, label="each replication")
    name = "all up to here" + (" (no interval)" if refused else "")
    axes.plot(table["replications"], table["value"], color=SERIES[0], linewidth=1.8, label=name)
    if not refused:
        bounds = (table["replications"], table["low"], table["high"])
        axes.fill_between(*bounds, color=SERIES[0], alpha=0.22, linewidth=0, label=f"{100 * level:g}% interval")
    axes.set_xlabel("replications")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    low, high = _span(own, table)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)


def _span(own: Values, table: pd.DataFrame) -> tuple[float, float]:
    """What is to be seen: the replications' own values and the last interval; that of the first three is far wider."""
    shown = pd.concat([_floats(own), table.iloc[-1][["value", "low", "high"]]]).dropna()
    return float(shown.min()), float(shown.max())


def _floats(own: Values) -> pd.Series[float]:
    return pd.Series([math.nan if value is None else value for value in own])


def _draw_target(axes: Axes, value: float, share: float) -> None:
    label = f"target: ±{100 * share:g}%"
    for bound in (value * (1 - share), value * (1 + share)):
        axes.axhline(bound, color=SERIES[1], linewidth=1, linestyle="--", label=label)
        label = "_"


def _named(name: str) -> str:
    """With the unit of what is no time."""
    return literal(f"{name} ({RATE_UNITS[name]})" if name in RATE_UNITS else name)


def _measure(axes: Axes, name: str) -> None:
    if name not in RATE_UNITS:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds(value, digits=4)))
