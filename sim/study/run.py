"""One run from an experiment to its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from sim.metrics.audit import audit
from sim.metrics.finished_run import FinishedRun
from sim.metrics.summary import summarise
from sim.metrics.tables import iterations_table
from sim.metrics.token_gaps import TokenGaps, token_gaps
from sim.metrics.windows import windows_table
from sim.scheduling.own_rule import own_rules_answer
from sim.scheduling.schedule_log import Record
from sim.serving.simulation import Watch, simulate
from sim.specs.experiment import Experiment
from sim.workload.source import build_workload


@dataclass(frozen=True)
class RunResult:
    """A finished run. `summary` is the content of summary.json; the tables are described in `sim.metrics.tables`.

    `late_gaps` has a row for each token that came later than an iteration after the one before it, because its request
    was preempted or paused: `request_id`, `gap_s`, `end_s`, and `run`, the row of `iterations` in which it was decoded,
    -1 where it came of a recomputed prompt.
    """

    experiment: Experiment
    summary: dict[str, Any]
    requests: pd.DataFrame
    iterations: pd.DataFrame
    late_gaps: pd.DataFrame

    @cached_property
    def token_gaps(self) -> TokenGaps:
        """The times between successive tokens, in compact form."""
        return token_gaps(self.iterations, self.late_gaps)

    @cached_property
    def gaps(self) -> pd.DataFrame:
        """The same as a table, written out when it is first asked for: `gap_s`, of how many `tokens`, until `end_s`."""
        return self.token_gaps.table()

    def windows(self, window_s: float) -> pd.DataFrame:
        """One row per `window_s` seconds of the run: rates, percentiles and averages, see `sim.metrics.windows`."""
        usable_blocks = self.summary["sim"]["kv_cache"]["usable_blocks"]
        return windows_table(self.requests, self.iterations, self.token_gaps, usable_blocks, window_s)


def run(
    experiment: Experiment, on_record: Callable[[Record], None] | None = None, watch: Watch | None = None
) -> RunResult:
    """Simulate `experiment` and audit the run.

    `on_record` receives one schedule-log line an iteration; `watch` is entered while the simulation lasts. Ctrl-C ends
    the run early: the result then holds what was finished, and `summary["sim"]["interrupted"]` is true. Raises
    InputError for a workload that cannot be served.
    """
    workload = build_workload(experiment)
    with own_rules_answer(experiment.engine):
        log = simulate(experiment, workload, on_record, watch)
        finished = FinishedRun(experiment, workload, log)
        summary = summarise(finished)
        summary["sim"]["audit"] = None if log.interrupted else {"laws_checked": audit(finished), "violations": 0}
    late_gaps = pd.DataFrame(log.recorder.gaps.arrays(), copy=False)
    return RunResult(experiment, summary, finished.requests, iterations_table(log.recorder), late_gaps)
