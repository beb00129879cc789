"""SGLang, release 0.5.23: memory is counted in tokens, and a call says why its pass over the waiting ended."""

from __future__ import annotations

from sim.scheduling.composition.prefill_until_full import PrefillUntilFull
from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Plan
from sim.study.recordings.framework import Framework, Record, finished_in_batch_order


def _engine(config: Record) -> tuple[str, Record]:
    longest = {"context_length": config["max_total_num_tokens"]}
    return "sglang-mixed" if config["enable_mixed_chunk"] else "sglang", longest | config


def _in_its_words(record: Record, plan: Plan, core: SchedulerCore) -> Record:
    """Who was prefilled joins the running only at the next call."""
    composition = core.composition
    assert isinstance(composition, PrefillUntilFull)
    in_batch = {chunk.state.request.request_id for chunk in plan.chunks}
    decodes = [] if plan.chunks and plan.decode_requests else record["running"]
    carried = composition.carried
    return record | {
        "mode": _mode(plan),
        "finished": finished_in_batch_order(record),
        "retracted": record["preempted"],
        "running": [request_id for request_id in decodes if request_id not in in_batch],
        "chunked": carried.request.request_id if carried else None,
        "new_token_ratio": composition.ratio,
        "stop": composition.stop if plan.chunks else None,
        "batch_is_full": composition.is_full,
        "free_tokens": record["free_blocks"] * core.block_size,
        "free_tokens_after_update": record["free_blocks_after_update"] * core.block_size,
    }


def _mode(plan: Plan) -> str:
    if plan.chunks:
        return "mixed" if plan.decode_requests else "prefill"
    return "decode" if plan.decode_requests else "idle"


SGLANG = Framework(_engine, lambda: _in_its_words)
