"""A run over time: queue, KV cache, throughput."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from sim.plots.canvas import SERIES, SLICES, legend_above, new_figure, panel_title


def timeline_figure(title: str, requests: pd.DataFrame, iterations: pd.DataFrame, usable_blocks: int) -> Figure:
    """Requests running and waiting, KV memory in use, and token throughput over the run."""
    figure = new_figure(title, 8)
    queue_axes, kv_axes, token_axes = figure.subplots(3, 1, sharex=True)
    start_s, end_s = _span_s(iterations)
    edges = np.linspace(start_s, end_s, SLICES + 1)
    _plot_queue(queue_axes, iterations, edges)
    _plot_kv(kv_axes, iterations, edges, usable_blocks)
    _plot_tokens(token_axes, iterations, requests, edges)
    for axes in (queue_axes, kv_axes, token_axes):
        legend_above(axes)
    token_axes.set_xlabel("simulated time (s)")
    token_axes.set_xlim(start_s, end_s)
    return figure


def _plot_queue(axes: Axes, iterations: pd.DataFrame, edges: NDArray[np.float64]) -> None:
    for column, colour in (("running", SERIES[0]), ("waiting", SERIES[1])):
        axes.plot(_middles(edges), _time_average(iterations, column, edges), color=colour, label=column)
    axes.set_ylabel("requests")
    panel_title(axes, "Requests in the engine")


def _plot_kv(axes: Axes, iterations: pd.DataFrame, edges: NDArray[np.float64], usable_blocks: int) -> None:
    used = _time_average(iterations, "kv_used_blocks", edges) / usable_blocks
    axes.fill_between(_middles(edges), used, color=SERIES[2], alpha=0.35, linewidth=0)
    axes.plot(_middles(edges), used, color=SERIES[2], label="blocks held")
    times = iterations.loc[iterations["preemptions"] > 0, "start_s"]
    if len(times):
        count = int(iterations["preemptions"].sum())
        axes.plot(times, np.full(len(times), 1.02), "|", color=SERIES[1], markersize=7, label=f"{count} preemptions")
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("of KV blocks")
    panel_title(axes, "KV cache")


def _plot_tokens(axes: Axes, iterations: pd.DataFrame, requests: pd.DataFrame, edges: NDArray[np.float64]) -> None:
    """Prompt tokens computed and output tokens emitted per second, by slices of time."""
    ends = (iterations["start_s"] + iterations["first_step_s"] * iterations["iterations"]).to_numpy()
    middle, width = _middles(edges), edges[1] - edges[0]
    first_tokens = np.histogram(requests["first_token_s"], edges)[0]
    decoded = np.histogram(ends, edges, weights=iterations["decode_requests"] * iterations["iterations"])[0]
    prompts = np.histogram(ends, edges, weights=iterations["prefill_tokens"])[0]
    axes.plot(middle, prompts / width, color=SERIES[1], label="prompt tokens computed")
    axes.plot(middle, (decoded + first_tokens) / width, color=SERIES[0], label="output tokens")
    axes.set_ylabel("tokens per second")
    axes.set_ylim(bottom=0)
    panel_title(axes, "Throughput")


def _span_s(iterations: pd.DataFrame) -> tuple[float, float]:
    """From the first iteration's start to the last one's end."""
    if iterations.empty:
        return 0.0, 1.0
    last = iterations.iloc[-1]
    return float(iterations["start_s"].iloc[0]), float(last["start_s"] + last["first_step_s"] * last["iterations"])


def _middles(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    middles: NDArray[np.float64] = (edges[:-1] + edges[1:]) / 2
    return middles


def _time_average(iterations: pd.DataFrame, column: str, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of a column over each slice of time; between iterations it is 0."""
    if iterations.empty:
        return np.zeros(len(edges) - 1)
    starts = iterations["start_s"].to_numpy()
    ends = starts + (iterations["first_step_s"] * iterations["iterations"]).to_numpy()
    area = np.concatenate(([0.0], np.cumsum(iterations[column].to_numpy() * (ends - starts))))
    knots = np.column_stack((starts, ends)).ravel()
    values = np.column_stack((area[:-1], area[1:])).ravel()
    averages: NDArray[np.float64] = np.diff(np.interp(edges, knots, values)) / np.diff(edges)
    return averages
