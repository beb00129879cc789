"""What a machine makes of a model: its iterations under the roof, and where the time of a decode iteration goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.plots.canvas import FAINT, INK, SERIES, literal, new_figure

LEAST_SHARE = 0.01
"""Operation groups that never take as much of an iteration are drawn as one."""


class Points(NamedTuple):
    """Iterations of one kind: their sizes (what they are labelled with), FLOPs, bytes of traffic, and seconds."""

    sizes: Sequence[int]
    flops: Sequence[float]
    memory_bytes: Sequence[float]
    seconds: Sequence[float]


def roofline_figure(title: str, peak: float, bandwidth: float, kinds: Mapping[str, Points]) -> Figure:
    """FLOP/s over FLOPs per byte, both of whole iterations on one GPU, below the datasheet's roof.

    `peak` in FLOP/s, `bandwidth` in bytes/s; `kinds` by their names for people.
    """
    figure = new_figure(title, 5.5)
    axes = figure.subplots()
    reached = [np.array(points.flops) / np.array(points.memory_bytes) for points in kinds.values()]
    least, most = min(map(np.min, reached)) / 2, max(peak / bandwidth, *map(np.max, reached)) * 2.5
    intensity = np.geomspace(least, most, 200)
    axes.plot(intensity, np.minimum(peak, bandwidth * intensity) / 1e12, color=INK, linewidth=1.5)
    axes.annotate(
        f"peak {peak / 1e12:,.0f} TFLOP/s", (most, peak / 1e12), xytext=(-4, 5), textcoords="offset points", ha="right"
    )
    on_slope = (least * peak / bandwidth) ** 0.5
    axes.annotate(
        f"memory {bandwidth / 1e12:.2f} TB/s", (on_slope, bandwidth * on_slope / 1e12), xytext=(-6, 6),
        textcoords="offset points", ha="right",
    )  # fmt: skip
    for colour, (name, points), x in zip(SERIES, kinds.items(), reached, strict=False):
        y = np.array(points.flops) / np.array(points.seconds) / 1e12
        axes.plot(x, y, "o-", color=colour, markersize=5, linewidth=1, label=literal(name))
        for size, place in zip(points.sizes, zip(x, y, strict=True), strict=True):
            axes.annotate(f"{size:,}", place, xytext=(5, -11), textcoords="offset points", color=colour, fontsize=8)
    axes.set(
        xscale="log", yscale="log", xlabel="FLOPs per byte of memory traffic", ylabel="TFLOP/s", xlim=(least, most)
    )
    axes.grid(alpha=0.2)
    axes.legend(loc="lower right", frameon=False)
    return figure


class Split(NamedTuple):
    """Seconds of iterations by operation group, over `sizes` named `axis`."""

    axis: str
    sizes: Sequence[int]
    seconds: Mapping[str, Sequence[float]]


def split_figure(title: str, splits: Sequence[Split]) -> Figure:
    """A panel each: milliseconds of an iteration, stacked by operation group."""
    figure = new_figure(title, 4.8)
    panels = figure.subplots(1, len(splits), squeeze=False)[0]
    names = _worth_drawing(splits)
    for axes, split in zip(panels, splits, strict=True):
        _stack(axes, split, names)
    panels[0].set_ylabel("milliseconds an iteration")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", frameon=False)
    return figure


def _worth_drawing(splits: Sequence[Split]) -> list[str]:
    found = []
    for name in splits[0].seconds:
        shares = [np.array(split.seconds[name]) / sum(map(np.array, split.seconds.values())) for split in splits]
        if max(map(np.max, shares)) >= LEAST_SHARE:
            found.append(name)
    return found


def _stack(axes: Axes, split: Split, names: Sequence[str]) -> None:
    layers = [1e3 * np.array(split.seconds[name]) for name in names]
    others = [1e3 * np.array(values) for name, values in split.seconds.items() if name not in names]
    if others and np.max(sum(others)) > 0:
        layers, names = [*layers, np.asarray(sum(others))], [*names, "other"]
    sizes: Sequence[float] = split.sizes
    if len(sizes) == 1:  # a bar
        sizes, layers = (sizes[0] - 0.5, sizes[0] + 0.5), [np.repeat(layer, 2) for layer in layers]
        axes.set_xticks(split.sizes)
    colours = [*SERIES, FAINT]
    axes.stackplot(sizes, layers, labels=[literal(name) for name in names], colors=colours, alpha=0.9)
    axes.set(xlim=(sizes[0], sizes[-1]), xlabel=split.axis)
    if split.sizes[-1] > 50 * split.sizes[0]:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", alpha=0.25)
