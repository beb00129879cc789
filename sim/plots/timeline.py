"""A run over time: queue, KV cache, throughput.

A row of the iterations is a run of iterations: what it computed and the blocks it took are spread evenly over its time.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike, NDArray

from sim.metrics.runs import FloatArray, asked_for_decodes, asked_for_prompt_tokens, durations_s
from sim.plots.canvas import SERIES, SLICES, legend_above, new_figure, panel_title
from sim.serving.front_end import TIE_S


def timeline_figure(title: str, requests: pd.DataFrame, iterations: pd.DataFrame, usable_blocks: int) -> Figure:
    """Requests running and waiting, KV memory in use, and token throughput over the run."""
    figure = new_figure(title, 8)
    queue_axes, kv_axes, token_axes = figure.subplots(3, 1, sharex=True)
    start_s, end_s = _span_s(iterations)
    edges = np.linspace(start_s, end_s, SLICES + 1)
    _plot_queue(queue_axes, iterations, requests, edges)
    _plot_kv(kv_axes, iterations, edges, usable_blocks)
    _plot_tokens(token_axes, iterations, requests, edges)
    for axes in (queue_axes, kv_axes, token_axes):
        legend_above(axes)
    token_axes.set_xlabel("simulated time (s)")
    token_axes.set_xlim(start_s, end_s)
    return figure


def _plot_queue(axes: Axes, iterations: pd.DataFrame, requests: pd.DataFrame, edges: FloatArray) -> None:
    middle, width = _middles(edges), np.diff(edges)
    running_s = _over_runs(iterations, iterations["running"] * durations_s(iterations), edges)
    axes.plot(middle, running_s / width, color=SERIES[0], label="running")
    axes.plot(middle, _waiting_s(iterations, requests, edges) / width, color=SERIES[1], label="waiting")
    axes.set_ylabel("requests")
    panel_title(axes, "Requests in the engine")


def _plot_kv(axes: Axes, iterations: pd.DataFrame, edges: FloatArray, usable_blocks: int) -> None:
    held_s = iterations["kv_used_blocks"] * durations_s(iterations)
    block_s = _over_runs(iterations, held_s, edges) + _over_runs(iterations, iterations["kv_grown_block_s"], edges, 2)
    used = block_s / np.diff(edges) / usable_blocks
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


def _plot_tokens(axes: Axes, iterations: pd.DataFrame, requests: pd.DataFrame, edges: FloatArray) -> None:
    """Prompt tokens computed and output tokens emitted per second, by slices of time."""
    middle, width = _middles(edges), np.diff(edges)
    first_tokens = np.histogram(requests["first_token_s"], edges)[0]
    decoded = _over_runs(iterations, asked_for_decodes(iterations) * iterations["iterations"], edges)
    prompts = _over_runs(iterations, asked_for_prompt_tokens(iterations), edges)
    axes.plot(middle, prompts / width, color=SERIES[1], label="prompt tokens computed")
    axes.plot(middle, (decoded + first_tokens) / width, color=SERIES[0], label="output tokens")
    axes.set_ylabel("tokens per second")
    axes.set_ylim(bottom=0)
    panel_title(axes, "Throughput")


def _span_s(iterations: pd.DataFrame) -> tuple[float, float]:
    """From the first iteration's start to the last one's end."""
    if iterations.empty:
        return 0.0, 1.0
    last = iterations.iloc[[-1]]
    return float(iterations["start_s"].iloc[0]), float(last["start_s"].iloc[0] + durations_s(last)[0])


def _middles(edges: FloatArray) -> FloatArray:
    middles: FloatArray = (edges[:-1] + edges[1:]) / 2
    return middles


def _over_runs(iterations: pd.DataFrame, amounts: ArrayLike, edges: FloatArray, power: int = 1) -> FloatArray:
    """How much of what comes with each run, between its start and its end, falls into each slice of time.

    It comes evenly, or at `power` 2 ever faster, as the time integral of something that grows evenly.
    """
    if iterations.empty:
        return np.zeros(len(edges) - 1)
    starts, total = iterations["start_s"].to_numpy(), np.concatenate(([0.0], np.cumsum(amounts)))
    run = np.clip(np.searchsorted(starts, edges, side="right") - 1, 0, None)
    seconds = durations_s(iterations)[run]
    share = np.divide(edges - starts[run], seconds, out=np.ones(len(edges)), where=seconds > 0)
    by_edge = total[run] + np.diff(total)[run] * np.clip(share, 0.0, 1.0) ** power
    found: FloatArray = np.diff(by_edge)
    return found


def _waiting_s(iterations: pd.DataFrame, requests: pd.DataFrame, edges: FloatArray) -> FloatArray:
    """Request-seconds of waiting in each slice of time.

    Those of finished requests before they were first scheduled are known exactly. Whoever else waits (after a
    preemption, or to the end of an interrupted run) is counted when an iteration starts.
    """
    if iterations.empty:
        return np.zeros(len(edges) - 1)
    queued, scheduled = (np.sort(requests[column].to_numpy()) for column in ("queued_s", "scheduled_s"))
    starts = iterations["start_s"].to_numpy()
    first_time = _before(queued, starts + TIE_S) - _before(scheduled, starts + TIE_S)
    others = np.clip(iterations["waiting"].to_numpy() - first_time, 0, None)
    others_s = np.concatenate(([0.0], np.cumsum(others * np.diff(starts, append=edges[-1]))))
    others_by_edge = np.interp(edges, np.append(starts, edges[-1]), others_s)
    found: FloatArray = np.diff(others_by_edge + _since(queued, edges) - _since(scheduled, edges))
    return found


def _before(times: FloatArray, moments: FloatArray) -> NDArray[np.int64]:
    """How many of the sorted `times` have come at each moment."""
    return np.searchsorted(times, moments, side="right").astype(np.int64)


def _since(times: FloatArray, moments: FloatArray) -> FloatArray:
    """Seconds since each of the sorted `times` that have come, summed, at each moment."""
    count, total = _before(times, moments), np.concatenate(([0.0], np.cumsum(times)))
    seconds: FloatArray = count * moments - total[count]
    return seconds
