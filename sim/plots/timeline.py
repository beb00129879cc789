"""A run over time: queue, KV cache, throughput, time to first token."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sim.metrics.over_time import held_block_s, over_runs, quantiles_by_slice, running_s, span_s, waiting_s
from sim.metrics.runs import FloatArray, asked_for_decodes, asked_for_prompt_tokens
from sim.plots.canvas import SERIES, SLICES, legend_above, new_figure, panel_title

SLICES_OF_A_PERCENTILE = 2
"""Percentiles need more requests than rates do."""


def timeline_figure(title: str, requests: pd.DataFrame, iterations: pd.DataFrame, usable_blocks: int) -> Figure:
    """Requests running and waiting, KV memory in use, token throughput and TTFT over the run."""
    figure = new_figure(title, 10.5)
    queue_axes, kv_axes, token_axes, ttft_axes = panels = figure.subplots(4, 1, sharex=True)
    begin_s, end_s = span_s(requests, iterations)
    end_s = end_s if end_s > begin_s else begin_s + 1.0
    edges = np.linspace(begin_s, end_s, SLICES + 1)
    _plot_queue(queue_axes, iterations, requests, edges)
    _plot_kv(kv_axes, iterations, edges, usable_blocks)
    _plot_tokens(token_axes, iterations, requests, edges)
    _plot_ttft(ttft_axes, requests, edges[::SLICES_OF_A_PERCENTILE])
    for axes in panels:
        legend_above(axes)
    ttft_axes.set_xlabel("simulated time (s)")
    ttft_axes.set_xlim(begin_s, end_s)
    return figure


def _plot_queue(axes: Axes, iterations: pd.DataFrame, requests: pd.DataFrame, edges: FloatArray) -> None:
    middle, width = _middles(edges), np.diff(edges)
    axes.plot(middle, running_s(iterations, edges) / width, color=SERIES[0], label="running")
    axes.plot(middle, waiting_s(iterations, requests, edges) / width, color=SERIES[1], label="waiting")
    axes.set_ylabel("requests")
    panel_title(axes, "Requests in the engine")


def _plot_kv(axes: Axes, iterations: pd.DataFrame, edges: FloatArray, usable_blocks: int) -> None:
    used = held_block_s(iterations, edges) / np.diff(edges) / usable_blocks
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
    decoded = over_runs(iterations, asked_for_decodes(iterations) * iterations["iterations"], edges)
    prompts = over_runs(iterations, asked_for_prompt_tokens(iterations), edges)
    axes.plot(middle, prompts / width, color=SERIES[1], label="prompt tokens computed")
    axes.plot(middle, (decoded + first_tokens) / width, color=SERIES[0], label="output tokens")
    axes.set_ylabel("tokens per second")
    axes.set_ylim(bottom=0)
    panel_title(axes, "Throughput")


def _plot_ttft(axes: Axes, requests: pd.DataFrame, edges: FloatArray) -> None:
    """Percentiles of the requests whose first token came in each slice of time; no line where there are none."""
    p50_s, p99_s = quantiles_by_slice(requests["first_token_s"], requests["ttft_s"], edges, (0.5, 0.99))
    axes.plot(_middles(edges), p99_s, ".-", markersize=4, color=SERIES[1], label="P99")
    axes.plot(_middles(edges), p50_s, ".-", markersize=4, color=SERIES[0], label="P50")
    axes.set_ylabel("seconds")
    axes.set_ylim(bottom=0)
    panel_title(axes, "Time to first token (TTFT)")


def _middles(edges: FloatArray) -> FloatArray:
    middles: FloatArray = (edges[:-1] + edges[1:]) / 2
    return middles
