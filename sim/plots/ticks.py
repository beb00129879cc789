"""Axes people can read: times in their usual units, labels that stay apart."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

LOG_FROM_RATIO = 20
"""Latencies that span more than this are drawn on a logarithmic axis."""
LEAST_SPAN = 0.1
"""Of the largest value: what a linear axis shows at least, so that rounding errors of the clock stay invisible."""
MULTIPLES = (tuple(range(1, 10)), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))
"""Within a decade, which multiples are labelled: from as many as possible to as few."""
TIME_LABELS_APART, PLAIN_LABELS_APART = 0.13, 0.06
"""Shares of an axis that a label needs: `500 ms` beside the next one, a plain number above the next one."""


def seconds(value: float, digits: int = 3) -> str:
    """A time as people write it, in µs, ms or s."""
    if value == 0:
        return "0 s"
    if value < 0.9995e-3:
        return f"{value * 1e6:.{digits}g} µs"
    if value < 0.9995:
        return f"{value * 1e3:.{digits}g} ms"
    return f"{value:.{digits}g} s" if value < 999.5 else f"{value:.0f} s"


def time_axis(axes: Axes, apart: float = TIME_LABELS_APART) -> None:
    """Make x an axis of latencies, for everything drawn so far: logarithmic if they differ much.

    A label needs the share `apart` of the axis.
    """
    low, high = axes.dataLim.intervalx
    if not np.isfinite((low, high)).all():
        return
    if 0 < low < high / LOG_FROM_RATIO:
        axes.set_xscale("log")
        log_labels(axes.xaxis, apart)
    else:
        half = 0.55 * (max(high - low, LEAST_SPAN * high) or 1e-3)
        axes.set_xlim(max(0.0, (low + high) / 2 - half), (low + high) / 2 + half)
        axes.xaxis.set_major_locator(MaxNLocator(int(0.8 / apart)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds(value, digits=6)))
    axes.tick_params(axis="x", which="both", labelsize=8.5)


def log_labels(axis: Axis, apart: float) -> None:
    """Label as many multiples of each power of ten as stay `apart`, a share of the logarithmic axis as it stands."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    labelled = next((marks for marks in MULTIPLES if _closest(marks) >= apart * decades), MULTIPLES[-1])
    axis.set_major_locator(LogLocator(subs=labelled))
    axis.set_minor_locator(LogLocator(subs=MULTIPLES[0]))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _closest(multiples: tuple[int, ...]) -> float:
    """The smallest distance between two labels, in decades."""
    return min(float(np.log10(upper / lower)) for lower, upper in pairwise((*multiples, 10)))


def _plain(value: float, _: Any = None) -> str:
    return f"{value:g}"
