"""Pictures of results. Frames and summaries in, figures out; nothing here knows the engine.

Figures are built without pyplot, so no display is needed and nothing is global.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

INK, FAINT = "#22303c", "#8a97a3"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d31")
"""Colour-blind safe (Okabe and Ito)."""
RESOURCE_COLOURS = {
    "compute": "#d55e00", "memory": "#0072b2", "link": "#cc79a7", "host": "#8a97a3", "given": "#009e73",
}  # fmt: skip
RESOURCE_NAMES = {
    "compute": "limited by compute", "memory": "limited by memory bandwidth", "link": "limited by the link",
    "host": "host overhead", "given": "given by the cost model",
}  # fmt: skip
LATENCY_TITLES = {
    "ttft": "Time to first token (TTFT)",
    "tpot": "Time per output token (TPOT)",
    "itl": "Gap between tokens (ITL)",
    "e2e": "End to end (E2E)",
}
SLICES = 120


def latency_figure(
    title: str, requests: pd.DataFrame, gaps: pd.DataFrame, metrics: dict[str, float | None], slo: dict[str, float]
) -> Figure:
    """What share of requests (ITL: of tokens) was at least as quick, per latency, with percentiles and SLO limits."""
    figure = _figure(title, 11, 7.2)
    for axes, (metric, name) in zip(figure.subplots(2, 2).flat, LATENCY_TITLES.items(), strict=True):
        if metric == "itl":
            values, weights = gaps["gap_s"].to_numpy(float), gaps["tokens"].to_numpy(float)
        else:
            values = requests[f"{metric}_s"].dropna().to_numpy(float)
            weights = np.ones(len(values))
        _cumulative(axes, values, weights)
        _mark_percentiles(axes, metric, metrics)
        _mark_slo(axes, metric, slo)
        axes.set_title(name, loc="left", color=INK)
        axes.set_ylabel("share of tokens" if metric == "itl" else "share of requests")
    return figure


def timeline_figure(title: str, requests: pd.DataFrame, iterations: pd.DataFrame, usable_blocks: int) -> Figure:
    """Requests running and waiting, KV memory in use, and token throughput over the run."""
    figure = _figure(title, 11, 8)
    queue_axes, kv_axes, token_axes = figure.subplots(3, 1, sharex=True)
    start_s, end_s = _span_s(iterations)
    edges = np.linspace(start_s, end_s, SLICES + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    for column, colour in (("running", SERIES[0]), ("waiting", SERIES[1])):
        queue_axes.plot(middle, _time_average(iterations, column, edges), color=colour, label=column)
    queue_axes.set_ylabel("requests")
    _legend(queue_axes)
    queue_axes.set_title("Requests in the engine", loc="left", color=INK)
    used = _time_average(iterations, "kv_used_blocks", edges) / usable_blocks
    kv_axes.fill_between(middle, used, color=SERIES[2], alpha=0.35, linewidth=0)
    kv_axes.plot(middle, used, color=SERIES[2], label="blocks held")
    _mark_preemptions(kv_axes, iterations)
    kv_axes.set_ylim(0, 1.05)
    kv_axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    kv_axes.set_ylabel("of KV blocks")
    _legend(kv_axes)
    kv_axes.set_title("KV cache", loc="left", color=INK)
    _plot_tokens(token_axes, iterations, requests, edges)
    token_axes.set_xlabel("simulated time (s)")
    token_axes.set_xlim(start_s, end_s)
    return figure


def step_time_figure(title: str, step_time: dict[str, Any]) -> Figure:
    """Where the engine's busy time went, by operation group, coloured by the resource that set it."""
    groups: dict[str, dict[str, float]] = step_time["seconds_by_group"]
    figure = _figure(title, 9, 2.1 + 0.5 * max(len(groups), 2))
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
    if groups:
        figure.legend(loc="outside lower center", ncols=len(RESOURCE_COLOURS), frameon=False)
    return figure


def sweep_figure(title: str, table: pd.DataFrame, series: str, x: str, x_label: str, slo: dict[str, float]) -> Figure:
    """Latency and throughput against the varied number `x`, one line per value of the column `series`.

    `table` has a row a run with columns `output_throughput`, `p99_ttft`, `p99_tpot`, `p99_e2e` and `verdict`.
    """
    figure = _figure(title, 11, 7.6)
    panels = figure.subplots(2, 2)
    lines = list(table.groupby(series, sort=False))
    columns = [
        ("p99_ttft", "P99 time to first token (s)", True),
        ("p99_e2e", "P99 end to end (s)", True),
        ("p99_tpot", "P99 time per output token (s)", True),
        ("output_throughput", "output tokens per second", False),
    ]
    for axes, (column, label, logarithmic) in zip(panels.flat, columns, strict=True):
        for (name, part), colour in zip(lines, SERIES * 9, strict=False):
            _sweep_line(axes, part, x, column, str(name), colour)
        axes.set_title(label, loc="left", color=INK)
        axes.set_xlabel(x_label)
        if column in slo:
            axes.axhline(slo[column], color=INK, linestyle="--", linewidth=1)
            paper = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
            axes.text(0.5, slo[column], f"SLO {slo[column]:g} s", transform=axes.get_yaxis_transform(), bbox=paper)
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(_plain))
            axes.yaxis.set_minor_formatter(FuncFormatter(_plain_at_two_and_five))
        else:
            axes.set_ylim(bottom=0)
    handles, labels = panels.flat[-1].get_legend_handles_labels()
    columns_that_fit = max(1, 130 // (8 + max(map(len, labels), default=0)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns_that_fit, frameon=False)
    return figure


def trace_figure(title: str, trace: pd.DataFrame) -> Figure:
    """A recorded workload: its rate over time, its gaps against those of a Poisson process, its lengths.

    `trace` has a row a request, in time order, with columns `arrival_s`, `prompt_tokens` and `output_tokens`.
    """
    figure = _figure(title, 11, 7.2)
    panels = figure.subplot_mosaic([["rate"] * 3, ["gaps", "lengths", "joint"]])
    arrivals = trace["arrival_s"].to_numpy(float)
    _plot_rate(panels["rate"], arrivals)
    _plot_gaps(panels["gaps"], np.diff(arrivals))
    _plot_lengths(panels["lengths"], trace)
    _plot_joint_lengths(panels["joint"], trace)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a picture; its kind follows from the suffix."""
    figure.savefig(path, dpi=130, facecolor="white")


# ---- parts -----------------------------------------------------------------------------------------------------------


def _figure(title: str, width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)
    return figure


def _cumulative(axes: Axes, values: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
    if not len(values):
        axes.text(0.5, 0.5, "nothing to measure", ha="center", va="center", transform=axes.transAxes, color=FAINT)
        return
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    axes.plot(values[order], share, color=SERIES[0], drawstyle="steps-post")
    if values.min() > 0 and values.max() / values.min() > 20:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(FuncFormatter(_seconds_at_two_and_five))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    axes.tick_params(axis="x", which="both", labelsize=8.5)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.25)


def _mark_percentiles(axes: Axes, metric: str, metrics: dict[str, float | None]) -> None:
    for level, style in (("p50", ":"), ("p99", "--")):
        value = metrics[f"{level}_{metric}"]
        if value is not None:
            axes.axvline(value, color=INK, linestyle=style, linewidth=1, label=f"{level.upper()} {_seconds(value)}")
    _legend(axes)


def _mark_slo(axes: Axes, metric: str, slo: dict[str, float]) -> None:
    for name, limit in slo.items():
        if name.endswith(f"_{metric}"):
            axes.axvline(limit, color=SERIES[1], linewidth=1.5, label=f"SLO {name} {_seconds(limit)}")
            _legend(axes)


def _legend(axes: Axes) -> None:
    """A legend that stays readable over curves; none where nothing is named."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", edgecolor="none", framealpha=0.85, borderpad=0.2)


def _mark_preemptions(axes: Axes, iterations: pd.DataFrame) -> None:
    times = iterations.loc[iterations["preemptions"] > 0, "start_s"]
    if len(times):
        count = int(iterations["preemptions"].sum())
        axes.plot(times, np.full(len(times), 1.02), "|", color=SERIES[1], markersize=7, label=f"{count} preemptions")


def _plot_tokens(axes: Axes, iterations: pd.DataFrame, requests: pd.DataFrame, edges: NDArray[np.float64]) -> None:
    """Prompt tokens computed and output tokens emitted per second, by slices of time."""
    ends = (iterations["start_s"] + iterations["first_step_s"] * iterations["iterations"]).to_numpy()
    middle, width = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    first_tokens = np.histogram(requests["first_token_s"], edges)[0]
    decoded = np.histogram(ends, edges, weights=iterations["decode_requests"] * iterations["iterations"])[0]
    prompts = np.histogram(ends, edges, weights=iterations["prefill_tokens"])[0]
    axes.plot(middle, prompts / width, color=SERIES[1], label="prompt tokens computed")
    axes.plot(middle, (decoded + first_tokens) / width, color=SERIES[0], label="output tokens")
    axes.set_ylabel("tokens per second")
    axes.set_ylim(bottom=0)
    _legend(axes)
    axes.set_title("Throughput", loc="left", color=INK)


def _plot_rate(axes: Axes, arrivals: NDArray[np.float64]) -> None:
    """Requests per second by slices of time, few enough that a slice holds some ten requests."""
    span_s = float(arrivals[-1] - arrivals[0]) or 1.0
    counts, edges = np.histogram(
        arrivals, max(1, min(SLICES, len(arrivals) // 10)), (arrivals[0], arrivals[0] + span_s)
    )
    width_s = edges[1] - edges[0]
    axes.stairs(counts / width_s, edges, color=SERIES[0], fill=True, alpha=0.35)
    axes.stairs(counts / width_s, edges, color=SERIES[0], label=f"in slices of {_seconds(width_s)}")
    mean = (len(arrivals) - 1) / span_s
    axes.axhline(mean, color=INK, linestyle="--", linewidth=1, label=f"mean {mean:.3g}")
    axes.set_title("Arrival rate", loc="left", color=INK)
    axes.set(xlabel="time (s)", ylabel="requests per second", xlim=(edges[0], edges[-1]))
    axes.set_ylim(0, float(counts.max()) / width_s * 1.25)
    axes.legend(loc="upper right", ncols=2, edgecolor="none", framealpha=0.85, borderpad=0.2)


def _plot_gaps(axes: Axes, gaps_s: NDArray[np.float64]) -> None:
    """What share of gaps is longer; gaps of 0 lower the left end of the curve."""
    axes.set_title("Gaps between arrivals", loc="left", color=INK)
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
    axes.legend(loc="lower left", edgecolor="none", framealpha=0.85, borderpad=0.2)


def _plot_lengths(axes: Axes, trace: pd.DataFrame) -> None:
    """What share of prompts and of outputs is at most as long."""
    for column, colour in (("prompt_tokens", SERIES[1]), ("output_tokens", SERIES[0])):
        ordered = np.sort(trace[column].to_numpy(float))
        share = np.arange(len(ordered) + 1) / len(ordered)
        label = f"{column.partition('_')[0]}, median {np.median(ordered):,.0f}"
        axes.plot([ordered[0], *ordered], share, color=colour, drawstyle="steps-post", label=label)
    axes.set_title("Lengths", loc="left", color=INK)
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
    axes.set_title("Pairs of lengths", loc="left", color=INK)
    axes.set(xscale="log", yscale="log", xlabel="prompt tokens", ylabel="output tokens")


def _sweep_line(axes: Axes, part: pd.DataFrame, x: str, column: str, name: str, colour: str) -> None:
    part = part.sort_values(x)
    axes.plot(part[x], part[column], marker="o", markersize=4, color=colour, label=name)
    unstable = part[part["verdict"] == "unstable"]
    axes.plot(unstable[x], unstable[column], "o", markersize=9, markerfacecolor="none", color=colour)
    axes.grid(alpha=0.25)


def _span_s(iterations: pd.DataFrame) -> tuple[float, float]:
    """From the first iteration's start to the last one's end."""
    if iterations.empty:
        return 0.0, 1.0
    last = iterations.iloc[-1]
    return float(iterations["start_s"].iloc[0]), float(last["start_s"] + last["first_step_s"] * last["iterations"])


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


def _seconds(value: float, _: Any = None) -> str:
    if value < 0.9995e-3:
        return f"{value * 1e6:.3g} µs"
    if value < 0.9995:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s" if value < 999.5 else f"{value:.0f} s"


def _plain(value: float, _: Any = None) -> str:
    return f"{value:g}"


def _plain_at_two_and_five(value: float, _: Any = None) -> str:
    """Labels between decades, few enough to stay apart."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


def _seconds_at_two_and_five(value: float, _: Any = None) -> str:
    return _seconds(value) if f"{value:e}"[0] in "25" else ""
