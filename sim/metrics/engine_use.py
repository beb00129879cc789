"""What explains the latencies: how full batches and memory were, what the queue waited for, where step time went."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd

from sim.metrics.ratio import ratio
from sim.serving.recorder import Recorder
from sim.serving.simulation import RunLog
from sim.specs.experiment import Experiment


def batch_use(log: RunLog, duration_s: float) -> dict[str, Any]:
    """Occupancy of the engine: time averages over the whole run, shares of busy time.

    Idle slots are those of a static batch whose member has finished (`idle_slot_fraction`: of all its slots);
    `padding_fraction` are executed tokens nobody asked for; `queue_blocked_by` is the share of busy time in which the
    head of the queue could not start, by what stopped it.
    """
    recorder, totals = log.recorder, log.recorder.totals
    return {
        "busy_fraction": ratio(totals.busy_s, duration_s),
        "mean_running": _time_average(recorder, "running", duration_s),
        "peak_running": _peak(recorder, "running"),
        "mean_waiting": ratio(totals.waiting_request_s, duration_s),
        "peak_waiting": totals.peak_waiting,
        "mean_idle_slots": ratio(totals.idle_slot_s, duration_s),
        "idle_slot_fraction": ratio(totals.idle_slot_s, totals.idle_slot_s + totals.active_slot_s),
        "padding_fraction": ratio(totals.executed_tokens - totals.computed_tokens, totals.executed_tokens),
        "queue_blocked_by": {why: ratio(seconds, totals.busy_s) for why, seconds in sorted(totals.blocked_s.items())},
    }


def kv_use(experiment: Experiment, log: RunLog, requests: pd.DataFrame, duration_s: float) -> dict[str, Any]:
    """KV memory: how much is held, and of what is held how much stores tokens and how much is waste.

    Shares of held memory, over time: `stored_fraction` holds tokens; `reserved_waste_fraction` is promised to tokens
    still to come; `internal_waste_fraction` is never filled (the rest of a slot, or of a last block).
    `hit_fraction` is the share of prompt tokens found in the prefix cache.
    """
    totals, pool, block_size = log.recorder.totals, log.core.pool, experiment.engine.block_size
    held_token_s = totals.kv_used_block_s * block_size
    empty_token_s = held_token_s - totals.kv_stored_token_s
    never_token_s = totals.kv_never_used_token_s if experiment.engine.kv_allocation == "reserved" else empty_token_s
    return {
        "usable_blocks": pool.total_blocks,
        "capacity_tokens": pool.total_blocks * block_size,
        "mean_used_fraction": ratio(totals.kv_used_block_s, pool.total_blocks * duration_s),
        "peak_used_fraction": ratio(_peak(log.recorder, "kv_used_blocks"), pool.total_blocks),
        "stored_fraction": ratio(totals.kv_stored_token_s, held_token_s),
        "reserved_waste_fraction": ratio(empty_token_s - never_token_s, held_token_s),
        "internal_waste_fraction": ratio(never_token_s, held_token_s),
        "hit_fraction": ratio(float(requests["cached_tokens"].sum()), float(requests["prompt_tokens"].sum())),
        "preemptions": int(sum(log.recorder.iterations.arrays["preemptions"])),
        "recomputed_tokens": log.core.dropped_tokens,
        **experiment.memory.model_dump(),
    }


def step_time_use(log: RunLog) -> dict[str, Any]:
    """Busy seconds by operation group, each split by the resource that set them, and shares by resource."""
    groups: dict[str, dict[str, float]] = defaultdict(dict)
    resources: dict[str, float] = defaultdict(float)
    for (group, bound), seconds in log.recorder.totals.group_s.items():
        if seconds > 0:
            groups[group][bound] = seconds
            resources[bound] += seconds
    busy_s = log.recorder.totals.busy_s
    return {
        "seconds_by_group": dict(groups),
        "share_by_resource": {bound: ratio(seconds, busy_s) for bound, seconds in sorted(resources.items())},
    }


def _time_average(recorder: Recorder, column: str, duration_s: float) -> float | None:
    """Over the whole run; between iterations nothing runs."""
    columns = recorder.iterations.arrays
    return ratio(float(np.dot(np.array(columns[column], dtype=float), np.array(columns["first_step_s"]))), duration_s)


def _peak(recorder: Recorder, column: str) -> int:
    return max(recorder.iterations.arrays[column], default=0)
