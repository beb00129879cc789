"""What all pictures share: colours, the titled figure, legends, writing to a file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.errors import printable

INK, FAINT = "#22303c", "#8a97a3"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d31")
"""Colour-blind safe (Okabe and Ito)."""
SLICES = 120
"""Of the time axis, in which rates and averages are drawn."""
WIDTH_INCHES = 11.0
OPAQUE_LEGEND: dict[str, Any] = {"edgecolor": "none", "framealpha": 0.85, "borderpad": 0.2}
"""A legend that stays readable over curves."""
LegendPlace = Literal["best", "upper left", "lower right"]


def new_figure(title: str, height_inches: float) -> Figure:
    """An empty figure whose title breaks into lines where it is too long for one."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    figure.suptitle(literal(title), x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK, wrap=True)
    return figure


def literal(text: str) -> str:
    """What people named, as a picture shows it: dollar signs begin no formula."""
    return printable(text).replace("$", r"\$")


def panel_title(axes: Axes, title: str) -> None:
    """The name of one panel, on its left."""
    axes.set_title(title, loc="left", color=INK)


def legend_inside(axes: Axes, place: LegendPlace = "best") -> None:
    """A legend, where it covers least unless a place is given; none where nothing is named."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=place, **OPAQUE_LEGEND)


def legend_above(axes: Axes) -> None:
    """A legend in one row at the height of the panel's title, where it covers no peak."""
    labels = axes.get_legend_handles_labels()[1]
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(labels), frameon=False, borderaxespad=0)


def save(figure: Figure, path: Path) -> None:
    """Write a picture; its kind follows from the suffix. What the font cannot write is drawn as a box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(path, dpi=130, facecolor="white")
