"""Pictures as they are rendered: nothing is cut off, overprinted or covered."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from small_runs import CONSTANT, PREEMPTING, run
from test_plots import latency, step_time, sweep, timeline

from sim import plots
from sim.stats.series import SeriesSample

LONG_TITLE = "a name of an experiment: " + "llama-3.1-8b on a100-80gb-sxm, vllm-v1, 6 requests/s, " * 3
NO_METRICS = {f"{level}_{metric}": None for level in ("p50", "p99") for metric in ("ttft", "tpot", "itl", "e2e")}


def rendered(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def of_latencies(low_s: float, high_s: float, slo: dict[str, float] | None = None) -> Axes:
    """The panel of a sample of TTFTs from `low_s` to `high_s`."""
    requests = pd.DataFrame(dict.fromkeys(("ttft_s", "tpot_s", "e2e_s"), np.geomspace(low_s, high_s, 50)))
    gaps = SeriesSample.of(np.array([]))
    return rendered(plots.latency_figure("a title", requests, gaps, NO_METRICS, slo or {})).axes[0]


def tick_labels(axes: Axes) -> list[Text]:
    """Those that can be seen, from left to right."""
    left, right = axes.get_xlim()
    ticks = [*axes.xaxis.get_major_ticks(), *axes.xaxis.get_minor_ticks()]
    seen = [tick for tick in ticks if left <= tick.get_loc() <= right and tick.label1.get_text()]
    return [tick.label1 for tick in sorted(seen, key=lambda tick: tick.get_loc())]


# ---- titles ----------------------------------------------------------------------------------------------------------


def test_a_long_title_breaks_into_lines_inside_the_picture():
    figure = plots.step_time_figure(LONG_TITLE, run().summary["sim"]["step_time"])
    title = rendered(figure)._suptitle.get_window_extent()
    assert figure.bbox.x0 <= title.x0
    assert title.x1 <= figure.bbox.x1
    assert title.y1 <= figure.bbox.y1
    assert title.y0 >= figure.axes[0].get_window_extent().y1


def test_the_longest_name_an_experiment_may_have_fits_into_every_picture():
    name = "chat-4090." * 10 + ": llama-3.1-8b on a100-80gb-sxm"
    figure = rendered(plots.step_time_figure(name, run().summary["sim"]["step_time"]))
    assert figure._suptitle.get_window_extent().x1 <= figure.bbox.x1


# ---- axes of latencies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low_s", "high_s"),
    [(0.02, 0.06), (0.02, 0.5), (0.018, 4.5), (0.05, 800.0), (0.006, 4.0), (1e-5, 1e4), (1e-4, 1e-3), (150.0, 900.0)],
)
def test_labels_of_an_axis_stay_apart_and_are_enough_to_read_it(low_s, high_s):
    labels = tick_labels(of_latencies(low_s, high_s))
    assert len(labels) >= 3
    for left, right in pairwise(labels):
        assert left.get_window_extent().x1 < right.get_window_extent().x0


def test_labels_of_an_axis_stand_in_one_line():
    heights = {label.get_window_extent().y0 for label in tick_labels(of_latencies(0.018, 4.5))}
    assert len(heights) == 1


def test_labels_of_an_axis_are_in_the_usual_units():
    written = [label.get_text() for label in tick_labels(of_latencies(0.05, 1500.0))]
    assert written == ["100 ms", "1 s", "10 s", "100 s", "1000 s"]


@pytest.mark.parametrize(("limit_s", "scale"), [(0.03, "linear"), (3.0, "log")])
def test_a_limit_far_from_the_latencies_leaves_them_legible(limit_s, scale):
    axes = of_latencies(0.02, 0.06, slo={"p99_ttft": limit_s})
    assert axes.get_xscale() == scale
    left, right = axes.get_xlim()
    assert left < 0.02 < limit_s < right


def test_rounding_errors_of_the_clock_are_not_drawn_as_a_distribution():
    """With constant steps every TPOT is 10 ms, but for the last digits of differences of times."""
    axes = rendered(latency(run(CONSTANT))).axes[1]
    times = axes.lines[0].get_xdata()
    assert 0 < np.ptp(times) < 1e-9
    left, right = axes.get_xlim()
    assert right - left > 0.001
    written = [label.get_text() for label in tick_labels(axes)]
    assert len(set(written)) == len(written) >= 3


# ---- legends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, PREEMPTING], ids=["plain", "preempting"])
def test_the_legends_of_the_timeline_stand_above_their_panels(changes):
    figure = rendered(timeline(run(changes)))
    for axes in figure.axes:
        legend, panel = axes.get_legend().get_window_extent(), axes.get_window_extent()
        assert legend.y0 >= panel.y1 - 1
        assert legend.x0 > axes._left_title.get_window_extent().x1
        assert legend.x1 <= panel.x1 + 1


def test_the_limit_of_a_sweep_is_named_beside_the_panel():
    figure = rendered(sweep(slo={"p99_ttft": 0.5}))
    (named,) = figure.axes[0].texts
    assert named.get_window_extent().x0 > figure.axes[0].get_window_extent().x1
    assert named.get_window_extent().x1 < figure.axes[1].get_tightbbox().x0


def test_the_legend_of_the_step_time_stands_below_the_bars():
    figure = rendered(step_time(run()))
    assert figure.legends[0].get_window_extent().y1 < figure.axes[0].get_window_extent().y0
