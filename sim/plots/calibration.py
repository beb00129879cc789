"""Measured against fitted times of operators: a panel an operator, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sim.plots.canvas import FAINT, INK, SERIES, literal, new_figure, panel_title
from sim.plots.ticks import PLAIN_LABELS_APART, log_labels

COLUMNS = 3
PANEL_INCHES = 3.4
MOST_POINTS = 2000
"""Drawn in a panel: every so many of those in order of time."""
FEW = 200
X_LABELS_APART = 0.15
"""The share of a panel's width that `10000` beside the next label needs."""
MICROSECONDS = 1e6

Pairs = tuple[NDArray[np.float64], NDArray[np.float64], str]
"""Measured and fitted seconds of the points of an operator, and a word on how far they are off."""


def calibration_figure(title: str, operators: Mapping[str, Pairs]) -> Figure:
    """A point on the diagonal is fitted exactly."""
    rows = -(-len(operators) // COLUMNS)
    figure = new_figure(title, 0.6 + PANEL_INCHES * rows)
    panels: Sequence[Axes] = list(figure.subplots(rows, min(COLUMNS, len(operators)), squeeze=False).flat)
    for axes, (name, pairs) in zip(panels, operators.items(), strict=False):
        _draw(axes, name, *pairs)
    for axes in panels[len(operators) :]:
        axes.remove()
    return figure


def _draw(axes: Axes, name: str, measured_s: NDArray[np.float64], fitted_s: NDArray[np.float64], word: str) -> None:
    order = np.argsort(measured_s)[:: max(1, len(measured_s) // MOST_POINTS)]
    measured, fitted = measured_s[order] * MICROSECONDS, fitted_s[order] * MICROSECONDS
    low, high = 0.8 * min(measured.min(), fitted.min()), 1.25 * max(measured.max(), fitted.max())
    axes.plot([low, high], [low, high], color=INK, linewidth=1, zorder=1)
    for factor in (1 / 1.2, 1.2):
        axes.plot([low, high], [low * factor, high * factor], color=FAINT, linewidth=0.8, linestyle="--", zorder=1)
    size, alpha = (6, 0.35) if len(measured) > FEW else (24, 0.8)
    axes.scatter(measured, fitted, s=size, color=SERIES[0], alpha=alpha, linewidths=0, rasterized=True)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    log_labels(axes.xaxis, X_LABELS_APART)
    log_labels(axes.yaxis, PLAIN_LABELS_APART)
    axes.set_xlabel("measured [µs]")
    axes.set_ylabel("fitted [µs]")
    axes.grid(alpha=0.25)
    panel_title(axes, literal(name))
    axes.text(0.04, 0.96, literal(word), transform=axes.transAxes, va="top", fontsize=9, color=INK)
