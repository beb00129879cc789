"""The picture of a comparison: all that was compared is drawn, named, and stays inside."""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from sim import plots

pytestmark = pytest.mark.filterwarnings("error")

METRICS = {"p99_ttft": "s", "p99_itl": "s", "request_throughput": "requests/s"}


def row(metric: str, config: str, **changes: object) -> dict[str, object]:
    measured = {
        "metric": metric, "name": metric.upper(), "unit": METRICS[metric], "config": config, "a_value": 2.0,
        "difference": -0.4, "difference_low": -0.5, "difference_high": -0.3, "variance_reduction": 9.0,
        "text": "-20 % [-25, -15]",
    }  # fmt: skip
    return measured | changes


def values(*configs: str) -> pd.DataFrame:
    random = np.random.default_rng(1)
    frames = [
        pd.DataFrame({"config": key, **{name: 2 + random.normal(0, 0.1, 8) for name in METRICS}}) for key in configs
    ]
    return pd.concat(frames)


def figure(rows: list[dict[str, object]], labels: dict[str, str] | None = None, same_within: float = 0.02) -> Figure:
    labels = labels or {"A": "small budget", "B": "large budget", "C": "larger"}
    return plots.compare_figure("a title", pd.DataFrame(rows), values(*labels), labels, same_within)


def lines_of(axes, y: float) -> list[list[float]]:
    """What is drawn at this height."""
    return [list(line.get_xdata()) for line in axes.lines if np.allclose(line.get_ydata(), y)]


def test_a_panel_a_metric_and_a_row_a_config():
    drawn = figure([row(metric, config) for metric in METRICS for config in "BC"])
    titles = [axes.get_title("left") for axes in drawn.axes]
    assert titles == ["P99_TTFT (ms)", "P99_ITL (ms)", "REQUEST_THROUGHPUT (requests/s)"]
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == ["B", "C"]
    legend = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert legend[:3] == ["A: small budget", "B: large budget", "C: larger"]
    assert "no difference: ±2 % of A" in legend


def test_the_interval_the_replications_and_what_pairing_gained_are_drawn():
    """Nine times the variance is three times the width."""
    (axes,) = figure([row("p99_ttft", "B")], {"A": "one", "B": "other"}).axes
    assert [-0.5, -0.3] in lines_of(axes, 0)
    assert lines_of(axes, 0.28) == [pytest.approx([-0.7, -0.1])]
    table = values("A", "B")
    a, b = (table.loc[table["config"] == key, "p99_ttft"].to_numpy() for key in "AB")
    assert lines_of(axes, -0.28) == [pytest.approx(b - a)]


@pytest.mark.parametrize(
    "changes",
    [
        {"difference": math.nan, "difference_low": math.nan, "difference_high": math.nan, "text": "B is unstable"},
        {"a_value": math.nan, "difference": math.nan, "variance_reduction": math.nan, "text": "A does not have it"},
        {"variance_reduction": math.inf, "difference_low": -0.4, "difference_high": -0.4},
        {"a_value": 0.0, "text": ""},
        {"text": "$^_$ in 3 of 20 runs only"},
    ],
)  # fmt: skip
def test_odd_results_are_drawn(changes):
    plots.save(figure([row("p99_ttft", "B", **changes), row("p99_itl", "B")]), BytesIO())


def test_zero_is_always_in_sight():
    (axes,) = figure([row("p99_ttft", "B")], {"A": "one", "B": "other"}).axes
    low, high = axes.get_xlim()
    assert low < 0 < high


def test_twelve_configs_with_long_names_stay_inside():
    labels = {key: f"engine.max_num_batched_tokens=512, accelerator=h100-sxm, {key} $" for key in "ABCDEFGHIJKLM"}
    drawn = figure([row(metric, key) for metric in METRICS for key in labels if key != "A"], labels)
    drawn.draw_without_rendering()
    assert len(drawn.legends[0].get_texts()) == 13 + 4
    for artist in (drawn.legends[0], *(text for axes in drawn.axes for text in axes.texts)):
        box = artist.get_window_extent()
        assert box.x0 >= drawn.bbox.x0
        assert box.x1 <= drawn.bbox.x1
        assert box.y0 >= drawn.bbox.y0


def test_what_is_beside_a_panel_does_not_run_into_the_next():
    text = "P99 TTFT is there in 13 of 20 runs only"
    drawn = figure([row(metric, "B", text=text) for metric in METRICS], {"A": "one", "B": "other"})
    drawn.draw_without_rendering()
    left, right = drawn.axes[:2]
    assert left.texts[0].get_window_extent().x1 < right.get_window_extent().x0
