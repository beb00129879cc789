"""Pictures of replications: the start-up, how intervals shrink, intervals on the distributions."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from small_runs import run

from sim import plots
from sim.stats.interval import Interval

pytestmark = pytest.mark.filterwarnings("error")

GROWTH = pd.DataFrame(
    {
        "replications": [1, 2, 3, 4],
        "value": [1.0, 1.5, 1.4, 1.3],
        "low": [np.nan, np.nan, 0.2, 0.9],
        "high": [np.nan, np.nan, 2.6, 1.7],
    }
)
OWN = [1.0, 2.0, None, 1.0]


def is_drawn(figure: Figure) -> bool:
    file = BytesIO()
    figure.savefig(file, dpi=20)
    return file.getvalue().startswith(b"\x89PNG")


def legend(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


# ---- warm-up ---------------------------------------------------------------------------------------------------------


def test_the_warm_up_picture_shows_averages_and_both_cuts():
    figure = plots.warm_up_figure("a title", np.linspace(1, 2, 200), 30, 20, "by MSER-5")
    (axes,) = figure.axes
    assert figure.get_suptitle() == "a title"
    assert legend(axes) == [
        "average over replications", "moving average of 8 requests", "average of what is kept",
        "start-up: the first 30 requests", "outlasting the arrivals: the last 20",
    ]  # fmt: skip
    assert axes.get_title(loc="left") == "End to end (E2E), averaged over replications: by MSER-5"
    assert [line.get_xdata()[0] for line in axes.lines[-2:]] == [30, 180]
    assert is_drawn(figure)


def test_the_moving_average_is_one():
    values = np.random.default_rng(1).random(100)
    moving = plots.warm_up_figure("a title", values, 0, 0, "").axes[0].lines[1]
    assert moving.get_ydata()[10] == pytest.approx(values[10:15].mean())
    assert moving.get_xdata()[10] == 12


@pytest.mark.parametrize("count", [0, 1, 3])
def test_hardly_any_requests_are_drawn(count):
    figure = plots.warm_up_figure("a title", np.ones(count), 0, 0, "all requests arrive at once")
    assert "no request is left out" in legend(figure.axes[0])
    assert is_drawn(figure)


def test_a_long_reason_breaks_into_lines_inside_the_picture():
    figure = plots.warm_up_figure("a title", np.ones(50), 0, 0, "MSER-5 finds no end " * 12)
    figure.draw_without_rendering()
    title = figure.axes[0]._left_title.get_window_extent()
    assert title.x1 <= figure.bbox.x1
    assert title.y1 <= figure._suptitle.get_window_extent().y0


# ---- growth of intervals ---------------------------------------------------------------------------------------------


def intervals(names=("mean_ttft", "output_throughput"), targets=None, why_not=None) -> Figure:
    own, growth = dict.fromkeys(names, OWN), dict.fromkeys(names, GROWTH)
    return plots.intervals_figure("a title", own, growth, targets or {}, why_not or {}, 0.95)


def test_a_panel_a_metric_with_its_unit():
    figure = intervals()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["mean_ttft", "output_throughput (output tokens/s)"]
    assert legend(figure.axes[0]) == ["each replication", "all up to here", "95% interval"]
    assert is_drawn(figure)


def test_a_target_is_drawn_around_the_final_value():
    axes = intervals(targets={"mean_ttft": 0.1}).axes[0]
    assert [line.get_ydata()[0] for line in axes.lines[-2:]] == pytest.approx([1.17, 1.43])
    assert "target: ±10%" in legend(axes)


def test_what_has_no_interval_is_drawn_without():
    nothing = GROWTH.assign(low=np.nan, high=np.nan)
    figure = plots.intervals_figure("t", {"p99_e2e": OWN}, {"p99_e2e": nothing}, {}, {"p99_e2e": "too few"}, 0.95)
    assert legend(figure.axes[0]) == ["each replication", "all up to here (no interval)"]
    assert is_drawn(figure)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_values_that_are_all_alike_are_drawn(value):
    table = GROWTH.assign(value=value, low=value, high=value)
    figure = plots.intervals_figure("t", {"mean_e2e": [value] * 4}, {"mean_e2e": table}, {}, {}, 0.95)
    assert is_drawn(figure)


# ---- distributions with intervals ------------------------------------------------------------------------------------


def latency(known: dict[str, Interval]) -> Figure:
    result = run()
    metrics = result.summary["sim"]["metrics"]
    return plots.latency_figure("a title", result.requests, result.token_gaps.sample, metrics, {}, known)


def test_percentiles_are_drawn_with_their_intervals_at_their_height():
    figure = latency({"p50_ttft": Interval(0.02, 0.015, 0.03, 0.95, 10, "")})
    axes = figure.axes[0]
    (bar,) = axes.containers
    assert bar.lines[0].get_xydata().tolist() == [[0.02, 0.5]]
    ((ends,),) = [collection.get_segments() for collection in bar.lines[2]]
    assert ends[:, 0].tolist() == pytest.approx([0.015, 0.03])
    assert "P50 20 ms [15 ms, 30 ms]" in legend(axes)
    assert is_drawn(figure)


def test_percentiles_without_an_interval_are_said_to_be_of_this_run():
    figure = latency({"p50_ttft": Interval(0.02, 0.015, 0.03, 0.95, 10, "")})
    labels = [text for text in legend(figure.axes[0]) if text.startswith("P99")]
    assert len(labels) == 1
    assert labels[0].endswith("of this run")
    assert not any(text.endswith("of this run") for text in legend(latency({}).axes[0]))
