"""What explains the latencies: how full batches and memory were, what the queue waited for, where step time went."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd

from sim.metrics.ratio import ratio
from sim.metrics.runs import Spent, blocked_s, durations_s, executed_tokens, token_seconds
from sim.serving.simulation import RunLog
from sim.specs.engine import EngineSpec
from sim.specs.experiment import Experiment


def batch_use(log: RunLog, duration_s: float) -> dict[str, Any]:
    """Occupancy of the engine: time averages over the whole run, shares of busy time.

    Idle slots are those of a static batch whose member has finished (`idle_slot_fraction`: of all its slots);
    `padding_fraction` are executed tokens nobody asked for; `queue_blocked_by` is the share of busy time in which the
    head of the queue could not start, by what stopped it.
    """
    runs, totals = log.recorder.iterations.arrays(), log.recorder.totals
    seconds = durations_s(runs)
    busy_s, idle_s = float(seconds.sum()), float(np.dot(runs["idle_slots"], seconds))
    slot_s = idle_s + float(np.dot(runs["running"] - runs["padding_requests"], seconds))
    padding_tokens, tokens = (
        float(np.dot(part, runs["iterations"])) for part in (runs["padding_tokens"], executed_tokens(runs))
    )
    return {
        "busy_fraction": ratio(busy_s, duration_s),
        "mean_running": ratio(float(np.dot(runs["running"], seconds)), duration_s),
        "peak_running": int(runs["running"].max(initial=0)),
        "mean_waiting": ratio(totals.waiting_request_s, duration_s),
        "peak_waiting": totals.peak_waiting,
        "mean_idle_slots": ratio(idle_s, duration_s),
        "idle_slot_fraction": ratio(idle_s, slot_s),
        "padding_fraction": ratio(padding_tokens, tokens),
        "queue_blocked_by": {why: ratio(blocked, busy_s) for why, blocked in sorted(blocked_s(runs).items())},
    }


def kv_use(experiment: Experiment, log: RunLog, requests: pd.DataFrame, duration_s: float) -> dict[str, Any]:
    """KV memory: how much is held, and of what is held how much stores tokens and how much is waste.

    Shares of held memory, over time: `stored_fraction` holds tokens; `reserved_waste_fraction` is promised to tokens
    still to come; `internal_waste_fraction` is never filled (the rest of a slot, or of a last block).
    `hit_fraction` is the share of prompt tokens found in the prefix cache.
    """
    runs, pool, engine = log.recorder.iterations.arrays(), log.core.pool, experiment.engine
    used_block_s = float(np.dot(runs["kv_used_blocks"], durations_s(runs)) + runs["kv_grown_block_s"].sum())
    held_token_s, stored_token_s = used_block_s * engine.block_size, token_seconds(runs)
    empty_token_s = held_token_s - stored_token_s
    never_token_s = _never_filled_token_s(engine, requests) if engine.kv_allocation == "reserved" else empty_token_s
    return {
        "usable_blocks": pool.total_blocks,
        "capacity_tokens": pool.total_blocks * engine.block_size,
        "mean_used_fraction": ratio(used_block_s, pool.total_blocks * duration_s),
        "peak_used_fraction": ratio(
            int((runs["kv_used_blocks"] + runs["kv_grown_blocks"]).max(initial=0)), pool.total_blocks
        ),
        "stored_fraction": ratio(stored_token_s, held_token_s),
        "reserved_waste_fraction": ratio(empty_token_s - never_token_s, held_token_s),
        "internal_waste_fraction": ratio(never_token_s, held_token_s),
        "hit_fraction": ratio(float(requests["cached_tokens"].sum()), float(requests["prompt_tokens"].sum())),
        "preemptions": int(runs["preemptions"].sum()),
        "recomputed_tokens": log.core.dropped_tokens,
        **experiment.memory.model_dump(),
    }


def step_time_use(spent: Spent, busy_s: float) -> dict[str, Any]:
    """Busy seconds by operation group, each split by the resource that set them, and shares by resource."""
    resources: dict[str, float] = defaultdict(float)
    for by_bound in spent.seconds.values():
        for bound, seconds in by_bound.items():
            resources[bound] += seconds
    return {
        "seconds_by_group": spent.seconds,
        "share_by_resource": {bound: ratio(seconds, busy_s) for bound, seconds in sorted(resources.items())},
    }


def _never_filled_token_s(engine: EngineSpec, requests: pd.DataFrame) -> float:
    """Token-seconds of reserved slots that their requests never fill; the last output is not stored."""
    final_tokens = requests["prompt_tokens"] + requests["output_tokens"] - 1
    never_filled = engine.slot_blocks * engine.block_size - final_tokens
    return float(np.dot(never_filled, requests["finish_s"] - requests["scheduled_s"]))
