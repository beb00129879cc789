"""Elasticities: a bar an input, the longest first, a panel a metric."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sim.plots.canvas import INK, SERIES, literal, new_figure, panel_title

COLUMNS = 2
ROW_INCHES, PANEL_INCHES = 0.3, 1.0
RAISES, LOWERS = SERIES[1], SERIES[0]


def tornado_figure(title: str, table: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """By how many per cent each metric changes when an input grows by one.

    `table` has a row a metric and input: `metric`, `input`, `elasticity`, `elasticity_low`, `elasticity_high`; `names`
    are the metrics' names for people.
    """
    rows, inputs = -(-len(names) // COLUMNS), table["input"].nunique()
    figure = new_figure(title, 0.5 + rows * (PANEL_INCHES + ROW_INCHES * inputs))
    panels = list(figure.subplots(rows, min(COLUMNS, len(names)), squeeze=False).flat)
    for axes, (metric, name) in zip(panels, names.items(), strict=False):
        known = table[(table["metric"] == metric) & table["elasticity"].notna()]
        _draw(axes, known.sort_values("elasticity", key=abs), name)
    for axes in panels[len(names) :]:
        axes.remove()
    return figure


def _draw(axes: Axes, part: pd.DataFrame, name: str) -> None:
    """Bars from the least below to the largest on top, each with its interval."""
    places, sizes = range(len(part)), part["elasticity"].to_numpy()
    colours = [RAISES if size > 0 else LOWERS for size in sizes]
    low, high = sizes - part["elasticity_low"], part["elasticity_high"] - sizes
    axes.barh(places, sizes, color=colours, height=0.65, alpha=0.85)
    axes.errorbar(sizes, places, xerr=[low, high], fmt="none", ecolor=INK, elinewidth=1.2, capsize=2.5)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(places, [literal(name) for name in part["input"]], fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="x", alpha=0.25)
    panel_title(axes, literal(f"{name}: % per %"))
    if not len(part):
        axes.text(0.5, 0.5, "no intervals", transform=axes.transAxes, ha="center", va="center", color=INK)
