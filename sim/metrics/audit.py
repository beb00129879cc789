"""The self-audit: what must hold in every run, whatever the config. A violation is a defect of this program."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.errors import AuditError
from sim.metrics.runs import durations_s, executed_tokens, spent
from sim.serving.simulation import RunLog
from sim.specs.experiment import Experiment
from sim.workload.workload import Workload

TOLERANCE = 1e-9
"""Relative, for times; counts must agree exactly."""


def audit(experiment: Experiment, log: RunLog, workload: Workload, requests: pd.DataFrame, gaps: pd.DataFrame) -> int:
    """Check every law and return how many there are. Raises AuditError naming the first that is broken."""
    laws = list(_laws(experiment, log, workload, requests, gaps))
    for law, left, right in laws:
        exact = isinstance(left, int) and isinstance(right, int)
        agree = abs(left - right) <= (0 if exact else TOLERANCE * max(abs(left), abs(right), 1.0))
        if not agree:  # NaN agrees with nothing
            raise AuditError(
                f"self-audit: {law}: {left!r} is not {right!r}; this is a defect of servesim, "
                "please report it with config.resolved.yaml"
            )
    return len(laws)


def _laws(
    experiment: Experiment, log: RunLog, workload: Workload, requests: pd.DataFrame, gaps: pd.DataFrame
) -> Iterator[tuple[str, float, float]]:
    """(law, one account of it, the other account)"""
    totals, core, pool, runs = log.recorder.totals, log.core, log.core.pool, log.recorder.iterations.arrays()
    output_tokens, asked_tokens = int(requests["output_tokens"].sum()), int(workload.table["output_tokens"].sum())
    yield "requests that arrived = requests in the workload", totals.arrivals, len(workload)
    yield "requests that arrived = requests finished", totals.arrivals, len(requests)
    yield "nobody is left in the engine", len(core.running) + len(core.waiting), 0
    yield "output tokens of the requests = output tokens asked for", output_tokens, asked_tokens
    yield "tokens emitted = output tokens of the requests", totals.emitted_tokens, output_tokens
    yield (
        "gaps between tokens = output tokens after the first",
        int(gaps["tokens"].sum()),
        (output_tokens - len(requests)),
    )
    yield (
        "tokens computed = prompts - cached + outputs but the last + recomputed",
        int(np.dot(executed_tokens(runs) - runs["padding_tokens"], runs["iterations"])),
        (
            int(requests["prompt_tokens"].sum())
            - int(requests["cached_tokens"].sum())
            + output_tokens
            - len(requests)
            + core.dropped_tokens
        ),
    )
    yield "blocks allocated = blocks released", pool.allocated, pool.released
    yield "all blocks are free", pool.free_blocks, pool.total_blocks
    yield "no token is stored", core.stored_tokens, 0
    yield from _laws_of_time(experiment, log, requests)
    if workload.think_s is not None:
        yield "closed loop: users' time = thinking + waiting for answers", *_users_time(workload.think_s, requests)


def _laws_of_time(experiment: Experiment, log: RunLog, requests: pd.DataFrame) -> Iterator[tuple[str, float, float]]:
    totals, recorder = log.recorder.totals, log.recorder
    runs = recorder.iterations.arrays()
    durations = durations_s(runs)
    ends = runs["start_s"] + durations
    order = requests[["arrival_s", "queued_s", "scheduled_s", "first_token_s", "finish_s"]]
    backwards = order.diff(axis=1).iloc[:, 1:].min().min()
    missing = order.isna().sum().sum() + requests["e2e_s"].isna().sum() + np.isnan(ends).sum()
    overlap = (runs["start_s"][1:] - ends[:-1]).min(initial=0.0)
    groups = spent(experiment, runs).seconds.values()
    yield "every time is a number", int(missing), 0
    yield (
        "nothing is served before it arrived (arrival, queued, scheduled, first token, finish)",
        min(backwards, 0.0),
        0.0,
    )
    yield "iterations do not overlap", min(float(overlap), 0.0), 0.0
    busy_s = float(durations.sum())
    yield "busy time <= simulated time", max(busy_s - recorder.end_s, 0.0), 0.0
    yield "time by operation group = busy time", sum(sum(group.values()) for group in groups), busy_s
    yield "∫N(t)dt = sum of sojourns (Little)", totals.in_system_request_s, float(requests["e2e_s"].sum())


def _users_time(think_s: NDArray[np.float64], requests: pd.DataFrame) -> tuple[float, float]:
    """Σ over users of the time until the last answer, and Σ(Z) + Σ(R): divided by the run's length, N = X(R + Z)."""
    present_s = requests.groupby("session_id")["finish_s"].max().sum()
    return float(present_s), float(think_s.sum() + requests["e2e_s"].sum())
