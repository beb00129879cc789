"""Replaying by call what no shipped recording holds."""

from __future__ import annotations

from pathlib import Path

from scenarios import make_engine

from sim.specs.request import Request
from sim.study.recordings import Recording
from sim.study.recordings.vllm_v1 import VLLM_V1
from sim.study.replay import replay


def test_a_call_that_only_preempts_is_a_step_of_the_schedule() -> None:
    """The cadence holds A's last chunk back, and B, for which no block is left, preempts itself; then A goes on."""
    engine = make_engine(
        num_gpu_blocks=12, max_model_len=23, long_prefill_token_threshold=3, prefill_schedule_interval=2
    )
    recording = Recording(
        path=Path("by-hand.jsonl"),
        engine=engine,
        requests=[
            Request(0, 0.0, prompt_tokens=22, output_tokens=1),
            Request(1, 0.0, prompt_tokens=20, output_tokens=2),
        ],
        names=["A", "B"],
        arrival_steps=[0, 0],
        steps=[],
        totals={},
        framework=VLLM_V1,
    )
    steps = list(replay(recording))
    assert [(step["total_tokens"], step["preempted"]) for step in steps[6:]] == [(5, []), (0, ["B"]), (1, []), (21, [])]
    assert steps[-1]["finished"] == ["B"]
