"""One run from an experiment to its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sim.metrics.audit import audit
from sim.metrics.summary import summarise
from sim.metrics.tables import gaps_table, iterations_table, requests_table
from sim.scheduling.schedule_log import Record
from sim.serving.simulation import simulate
from sim.specs.experiment import Experiment
from sim.workload.source import build_workload


@dataclass(frozen=True)
class RunResult:
    """A finished run. `summary` is the content of summary.json; the tables are described in `sim.metrics.tables`.

    `gaps` holds the times between successive tokens (`gap_s`, and how many `tokens` waited that long).
    """

    experiment: Experiment
    summary: dict[str, Any]
    requests: pd.DataFrame
    iterations: pd.DataFrame
    gaps: pd.DataFrame


def run(experiment: Experiment, on_record: Callable[[Record], None] | None = None) -> RunResult:
    """Simulate `experiment` and audit the run.

    `on_record` receives one schedule-log line an iteration. Ctrl-C ends the run early: the result then holds what was
    finished, and `summary["sim"]["interrupted"]` is true. Raises InputError for a workload that cannot be served.
    """
    workload = build_workload(experiment)
    log = simulate(experiment, workload, on_record)
    requests, iterations = requests_table(log.recorder, workload), iterations_table(log.recorder)
    gaps = gaps_table(log.recorder)
    summary = summarise(experiment, workload, log, requests, gaps)
    if log.interrupted:
        summary["sim"]["audit"] = None
    else:
        summary["sim"]["audit"] = {"laws_checked": audit(experiment, log, workload, requests, gaps), "violations": 0}
    return RunResult(experiment, summary, requests, iterations, gaps)
