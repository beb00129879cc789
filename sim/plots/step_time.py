"""Where step time goes."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sim.cost.batch import RESOURCE_NAMES
from sim.plots.canvas import INK, new_figure, panel_title

RESOURCE_COLOURS = {
    "compute": "#d55e00", "memory": "#0072b2", "link": "#cc79a7", "launch": "#e69f00", "host": "#8a97a3",
    "given": "#009e73",
}  # fmt: skip


def step_time_figure(title: str, step_time: dict[str, Any]) -> Figure:
    """Where the engine's busy time went, by operation group, coloured by the resource that set it."""
    groups: dict[str, dict[str, float]] = step_time["seconds_by_group"]
    figure = new_figure(title, 2.4 + 0.5 * max(len(groups), 2))
    axes = figure.subplots()
    busy_s = sum(sum(parts.values()) for parts in groups.values())
    left = dict.fromkeys(groups, 0.0)
    for resource, colour in RESOURCE_COLOURS.items():
        widths = [groups[group].get(resource, 0.0) / busy_s for group in groups]
        if any(widths):
            axes.barh(list(groups), widths, left=list(left.values()), color=colour, label=RESOURCE_NAMES[resource])
            left = {group: left[group] + width for group, width in zip(groups, widths, strict=True)}
    for row, total in enumerate(left.values()):
        axes.text(total + 0.008, row, f"{total:.1%}", va="center", color=INK, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, max(left.values(), default=1.0) * 1.12)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel(f"share of busy time ({busy_s:,.1f} s in all)")
    panel_title(axes, "Where step time goes")
    if groups:
        figure.legend(loc="outside lower center", ncols=len(RESOURCE_COLOURS), frameon=False)
    return figure
