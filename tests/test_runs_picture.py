"""The picture of runs that differ in no number: a row each."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim import plots

TABLE = pd.DataFrame(
    {
        "label": ["static", "vllm-v0", "a-preset-with-a-long-name"],
        "group": ["a batch runs to its end", "prompts alone, decodes wait", "chunks of prompts beside decodes"],
        "verdict": ["unstable", "stable", "unknown"],
        "request_throughput": [0.63, 2.76, 2.76],
        "request_goodput": [0.0001, 2.44, 2.65],
        **{f"p50_{metric}": [3688.0, 0.122, 0.157] for metric in ("ttft", "tpot")},
        **{f"p99_{metric}": [7335.0, 7.27, 3.91] for metric in ("ttft", "tpot", "itl")},
        "kv_wasted_fraction": [0.75, 0.01, 0.01],
        "preemptions": [0, 1310, 36],
    }
)
SLO = {"p99_ttft": 2.0, "p99_tpot": 0.05}


def drawn(table: pd.DataFrame = TABLE, slo: dict[str, float] | None = None) -> Figure:
    figure = plots.runs_figure("a title", table, SLO if slo is None else slo)
    figure.draw_without_rendering()
    return figure


def panel(figure: Figure, title: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title(loc="left") == title)


def numbers(axes: Axes) -> list[str]:
    """What stands beside the bars, from the first row on."""
    return [text.get_text() for text in axes.texts]


def explained(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]


def test_every_run_has_a_row_in_the_order_of_the_table() -> None:
    figure = drawn()
    assert all(axes.yaxis.get_inverted() for axes in figure.axes), "the first run stands at the top"
    for axes in figure.axes[::3]:
        assert [label.get_text().replace("\n", "") for label in axes.get_yticklabels()] == TABLE["label"].tolist()


def test_bars_bear_their_numbers_in_the_usual_units() -> None:
    figure = drawn(TABLE.assign(p99_itl=[0.0251, 0.227, 0.0572]))
    assert numbers(panel(figure, "Inter-token latency, P99")) == ["25.1 ms", "227 ms", "57.2 ms"]
    assert numbers(panel(figure, "Requests/s within the SLO")) == ["0.00", "2.44", "2.65"]
    assert numbers(panel(figure, "KV memory wasted")) == ["75%", "1%", "1%"]
    assert numbers(panel(figure, "Preemptions")) == ["0", "1,310", "36"]


def test_without_an_slo_what_was_served_is_drawn() -> None:
    figure = drawn(TABLE.assign(request_goodput=None), slo={})
    assert numbers(panel(figure, "Requests/s served")) == ["0.63", "2.76", "2.76"]
    assert not {"SLO", "served too late"} & set(explained(figure))


def test_what_was_not_measured_is_said() -> None:
    """Answers of one token have no time per output token."""
    figure = drawn(TABLE.assign(p50_tpot=None, p99_tpot=None, p99_itl=[None, 0.2, 0.3]))
    assert numbers(panel(figure, "Time per output token")) == ["none measured"] * 3
    assert numbers(panel(figure, "Inter-token latency, P99")) == ["none measured", "200 ms", "300 ms"]


def test_runs_of_one_kind_have_one_colour_that_needs_no_words() -> None:
    assert "one kind" not in explained(drawn(TABLE.assign(group="one kind")))
    assert set(TABLE["group"]) < set(explained(drawn()))


@pytest.mark.parametrize("verdict", ["stable", "unstable"])
def test_an_unstable_queue_is_marked(verdict: str) -> None:
    figure = drawn(TABLE.assign(verdict=verdict))
    assert ("P99, unstable queue" in explained(figure)) == (verdict == "unstable")


# ---- as it is rendered -----------------------------------------------------------------------------------------------

LONG = "arrivals {'process': 'gamma', 'rate': 3, 'cv': 2.5}, shortest_predicted, " * 3


@pytest.mark.parametrize("label", ["a", LONG], ids=["short", "long"])
@pytest.mark.parametrize("count", [2, 15])
def test_nothing_is_cut_off_or_overprinted(label: str, count: int) -> None:
    table = TABLE.iloc[[1] * count].assign(label=[f"{label} {number}" for number in range(count)])
    figure = drawn(pd.concat([TABLE, table]))
    inside = figure.bbox
    for axes in figure.axes:
        for text in [*axes.get_yticklabels(), axes._left_title]:
            box = text.get_window_extent()
            assert inside.x0 <= box.x0
            assert box.x1 <= inside.x1
    for left, right in pairwise(figure.axes[:3]):
        assert left._left_title.get_window_extent().x1 < right.get_window_extent().x0
    rows = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(rows))
    legend = figure.legends[0].get_window_extent()
    assert inside.x0 <= legend.x0
    assert legend.x1 <= inside.x1
    assert legend.y1 < min(axes.get_tightbbox().y0 for axes in figure.axes)


def test_every_kind_and_every_mark_fit_into_the_legend() -> None:
    kinds = ["a batch runs to its end", "whole prompts beside decodes", *TABLE["group"][1:]]
    figure = drawn(TABLE.iloc[[0, 1, 1, 2]].assign(group=kinds))
    legend = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= legend.x0
    assert legend.x1 <= figure.bbox.x1
    assert len(explained(figure)) == 9


@pytest.mark.parametrize("values", [(0.03, 0.05), (0.0251, 0.768), (0.1, 7335.0), (1.0, 1.0)])
def test_times_on_an_axis_stay_apart(values: tuple[float, float]) -> None:
    low, high = values
    axes = panel(drawn(TABLE.assign(p50_ttft=low, p99_ttft=high), slo={}), "Time to first token")
    left, right = axes.get_xlim()
    shown = [tick.label1 for tick in axes.xaxis.get_major_ticks() if left <= tick.get_loc() <= right]
    assert len(shown) >= 2
    for one, other in pairwise(sorted(shown, key=lambda text: text.get_window_extent().x0)):
        assert one.get_window_extent().x1 < other.get_window_extent().x0
