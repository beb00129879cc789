"""vLLM V0, release 0.5.5: its steps list prompts before decodes, and say what was swapped."""

from __future__ import annotations

from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Plan
from sim.study.recordings.framework import Framework, Record, finished_in_batch_order


def _engine(config: Record) -> tuple[str, Record]:
    return "vllm-v0-chunked" if config["enable_chunked_prefill"] else "vllm-v0", config


def _in_its_words(record: Record, plan: Plan, core: SchedulerCore) -> Record:
    mode = core.engine.preemption_mode
    record = record | {"scheduled": in_batch_order(record["scheduled"])}
    return record | {
        "finished": finished_in_batch_order(record),
        "preempted": [[request_id, mode] for request_id in record["preempted"]],
        "swapped": [state.request.request_id for state in core.swapped],
        "swapped_in_blocks": plan.swapped_in_blocks,
        "swapped_out_blocks": plan.swapped_out_blocks,
        "ignored": [],
    }


def in_batch_order(parts: list[Record]) -> list[Record]:
    """Prompts, those that start before those that go on, then decodes."""
    place = {"new": 0, "resumed": 0, "running": 1, "swapped": 2}
    prompts = [part for part in parts if part["phase"] == "prefill"]
    decodes = [part for part in parts if part["phase"] == "decode"]
    return sorted(prompts, key=lambda part: place[part["how"]]) + decodes


VLLM_V0 = Framework(_engine, lambda: _in_its_words)
