"""A recorded workload: its rate, its gaps, its lengths."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from sim.plots.canvas import FAINT, INK, OPAQUE_LEGEND, SERIES, SLICES, new_figure, panel_title
from sim.plots.ticks import seconds

LEAST_GAP_S = 1e-9
"""Whatever is closer than a nanosecond arrives at once."""


def trace_figure(title: str, trace: pd.DataFrame) -> Figure:
    """A recorded workload: its rate over time, its gaps against those of a Poisson process, its lengths.

    `trace` has one row per request, in time order, with columns `arrival_s`, `prompt_tokens` and `output_tokens`.
    """
    figure = new_figure(title, 7.2)
    panels = figure.subplot_mosaic([["rate"] * 3, ["gaps", "lengths", "joint"]])
    arrivals = trace["arrival_s"].to_numpy(float) - trace["arrival_s"].iloc[0]
    _plot_rate(panels["rate"], arrivals)
    _plot_gaps(panels["gaps"], _gaps(arrivals))
    _plot_lengths(panels["lengths"], trace)
    _plot_joint_lengths(panels["joint"], trace)
    return figure


def _gaps(arrivals: NDArray[np.float64]) -> NDArray[np.float64]:
    gaps_s = np.diff(arrivals)
    return np.where(gaps_s > LEAST_GAP_S, gaps_s, 0.0)


def _plot_rate(axes: Axes, arrivals: NDArray[np.float64]) -> None:
    """Requests per second by slices of time, few enough that a slice holds some ten requests."""
    span_s = float(arrivals[-1]) if arrivals[-1] > LEAST_GAP_S else 1.0
    counts, edges = np.histogram(arrivals, max(1, min(SLICES, len(arrivals) // 10)), (0, span_s))
    width_s = edges[1] - edges[0]
    axes.stairs(counts / width_s, edges, color=SERIES[0], fill=True, alpha=0.35)
    axes.stairs(counts / width_s, edges, color=SERIES[0], label=f"in slices of {seconds(width_s)}")
    mean = (len(arrivals) - 1) / span_s
    axes.axhline(mean, color=INK, linestyle="--", linewidth=1, label=f"mean {mean:.3g}")
    panel_title(axes, "Arrival rate")
    axes.set(xlabel="time since the first request (s)", ylabel="requests per second", xlim=(edges[0], edges[-1]))
    axes.set_ylim(0, float(counts.max()) / width_s * 1.25)
    axes.legend(loc="upper right", ncols=2, **OPAQUE_LEGEND)


def _plot_gaps(axes: Axes, gaps_s: NDArray[np.float64]) -> None:
    """What share of gaps is longer; gaps of 0 lower the left end of the curve."""
    panel_title(axes, "Gaps between arrivals")
    if not gaps_s.any():
        axes.text(0.5, 0.5, "no time between arrivals", ha="center", transform=axes.transAxes, color=FAINT)
        return
    mean_s, least_share = gaps_s.mean(), 0.5 / len(gaps_s)
    longer = 1 - np.arange(1, len(gaps_s) + 1) / len(gaps_s)
    from_s = min(max(gaps_s[gaps_s > 0].min() / 2, mean_s / 1000), mean_s / 20)
    ordered = np.concatenate(([from_s], np.sort(gaps_s)))
    share = np.concatenate(([(gaps_s > from_s).mean()], np.where(longer > 0, longer, np.nan)))
    axes.plot(
        ordered[ordered >= from_s], share[ordered >= from_s], color=SERIES[0], drawstyle="steps-post", label="trace"
    )
    line_s = np.geomspace(from_s, mean_s * np.log(1 / least_share), 200)
    axes.plot(line_s, np.exp(-line_s / mean_s), color=INK, linestyle="--", linewidth=1, label="Poisson of equal rate")
    axes.set(xscale="log", yscale="log", xlabel="gap (s)", ylabel="share of gaps that are longer")
    axes.set(xlim=(from_s, max(line_s[-1], gaps_s.max()) * 1.2), ylim=(least_share, 2))
    axes.grid(alpha=0.25)
    axes.legend(loc="lower left", **OPAQUE_LEGEND)


def _plot_lengths(axes: Axes, trace: pd.DataFrame) -> None:
    """What share of prompts and of outputs is at most as long."""
    for column, colour in (("prompt_tokens", SERIES[1]), ("output_tokens", SERIES[0])):
        ordered = np.sort(trace[column].to_numpy(float))
        share = np.arange(len(ordered) + 1) / len(ordered)
        label = f"{column.partition('_')[0]}, median {np.median(ordered):,.0f}"
        axes.plot([ordered[0], *ordered], share, color=colour, drawstyle="steps-post", label=label)
    panel_title(axes, "Lengths")
    axes.set(xscale="log", xlabel="tokens", ylabel="share of requests at most as long", ylim=(0, 1.3))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", edgecolor="none", borderpad=0.2)


def _plot_joint_lengths(axes: Axes, trace: pd.DataFrame) -> None:
    """How many requests have which pair of lengths, in cells of equal ratio."""
    prompts, outputs = trace["prompt_tokens"].to_numpy(float), trace["output_tokens"].to_numpy(float)
    across, up = (np.geomspace(tokens.min() / 1.2, tokens.max() * 1.2, 31) for tokens in (prompts, outputs))
    counts, _, _ = np.histogram2d(outputs, prompts, bins=(up, across))
    cells = axes.pcolormesh(across, up, np.where(counts > 0, counts, np.nan), norm=LogNorm(1), cmap="viridis_r")
    axes.figure.colorbar(cells, ax=axes, label="requests")
    panel_title(axes, "Pairs of lengths")
    axes.set(xscale="log", yscale="log", xlabel="prompt tokens", ylabel="output tokens")
