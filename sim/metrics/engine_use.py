"""What explains the latencies: how full batches and memory were, what the queue waited for, where step time went."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pandas as pd

from sim.metrics.finished_run import FinishedRun
from sim.metrics.ratio import ratio
from sim.metrics.runs import Spent, blocked_s, executed_tokens, token_seconds, weighted_sum
from sim.specs.engine import EngineSpec


def batch_use(run: FinishedRun) -> dict[str, Any]:
    """Occupancy of the engine: time averages over the whole run, shares of busy time.

    Idle slots are those of a static batch whose member has finished (`idle_slot_fraction`: of all its slots);
    `padding_fraction` are executed tokens nobody asked for; `queue_blocked_by` is the share of busy time in which the
    head of the queue could not start, by what stopped it.
    """
    runs, totals, duration_s = run.runs, run.log.recorder.totals, run.duration_s
    busy_s, idle_s = run.busy_s, weighted_sum(run.run_s, runs["idle_slots"])
    slot_s = idle_s + weighted_sum(run.run_s, runs["running"] - runs["padding_requests"])
    iterations = runs["iterations"].astype(float)
    padding_tokens = weighted_sum(iterations, runs["padding_tokens"])
    return {
        "busy_fraction": ratio(busy_s, duration_s),
        "mean_running": ratio(weighted_sum(run.run_s, runs["running"]), duration_s),
        "peak_running": int(runs["running"].max(initial=0)),
        "mean_waiting": ratio(totals.waiting_request_s, duration_s),
        "peak_waiting": totals.peak_waiting,
        "mean_idle_slots": ratio(idle_s, duration_s),
        "idle_slot_fraction": ratio(idle_s, slot_s),
        "padding_fraction": ratio(padding_tokens, weighted_sum(iterations, executed_tokens(runs))),
        "queue_blocked_by": {why: ratio(each, busy_s) for why, each in sorted(blocked_s(runs, run.run_s).items())},
    }


def kv_use(run: FinishedRun) -> dict[str, Any]:
    """KV memory: how much is held, and of what is held how much stores tokens and how much is waste.

    Shares of held memory, over time: `stored_fraction` holds tokens; `reserved_waste_fraction` is promised to tokens
    still to come; `internal_waste_fraction` is never filled (the rest of a slot, or of a last block).
    `hit_fraction` is the share of prompt tokens found in the prefix cache; `swapped_blocks` were copied to the host or
    back.
    """
    runs, requests, pool, engine = run.runs, run.requests, run.log.core.pool, run.experiment.engine
    used_block_s = weighted_sum(run.run_s, runs["kv_used_blocks"]) + float(runs["kv_grown_block_s"].sum())
    held_token_s, stored_token_s = used_block_s * engine.block_size, token_seconds(runs, run.run_s)
    empty_token_s = held_token_s - stored_token_s
    never_token_s = _never_filled_token_s(engine, requests) if engine.kv_allocation == "reserved" else empty_token_s
    return {
        "usable_blocks": pool.total_blocks,
        "capacity_tokens": pool.total_blocks * engine.block_size,
        "mean_used_fraction": ratio(used_block_s, pool.total_blocks * run.duration_s),
        "peak_used_fraction": ratio(
            int((runs["kv_used_blocks"] + runs["kv_grown_blocks"]).max(initial=0)), pool.total_blocks
        ),
        "stored_fraction": ratio(stored_token_s, held_token_s),
        "reserved_waste_fraction": ratio(empty_token_s - never_token_s, held_token_s),
        "internal_waste_fraction": ratio(never_token_s, held_token_s),
        "hit_fraction": ratio(float(requests["cached_tokens"].sum()), float(requests["prompt_tokens"].sum())),
        "preemptions": int(runs["preemptions"].sum()),
        "recomputed_tokens": run.log.core.dropped_tokens,
        **({"swapped_blocks": int(runs["swapped_blocks"].sum())} if "swapped_blocks" in runs else {}),
        **run.experiment.memory.model_dump(exclude_none=True),
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
    return weighted_sum(never_filled, requests["finish_s"] - requests["scheduled_s"])
