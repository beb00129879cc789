"""Systems compared: the paired difference in each metric, with its interval and the replications behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sim.plots.canvas import FAINT, INK, SERIES, literal, new_figure, panel_title

COLUMNS = 2
PANEL_INCHES, ROW_INCHES, LEGEND_INCHES = 0.75, 0.45, 0.28
DOT_STYLE: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 3.5, "alpha": 0.5, "markeredgewidth": 0}
BAR_STYLE: dict[str, Any] = {"linewidth": 2.4, "solid_capstyle": "butt"}
MEAN_STYLE: dict[str, Any] = {"marker": "D", "markersize": 6}
UNPAIRED_STYLE: dict[str, Any] = {"color": FAINT, "linewidth": 1.2, "marker": "|", "markersize": 7}
BAND_STYLE: dict[str, Any] = {"color": FAINT, "alpha": 0.2, "linewidth": 0}
APART = 0.28
"""Of a row's height: replications above the bar, what it would be without pairing below."""
LABELS_FIT = 50
"""Characters of a label of which two stand side by side."""


def compare_figure(
    title: str, table: pd.DataFrame, values: pd.DataFrame, labels: dict[str, str], same_within: float
) -> Figure:
    """A panel a metric: by how much every config but the first differs from it.

    `table` has a row a metric and config: `metric`, `name` (for people), `unit`, `config`, `a_value` (the first
    config's), `difference`, `difference_low`, `difference_high`, `variance_reduction`, and `text` to write beside it.
    `values` has a row a replication of each config: `config` and, by metric, its values. `labels` says what each config
    is, the first one first; differences of up to the share `same_within` of the first one's value count as none.
    """
    metrics, first = list(dict.fromkeys(table["metric"])), next(iter(labels))
    colours = dict(zip([key for key in labels if key != first], SERIES * len(labels), strict=False))
    rows = -(-len(metrics) // COLUMNS)
    height_inches = 0.4 + rows * (PANEL_INCHES + ROW_INCHES * len(colours)) + LEGEND_INCHES * (len(labels) + 4)
    figure = new_figure(title, height_inches)
    panels = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for axes, metric in zip(panels, metrics, strict=False):
        _draw_panel(axes, table[table["metric"] == metric], values, first, colours)
        _frame(axes, table[table["metric"] == metric].iloc[0], list(colours), same_within)
    for axes in panels[len(metrics) :]:
        axes.remove()
    _explain(figure, labels, first, colours, same_within)
    return figure


def _draw_panel(axes: Axes, part: pd.DataFrame, values: pd.DataFrame, first: str, colours: dict[str, str]) -> None:
    for height, (_, row) in enumerate(part.iterrows()):
        one, other = (
            values.loc[values["config"] == key, row["metric"]].to_numpy(float) for key in (first, row["config"])
        )
        axes.text(1.01, height, literal(row["text"]), transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
        if np.isfinite(row["difference"]):
            _draw_row(axes, height, row, other - one, colours[row["config"]])


def _draw_row(axes: Axes, height: int, row: Any, each: Any, colour: str) -> None:
    """What each replication says, what they say together, and what they would say without pairing."""
    middle, low, high = row["difference"], row["difference_low"], row["difference_high"]
    gained = row["variance_reduction"]
    axes.plot(each, np.full(len(each), height - APART), color=colour, **DOT_STYLE)
    axes.plot([low, high], [height] * 2, color=colour, **BAR_STYLE)
    axes.plot([middle], [height], color=colour, **MEAN_STYLE)
    if np.isfinite(gained):
        unpaired = (high - low) / 2 * np.sqrt(gained)
        axes.plot([middle - unpaired, middle + unpaired], [height + APART] * 2, **UNPAIRED_STYLE)


def _frame(axes: Axes, row: Any, configs: list[str], same_within: float) -> None:
    """Nothing is at 0, and what counts as nothing around it; times below a second are in milliseconds."""
    axes.axvline(0, color=INK, linewidth=1)
    none = same_within * abs(row["a_value"])
    if np.isfinite(none) and none:
        axes.axvspan(-none, none, **BAND_STYLE)
    in_ms = row["unit"] == "s" and max(map(abs, axes.get_xlim())) < 1
    scale, unit = (1e3, "ms") if in_ms else (1.0, row["unit"])
    panel_title(axes, literal(f"{row['name']} ({unit})"))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * scale:+,.6g}" if value else "0"))
    axes.set_ylim(len(configs) - 0.5, -0.5)
    axes.set_yticks(range(len(configs)), configs if len(configs) > 1 else [""])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.25)


def _explain(figure: Figure, labels: dict[str, str], first: str, colours: dict[str, str], same_within: float) -> None:
    """One legend for all panels: what the configs are, then what the marks mean."""
    entries: dict[str, Any] = {f"{first}: {labels[first]}": Line2D([], [], color=INK, linewidth=1)}
    entries |= {
        f"{key}: {labels[key]}": Line2D([], [], color=colour, **BAR_STYLE, **MEAN_STYLE)
        for key, colour in colours.items()
    }
    entries["mean difference, its interval; beside it in % of " + first] = Line2D(
        [], [], color=INK, **BAR_STYLE, **MEAN_STYLE
    )
    entries["each replication"] = Line2D([], [], color=INK, **DOT_STYLE)
    entries["the interval, had nothing been paired"] = Line2D([], [], **UNPAIRED_STYLE)
    entries[f"no difference: ±{100 * same_within:g} % of {first}"] = Patch(**BAND_STYLE)
    names = [literal(name) for name in entries]
    columns = 2 if max(map(len, names)) <= LABELS_FIT else 1
    figure.legend(list(entries.values()), names, loc="outside lower left", ncols=columns, frameon=False)
