"""The picture of a capacity: every limit against the load, latency against throughput, the knee and what binds."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from matplotlib.figure import Figure

from sim import plots

pytestmark = pytest.mark.filterwarnings("error")


def row(load: float, ttft_s: float, **changes: Any) -> dict[str, Any]:
    measured = {
        "rate": load, "p99_ttft": ttft_s, "p99_tpot": 0.01 * load, "output_tokens_per_s": 200 * load,
        "mean_e2e": 2 + load / 4, "p99_e2e": 5 + load, "status": "met" if ttft_s <= 0.5 else "missed", "knee": False,
    }  # fmt: skip
    return measured | changes


def answer(**changes: Any) -> dict[str, Any]:
    found = {
        "capacity": {"value": 4.2, "low": 4.1, "high": 4.3, "unit": "requests/s"},
        "binding": {"slo": "p99_ttft", "resource": "compute", "why": "80% of what the slowest take longer is queueing"},
        "curve": [row(0.1, 0.2), row(2, 0.3), row(3, 0.4, knee=True), row(5, 0.6), row(6, 40, status="unstable")],
        "slo": {"p99_ttft": 0.5, "p99_tpot": 0.05}, "attainment": None, "level": 0.95, "saturation": 5.5,
    }  # fmt: skip
    return found | changes


def figure(**changes: Any) -> Figure:
    return plots.capacity_figure("a title", answer(**changes))


def legend_of(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_every_limit_the_knee_and_the_capacity_are_named():
    limits, latencies = figure().axes
    assert {"p99_ttft / 0.5 s", "p99_tpot / 0.05 s", "knee", "capacity and its interval"} <= set(legend_of(limits))
    assert {"P99", "mean", "knee", "at the capacity"} <= set(legend_of(latencies))


def test_each_curve_is_its_metric_over_its_limit():
    limits, _ = figure().axes
    lines = {line.get_label(): line for line in limits.lines}
    assert list(lines["p99_ttft / 0.5 s"].get_ydata())[:4] == pytest.approx([0.4, 0.6, 0.8, 1.2])
    assert list(lines["p99_tpot / 0.05 s"].get_ydata())[:4] == pytest.approx([0.02, 0.4, 0.6, 1.0])


def test_the_knee_lies_on_the_curve_of_what_binds():
    limits, latencies = figure().axes
    (knee,) = (line for line in limits.lines if line.get_label() == "knee")
    assert (list(knee.get_xdata()), list(knee.get_ydata())) == ([3], pytest.approx([0.8]))
    (knee,) = (line for line in latencies.lines if line.get_label() == "knee")
    assert (list(knee.get_xdata()), list(knee.get_ydata())) == ([600], [2.75])


def test_what_binds_is_said_below_and_the_interval_above():
    drawn = figure()
    assert "4.2 requests/s (95 % interval 4.1 to 4.3)" in drawn.get_suptitle()
    assert "What binds is p99_ttft, for compute: 80%" in drawn.get_supxlabel().replace("\\", "")


def test_loads_that_are_not_kept_up_with_have_no_latency_of_their_own():
    _, latencies = figure().axes
    assert max(latencies.lines[0].get_xdata()) == 1000


def test_an_attainment_is_drawn_as_the_share_that_is_missed():
    rows = [row(0.1, 0.2, attainment=1.0, knee=True), row(5, 0.6, attainment=0.98)]
    drawn = figure(
        curve=rows, attainment=0.99, slo={"ttft": 0.5}, binding={"slo": "attainment", "resource": "slots", "why": "-"}
    )
    (line,) = (line for line in drawn.axes[0].lines if str(line.get_label()).startswith("requests beyond a limit"))
    assert list(line.get_ydata()) == pytest.approx([0, 2])


def test_users_are_whole_and_everything_stays_inside():
    rows = [{"users": one.pop("rate"), **one} for one in (row(1, 0.2, knee=True), row(40, 0.4), row(60, 0.7))]
    drawn = figure(curve=rows, capacity={"value": 47.0, "low": 46.0, "high": 48.0, "unit": "users"}, level=1.0)
    assert "47 users (46 to 48)" in drawn.get_suptitle()
    drawn.savefig(BytesIO(), format="png")
    width, height = drawn.get_size_inches() * drawn.dpi
    for axes in drawn.axes:
        box = axes.get_tightbbox()
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height
