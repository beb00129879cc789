"""DeepSpeed-FastGen, MII commit 8abdd98: one buffer of those that did not run, and blocks released a pass late."""

from __future__ import annotations

from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Plan
from sim.scheduling.state import RequestState
from sim.study.recordings.framework import Framework, Record, finished_in_batch_order


def _engine(config: Record) -> tuple[str, Record]:
    longest = {"max_context": config["num_blocks"] * config["block_size"]}
    return "fastgen", longest | config


class _Words:
    """The order of the buffer is by the pass after which somebody came to its end, which a plan does not say."""

    def __init__(self) -> None:
        self._passes = 0
        self._came: dict[RequestState, int] = {}

    def __call__(self, record: Record, plan: Plan, core: SchedulerCore) -> Record:
        """`buffer`: what is left of prompts, the last cut first, then decodes left out and who waits, as they came."""
        self._passes += 1
        left_out = [state for state in core.running if state.decoding] if plan.stalled else list(plan.paused)
        still: dict[RequestState, int] = {}
        for state in left_out:  # came after the pass before, or stays
            still[state] = self._came.get(state, self._passes - 1)
        for state in core.waiting:  # came before this pass, behind those who ran
            still[state] = self._came.get(state, self._passes - 1)
        for state in plan.preempted:
            still[state] = self._passes
        self._came = still
        behind = sorted(still, key=lambda state: (still[state], state in core.waiting))
        return record | {
            "finished": finished_in_batch_order(record),
            "evicted": record["preempted"],
            "flushed_finished": [state.request.request_id for state in plan.flushed],
            "buffer": [state.request.request_id for state in [*core.prefilling, *behind]],
        }


FASTGEN = Framework(_engine, _Words)
