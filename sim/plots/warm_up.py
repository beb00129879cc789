"""Where start-up ends: the average of many replications, request by request."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from sim.plots.canvas import FAINT, INK, SERIES, legend_inside, literal, new_figure, panel_title
from sim.plots.ticks import seconds

FloatArray = NDArray[np.float64]

TITLE_WIDTH = 105
LEAST_WINDOW, WINDOW_SHARE = 5, 0.04
"""Requests that a moving average spans: so many at least, and this share of all."""


def warm_up_figure(title: str, average_s: FloatArray, first: int, last: int, why: str) -> Figure:
    """E2E of the first, second, third … request, averaged over replications, and how many are left out at both ends.

    `why` says who decided on the first.
    """
    figure = new_figure(title, 4.6)
    axes = figure.subplots()
    window = max(LEAST_WINDOW, round(WINDOW_SHARE * len(average_s)))
    axes.plot(average_s, color=FAINT, linewidth=0.6, alpha=0.45, label="average over replications")
    _draw_moving_average(axes, average_s, window)
    kept_s = average_s[first : len(average_s) - last]
    if len(kept_s):
        end = len(average_s) - last
        axes.hlines(float(kept_s.mean()), first, end, INK, ":", linewidth=1.2, label="average of what is kept")
    if first:
        _draw_cut(axes, 0, first, first, f"start-up: the first {first:,} requests")
    if last:
        end = len(average_s)
        _draw_cut(axes, end - last, end, end - last, f"outlasting the arrivals: the last {last:,}")
    if not first and not last:
        axes.plot([], [], " ", label="no request is left out")
    panel_title(axes, textwrap.fill(literal(f"End to end (E2E), averaged over replications: {why}"), TITLE_WIDTH))
    axes.set_xlabel("request, in order of arrival")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds(value)))
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, max(len(average_s), 1))
    axes.grid(alpha=0.25)
    legend_inside(axes)
    return figure


def _draw_cut(axes: Axes, start: int, end: int, edge: int, label: str) -> None:
    axes.axvspan(start, end, color=SERIES[1], alpha=0.12, linewidth=0)
    axes.axvline(edge, color=SERIES[1], linewidth=1.5, linestyle="-" if start == 0 else "--", label=label)


def _draw_moving_average(axes: Axes, average_s: FloatArray, window: int) -> None:
    """Over `window` requests, drawn at the middle one."""
    if len(average_s) < window:
        return
    moving = np.convolve(average_s, np.full(window, 1 / window), mode="valid")
    middle = np.arange(len(moving)) + (window - 1) / 2
    axes.plot(middle, moving, color=SERIES[0], linewidth=1.8, label=f"moving average of {window:,} requests")
