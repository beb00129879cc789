"""Pictures: every one is drawn, labelled and written, for ordinary runs and for the oddest."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from small_runs import CONSTANT, ONE_TOKEN_EACH, PREEMPTING, STATIC, run

from sim import plots

pytestmark = pytest.mark.filterwarnings("error")

RUNS = {
    "vllm-v1": {"slo": {"p99_ttft": 0.1, "mean_itl": 0.02}},
    "preempting": PREEMPTING,
    "static": STATIC,
    "static in chunks": STATIC | {"engine.enable_chunked_prefill": True, "engine.long_prefill_token_threshold": 32},
    "asynchronous": {"engine.async_scheduling": True},
    "few seats": {"engine.max_num_seqs": 3},
    "constant steps": CONSTANT,
    "one token each": ONE_TOKEN_EACH,
    "one request": {"workload.num_requests": 1},
    "one request of one token": ONE_TOKEN_EACH | {"workload.num_requests": 1},
    "own service times": {
        "engine.max_num_seqs": 1,
        "cost": {"kind": "per_request", "service_s": {"distribution": "exponential", "mean": 0.1}},
    },
}


@pytest.fixture(scope="module", params=RUNS.values(), ids=RUNS)
def result(request):
    return run(request.param)


def latency(result) -> Figure:
    metrics = result.summary["sim"]["metrics"]
    return plots.latency_figure("a title", result.requests, result.token_gaps.sample, metrics, result.experiment.slo)


def timeline(result) -> Figure:
    blocks = result.summary["sim"]["kv_cache"]["usable_blocks"]
    return plots.timeline_figure("a title", result.requests, result.iterations, blocks)


def step_time(result) -> Figure:
    return plots.step_time_figure("a title", result.summary["sim"]["step_time"])


def sweep(slo: dict[str, float] | None = None, **columns) -> Figure:
    table = pd.DataFrame(
        {
            "engine": ["static", "static", "orca", "orca"],
            "rate": [2, 1, 1, 2],
            "verdict": ["unstable", "stable", "stable", "unknown"],
            "output_throughput": [4.0, 1.0, 0.5, 0.6],
            **{f"p99_{metric}": [4.0, 1.0, 0.5, 0.6] for metric in ("ttft", "e2e", "tpot")},
            **{f"p50_{metric}": [2.0, 0.5, 0.3, 0.2] for metric in ("ttft", "e2e", "tpot")},
        }
        | columns
    )
    return plots.sweep_figure("a title", table, "engine", "rate", "arrival rate", slo or {})


def line(axes, label: str):
    return next(line for line in axes.lines if line.get_label() == label)


def explained(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def area(axes, label: str) -> float:
    """Under a curve of averages over equal slices of the axis."""
    start, end = axes.get_xlim()
    return line(axes, label).get_ydata().mean() * (end - start)


def is_drawn(figure: Figure) -> bool:
    """Whether it comes out as a picture; coarse, to be quick."""
    file = BytesIO()
    figure.savefig(file, dpi=20)
    return file.getvalue().startswith(b"\x89PNG")


@pytest.mark.parametrize("draw", [latency, timeline, step_time])
def test_every_picture_of_every_run_is_titled_and_drawn(result, draw):
    figure = draw(result)
    assert isinstance(figure, Figure)
    assert figure.get_suptitle() == "a title"
    assert is_drawn(figure)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_written_in_the_kind_its_name_says(tmp_path, suffix):
    path = tmp_path / f"picture.{suffix}"
    plots.save(step_time(run()), path)
    assert path.stat().st_size > 5000
    assert path.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml"}[suffix])


# ---- latency ---------------------------------------------------------------------------------------------------------


def test_the_latency_picture_has_four_named_panels(result):
    figure = latency(result)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Time to first token (TTFT)", "Time per output token (TPOT)", "Gap between tokens (ITL)", "End to end (E2E)",
    ]  # fmt: skip
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "share of requests", "share of requests", "share of tokens", "share of requests",
    ]  # fmt: skip


def test_the_latency_curve_rises_to_everybody():
    result = run()
    curve = latency(result).axes[0].lines[0]
    assert curve.get_xdata().tolist() == sorted(result.requests["ttft_s"])
    assert curve.get_ydata()[-1] == pytest.approx(1)


def test_the_itl_curve_counts_tokens():
    result = run(PREEMPTING)
    curve = latency(result).axes[2].lines[0]
    gap_s, share = curve.get_xdata(), curve.get_ydata()
    gaps = np.repeat(result.gaps["gap_s"], result.gaps["tokens"])
    assert share[np.searchsorted(gap_s, 0.02) - 1] == pytest.approx((gaps < 0.02).mean())


def test_the_itl_curve_of_very_many_gaps_is_right_wherever_it_steps():
    """Of 60 answers of 400 tokens, on a linear axis and on a logarithmic one."""
    result = run(LONG_ANSWERS, {"engine.num_gpu_blocks": 2000, "workload.arrivals": {"process": "all_at_once"}})
    curve = latency(result).axes[2].lines[0]
    limits_s, share = curve.get_xdata(), curve.get_ydata()
    gaps_s = np.sort(np.repeat(result.gaps["gap_s"], result.gaps["tokens"]))
    assert (limits_s[0], limits_s[-1]) == (gaps_s[0], pytest.approx(gaps_s[-1]))
    assert 500 < len(limits_s) < len(result.gaps)
    np.testing.assert_allclose(share, np.searchsorted(gaps_s, limits_s * (1 + 1e-12), side="right") / len(gaps_s))


def test_limits_are_drawn_where_they_belong():
    figure = latency(run({"slo": {"p99_ttft": 0.25, "mean_itl": 0.02, "p99_max_itl": 0.1}}))
    labels = [{line.get_label() for line in axes.lines} for axes in figure.axes]
    assert "SLO p99_ttft 250 ms" in labels[0]
    assert "SLO mean_itl 20 ms" in labels[2]
    assert not any("max_itl" in label for label in labels[2])
    assert not any(label.startswith("SLO") for label in labels[1] | labels[3])


@pytest.mark.parametrize(
    ("seconds", "written"), [(2.5e-5, "25 µs"), (0.0123, "12.3 ms"), (1.5, "1.5 s"), (150, "150 s"), (1500, "1500 s")]
)
def test_times_are_written_as_people_do(seconds, written):
    figure = latency(run({"slo": {"p99_ttft": seconds}}))
    assert f"SLO p99_ttft {written}" in {line.get_label() for line in figure.axes[0].lines}


# ---- timeline --------------------------------------------------------------------------------------------------------


def test_the_timeline_has_four_named_panels_on_one_axis_of_time(result):
    figure = timeline(result)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Requests in the engine", "KV cache", "Throughput", "Time to first token (TTFT)",
    ]  # fmt: skip
    assert [axes.get_ylabel() for axes in figure.axes] == ["requests", "of KV blocks", "tokens per second", "seconds"]
    assert figure.axes[-1].get_xlabel() == "simulated time (s)"
    assert figure.axes[0].get_xlim() == figure.axes[-1].get_xlim()
    assert figure.axes[0].get_xlim()[1] == pytest.approx(result.requests["finish_s"].max())


def test_the_areas_under_the_curves_are_the_averages_of_the_summary(result):
    queue_axes, kv_axes, *_ = timeline(result).axes
    batch, kv = result.summary["sim"]["batch"], result.summary["sim"]["kv_cache"]
    duration_s = result.summary["duration"]
    assert area(queue_axes, "running") == pytest.approx(batch["mean_running"] * duration_s)
    assert area(queue_axes, "waiting") == pytest.approx(batch["mean_waiting"] * duration_s)
    assert area(kv_axes, "blocks held") == pytest.approx(kv["mean_used_fraction"] * duration_s)


def test_the_area_under_the_output_curve_is_the_output(result):
    """But for the token that a preempted request says when its recomputation ends."""
    found = area(timeline(result).axes[2], "output tokens")
    assert found == pytest.approx(result.summary["total_output_tokens"], rel=0.01)


def test_the_area_under_the_prompt_curve_is_what_was_computed_of_prompts(result):
    """All that was computed but for decodes: the gaps between tokens, unless a recomputation ended them."""
    requests, gaps, kv = result.requests, result.gaps, result.summary["sim"]["kv_cache"]
    computed = (requests["prompt_tokens"] + requests["output_tokens"] - 1).sum() + kv["recomputed_tokens"]
    decoded = gaps["tokens"].sum() - requests["preemptions"].sum()
    assert area(timeline(result).axes[2], "prompt tokens computed") == pytest.approx(computed - decoded)


ONE_SEAT = {"engine.max_num_seqs": 1, "workload.arrivals": {"process": "deterministic", "rate": 3}}
LONG_ANSWERS = {
    "workload.lengths": {
        "prompt": {"distribution": "fixed", "value": 20}, "output": {"distribution": "fixed", "value": 400},
    }
}  # fmt: skip


def test_a_long_run_of_iterations_is_drawn_over_its_time():
    """Answers of 4 s one after the other, at 100 tokens/s all along; of 20 to 419 tokens are 2 to 27 blocks held."""
    result = run(CONSTANT, LONG_ANSWERS, ONE_SEAT, {"workload.num_requests": 2})
    _, kv_axes, token_axes, _ = timeline(result).axes
    assert len(result.iterations) < 6
    np.testing.assert_allclose(line(token_axes, "output tokens").get_ydata(), 100, rtol=0.16)
    held = line(kv_axes, "blocks held").get_ydata()
    assert (np.diff(held[:60]) > 0).all()
    assert (np.diff(held[60:]) > 0).all()
    assert 2 <= held[0] * 599 < 3
    assert 26 < held[59] * 599 <= 27


def test_who_queues_up_during_a_long_run_is_drawn_when_he_comes():
    """Every third of a second, while the first answer takes 4 s; averages over slices of time."""
    requests = (result := run(CONSTANT, LONG_ANSWERS, ONE_SEAT, {"workload.num_requests": 10})).requests
    axes = timeline(result).axes[0]
    edges = np.linspace(*axes.get_xlim(), len(line(axes, "waiting").get_ydata()) + 1)
    waited_s = np.clip(edges[:, None], requests["queued_s"], requests["scheduled_s"]).sum(axis=1)
    np.testing.assert_allclose(line(axes, "waiting").get_ydata(), np.diff(waited_s) / np.diff(edges), atol=1e-9)
    assert line(axes, "waiting").get_ydata().max() == pytest.approx(9)


def test_ttft_is_drawn_when_first_tokens_come():
    """Percentiles by 60 slices of time, as of windows of that length, and nothing where no request began to answer."""
    result = run(PREEMPTING, {"workload.arrivals": {"process": "poisson", "rate": 4}})
    axes = timeline(result).axes[3]
    begin_s, end_s = axes.get_xlim()
    windows = result.windows((end_s - begin_s) / 60)
    for level in ("P50", "P99"):
        drawn, expected = line(axes, level).get_ydata(), windows[f"{level.lower()}_ttft_s"]
        np.testing.assert_allclose(drawn, expected)
        assert 10 < np.isfinite(drawn).sum() < 60


def test_preemptions_are_marked_and_counted():
    result = run(PREEMPTING)
    count = result.iterations["preemptions"].sum()
    assert count > 0
    marks = line(timeline(result).axes[1], f"{count} preemptions")
    assert len(marks.get_xdata()) == (result.iterations["preemptions"] > 0).sum()


def test_without_preemptions_nothing_is_marked():
    assert [line.get_label() for line in timeline(run()).axes[1].lines] == ["blocks held"]


# ---- step time -------------------------------------------------------------------------------------------------------


def test_the_bars_of_the_step_time_add_up_to_all(result):
    figure = step_time(result)
    (axes,) = figure.axes
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(1)
    assert axes.get_title(loc="left") == "Where step time goes"
    assert axes.get_xlabel().startswith("share of busy time")
    groups = result.summary["sim"]["step_time"]["seconds_by_group"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(groups)


def test_the_resource_is_named():
    for kind, own in (("kernels", "starting kernels"), ("roofline", "host overhead")):
        labels = [text.get_text() for text in step_time(run({"cost": {"kind": kind}})).legends[0].get_texts()]
        assert "limited by memory bandwidth" in labels
        assert own in labels


# ---- sweep -----------------------------------------------------------------------------------------------------------


def test_the_sweep_picture_has_four_named_panels():
    figure = sweep()
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Time to first token (s)", "End to end (s)", "Time per output token (s)", "Output tokens per second",
    ]  # fmt: skip
    assert {axes.get_xlabel() for axes in figure.axes} == {"arrival rate"}
    assert is_drawn(figure)


def test_a_sweep_has_a_line_a_value_in_the_order_of_the_axis():
    axes = sweep().axes[3]
    assert line(axes, "static").get_xdata().tolist() == [1, 2]
    assert line(axes, "static").get_ydata().tolist() == [1.0, 4.0]
    assert explained(sweep())[:2] == ["static", "orca"]


def test_the_median_runs_below_the_p99_in_the_same_colour():
    lines = [line for line in sweep().axes[0].lines if line.get_linestyle() in ("-", ":")]
    assert [line.get_ydata().tolist() for line in lines] == [[1.0, 4.0], [0.5, 2.0], [0.5, 0.6], [0.3, 0.2]]
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color() == lines[3].get_color()
    assert explained(sweep())[2:4] == ["P99", "median"]


def test_only_unstable_points_are_ringed():
    rings = [line for line in sweep().axes[0].lines if line.get_markerfacecolor() == "none"]
    assert [ring.get_xdata().tolist() for ring in rings] == [[2], []]


def test_rings_are_explained_only_where_there_are_some():
    assert explained(sweep())[-1] == "unstable queue"
    assert "unstable queue" not in explained(sweep(verdict=["stable"] * 4))


def test_throughput_counts_from_zero_and_stays_inside():
    bottom, top = sweep().axes[3].get_ylim()
    assert bottom == 0
    assert top > 4.0


@pytest.mark.parametrize("nothing", [[None] * 4, [float("nan")] * 4, [None, 1.0, 2.0, None]])
def test_a_sweep_with_nothing_measured_is_drawn(nothing):
    assert is_drawn(sweep(p50_tpot=nothing, p99_tpot=nothing))


def test_the_limits_of_a_sweep_are_drawn_where_they_belong():
    panels = sweep(slo={"p99_e2e": 2.0, "p50_ttft": 0.5, "mean_tpot": 0.1}).axes
    assert [[text.get_text() for text in axes.texts] for axes in panels] == [["SLO 0.5 s"], ["SLO 2 s"], [], []]


# ---- nothing to draw -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [latency, timeline, step_time])
def test_a_run_interrupted_before_its_first_step_is_drawn(draw):
    result = run()
    summary = deepcopy(result.summary)
    summary["sim"]["metrics"] = dict.fromkeys(summary["sim"]["metrics"])
    summary["sim"]["step_time"] = {"seconds_by_group": {}, "share_by_resource": {}}
    tables = {name: getattr(result, name).iloc[:0] for name in ("requests", "iterations", "late_gaps")}
    assert is_drawn(draw(replace(result, summary=summary, **tables)))


# ---- traces ----------------------------------------------------------------------------------------------------------


def poisson_trace(count: int = 4000, rate: float = 5.0) -> pd.DataFrame:
    random = np.random.default_rng(3)
    times = np.cumsum(random.exponential(1 / rate, count))
    lengths = {key: random.integers(1, 2000, count) for key in ("prompt_tokens", "output_tokens")}
    return pd.DataFrame({"arrival_s": times, **lengths})


def test_the_trace_picture_has_four_named_panels():
    figure = plots.trace_figure("a title", poisson_trace())
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert titles == ["Arrival rate", "Gaps between arrivals", "Lengths", "Pairs of lengths"]
    assert is_drawn(figure)


def test_the_gaps_of_a_poisson_trace_lie_on_the_poisson_line():
    gaps_axes = plots.trace_figure("a title", poisson_trace()).axes[1]
    trace, poisson = line(gaps_axes, "trace"), line(gaps_axes, "Poisson of equal rate")
    share = np.interp(trace.get_xdata(), poisson.get_xdata(), poisson.get_ydata())
    upper = trace.get_ydata() > 0.05
    assert trace.get_ydata()[upper] == pytest.approx(share[upper], abs=0.03)


def test_gaps_of_zero_lower_the_left_end_of_the_curve():
    heaps = poisson_trace(400).assign(arrival_s=np.arange(400) // 10 * 3.0)
    trace = line(plots.trace_figure("a title", heaps).axes[1], "trace")
    assert trace.get_ydata()[0] == pytest.approx(39 / 399)


def test_the_area_under_the_rate_is_the_number_of_requests():
    stairs = plots.trace_figure("a title", poisson_trace()).axes[0].patches[0].get_data()
    assert (stairs.values * np.diff(stairs.edges)).sum() == pytest.approx(4000)
