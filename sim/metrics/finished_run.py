"""A finished run as its metrics see it: what was asked, what happened, and what several of them need of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from sim.metrics.runs import FloatArray, Spent, durations_s, spent
from sim.metrics.tables import requests_table
from sim.metrics.token_gaps import TokenGaps, token_gaps
from sim.serving.simulation import RunLog
from sim.specs.experiment import Experiment
from sim.workload.workload import Workload


@dataclass(frozen=True)
class FinishedRun:
    """Each table and sum is made when it is first asked for, and once."""

    experiment: Experiment
    workload: Workload
    log: RunLog

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row per finished request."""
        return requests_table(self.log, self.workload)

    @cached_property
    def gaps(self) -> TokenGaps:
        """The times between tokens."""
        return token_gaps(self.runs, self.log.recorder.gaps.arrays())

    @cached_property
    def runs(self) -> dict[str, Any]:
        """The columns of runs of like iterations."""
        return self.log.recorder.iterations.arrays()

    @cached_property
    def run_s(self) -> FloatArray:
        """Seconds of each run of iterations."""
        return durations_s(self.runs)

    @cached_property
    def spent(self) -> Spent:
        """What the iterations were spent on."""
        return spent(self.experiment, self.runs)

    @property
    def busy_s(self) -> float:
        """Seconds in iterations."""
        return float(self.run_s.sum())

    @property
    def duration_s(self) -> float:
        """Seconds from the first arrival to the end of the last iteration."""
        return max(self.log.recorder.end_s - self.log.recorder.start_s, 0.0)
