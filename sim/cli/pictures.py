"""The pictures of a run, and those that replications add."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.describe import describe_run
from sim.stats.interval import Interval
from sim.study.files import replacing, writing
from sim.study.replicated import Replicated
from sim.study.run import RunResult
from sim.study.start_up import average_e2e_s
from sim.study.store import PICTURES, REPLICATED_PICTURES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAIN = ("mean_ttft", "p99_ttft", "mean_e2e", "output_throughput")
"""Whose intervals are drawn, after those that --until names."""


def remove_pictures(folder: Path) -> None:
    """Those of an earlier run."""
    with writing(folder):
        for file_name in (*PICTURES, *REPLICATED_PICTURES):
            (folder / file_name).unlink(missing_ok=True)


def draw_run(result: RunResult, intervals: Mapping[str, Interval], folder: Path, of: str = "") -> None:
    """Latencies with their intervals, the timeline, the step time; `of` says whose pictures they are."""
    from sim import plots  # matplotlib is slow to import and not always wanted

    ours, title = result.summary["sim"], _title(result) + of
    figures = (
        plots.latency_figure(
            title, result.requests, result.token_gaps.sample, ours["metrics"], result.experiment.slo, intervals
        ),
        plots.timeline_figure(title, result.requests, result.iterations, ours["kv_cache"]["usable_blocks"]),
        plots.step_time_figure(title, ours["step_time"]),
    )
    _save(dict(zip(PICTURES, figures, strict=True)), folder)


def draw_replicated(replicated: Replicated, folder: Path) -> None:
    """The pictures of the first replication, the start-up, and how the intervals shrank."""
    from sim import plots

    count, first = len(replicated.outcomes), replicated.first
    draw_run(first, replicated.intervals, folder, f"; replication 1 of {count} (seed {first.experiment.seed})")
    title, sample, start = f"{_title(first)}; {count} replications", replicated.sample, replicated.start_up
    wanted = {aim.target.name: aim.target.share for aim in replicated.aims}
    names = [name for name in dict.fromkeys((*wanted, *MAIN)) if name in sample.values][: len(MAIN)]
    growth = {name: sample.growth(name, replicated.level) for name in names}
    why_not = {name: reason for name, reason in replicated.refused.items() if name in growth}
    average_s = average_e2e_s(replicated.outcomes)
    own = {name: sample.values[name] for name in names}
    figures = (
        plots.warm_up_figure(title, average_s, start.requests, start.cool_down, start.endless or start.how),
        plots.intervals_figure(title, own, growth, wanted, why_not, replicated.level),
    )
    _save(dict(zip(REPLICATED_PICTURES, figures, strict=True)), folder)


def _title(result: RunResult) -> str:
    return f"{result.experiment.name}: {describe_run(result.experiment)}"


def _save(figures: Mapping[str, Figure], folder: Path) -> None:
    from sim import plots

    with writing(folder):
        for file_name, figure in figures.items():
            with replacing(folder / file_name) as path:
                plots.save(figure, path)
