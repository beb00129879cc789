"""The self-audit: what must hold in every run, whatever the config. A violation is a defect of this program."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from sim.errors import AuditError
from sim.metrics.finished_run import FinishedRun
from sim.metrics.runs import FloatArray, executed_tokens
from sim.serving.front_end import TIE_S

TOLERANCE = 1e-9
"""Relative, for times; counts must agree exactly."""


class Law(NamedTuple):
    """Two accounts of the same. Of times so many `moments` were summed: each may be off by a tie, and was rounded."""

    what: str
    one: float
    other: float
    moments: int = 0


def audit(run: FinishedRun) -> int:
    """Check every law and return how many there are. Raises AuditError naming the first that is broken."""
    laws = [*_laws(run), *_laws_of_time(run)]
    rounded_s = 4 * np.finfo(float).eps * run.log.recorder.end_s
    for law, left, right, moments in laws:
        exact = isinstance(left, int) and isinstance(right, int)
        tolerance = TOLERANCE * max(abs(left), abs(right), 1.0) + moments * TIE_S + moments**1.5 * rounded_s
        agree = abs(left - right) <= (0 if exact else tolerance)
        if not agree:  # NaN agrees with nothing
            raise AuditError(
                f"self-audit: {law}: {left!r} is not {right!r}; this is a defect of servesim, "
                "please report it with config.resolved.yaml"
            )
    return len(laws)


def _laws(run: FinishedRun) -> Iterator[Law]:
    totals, core, requests, runs = run.log.recorder.totals, run.log.core, run.requests, run.runs
    pool, asked_tokens = core.pool, run.workload.table["output_tokens"]
    if totals.lost:
        asked_tokens = asked_tokens.iloc[requests["request_id"]]
    prompt_tokens, cached_tokens, output_tokens = (
        int(requests[name].sum()) for name in ("prompt_tokens", "cached_tokens", "output_tokens")
    )
    yield Law(
        "requests let in + refused = requests in the workload", totals.arrivals + totals.refused, len(run.workload)
    )
    yield Law("requests let in = requests finished + abandoned", totals.arrivals, len(requests) + totals.abandoned)
    yield Law("nobody is left in the engine", len(core.running) + len(core.waiting), 0)
    yield Law("output tokens of the requests = output tokens asked for", output_tokens, int(asked_tokens.sum()))
    yield Law("tokens emitted = output tokens of the requests", totals.emitted_tokens, output_tokens)
    yield Law(
        "gaps between tokens = output tokens after the first", run.gaps.sample.size, output_tokens - len(requests)
    )
    yield Law(
        "tokens computed = prompts - cached + outputs but the last + recomputed",
        int(((executed_tokens(runs) - runs["padding_tokens"]) * runs["iterations"]).sum()) + totals.accepted_tokens,
        prompt_tokens - cached_tokens + output_tokens - len(requests) + core.dropped_tokens,
    )
    yield Law("blocks allocated = blocks released", pool.allocated, pool.released)
    yield Law("all blocks are free", pool.free_blocks, pool.total_blocks)
    yield Law("no token is stored", core.stored_tokens, 0)
    if run.workload.think_s is not None:
        yield Law(
            "closed loop: users' time = thinking + waiting for answers",
            *_users_time(run.workload.think_s, requests),
            len(requests),
        )


def _laws_of_time(run: FinishedRun) -> Iterator[Law]:
    recorder, runs, requests = run.log.recorder, run.runs, run.requests
    ends_s = runs["start_s"] + run.run_s
    times_s = [requests[f"{name}_s"].to_numpy() for name in ("arrival", "queued", "scheduled", "first_token", "finish")]
    sojourns_s, busy_s = requests["e2e_s"].to_numpy(), run.busy_s
    missing = sum(int(np.isnan(column).sum()) for column in (*times_s, sojourns_s, ends_s))
    backwards = min(float((later - earlier).min(initial=0.0)) for earlier, later in pairwise(times_s))
    overlap = float((runs["start_s"][1:] - ends_s[:-1]).min(initial=0.0))
    yield Law("every time is a number", missing, 0)
    yield Law(
        "nothing is served before it arrived (arrival, queued, scheduled, first token, finish)", backwards, 0.0, 1
    )
    yield Law("iterations do not overlap", overlap, 0.0, 1)
    yield Law("busy time <= simulated time", max(busy_s, recorder.end_s), recorder.end_s, len(ends_s))
    yield Law("time by operation group = busy time", sum(sum(of.values()) for of in run.spent.seconds.values()), busy_s)
    in_system_s, abandoned_s = recorder.totals.in_system_request_s, recorder.totals.abandoned_request_s
    present_s, moments = float(sojourns_s.sum()) + abandoned_s, len(run.workload)
    yield Law("∫N(t)dt = sum of sojourns (Little)", in_system_s, present_s, moments)
    yield Law(
        "sum of sojourns = time unread + in the queue + in the running set", present_s, _time_by_place(run), moments
    )


def _time_by_place(run: FinishedRun) -> float:
    """Seconds that requests spent until the engine read of them, in its queue, and in its iterations."""
    recorder, requests = run.log.recorder, run.requests
    unread_s = float((requests["queued_s"] - requests["arrival_s"]).sum())
    if recorder.totals.lost:
        lost = recorder.unserved.arrays()
        queued_s = recorder.requests.arrays()["queued_s"][lost["request_id"]]
        unread_s += float((np.fmin(queued_s, lost["left_s"]) - lost["arrival_s"]).sum())
    running_s = float((run.runs["running"] * run.run_s).sum())
    return unread_s + recorder.totals.waiting_request_s + running_s


def _users_time(think_s: FloatArray, requests: pd.DataFrame) -> tuple[float, float]:
    """Σ over users of the time until the last answer, and Σ(Z) + Σ(R): divided by the run's length, N = X(R + Z)."""
    present_s = requests.groupby("session_id")["finish_s"].max().sum()
    return float(present_s), float(think_s.sum() + requests["e2e_s"].sum())
