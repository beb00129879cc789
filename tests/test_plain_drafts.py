"""Whole runs of the plain engine with drafts: by hand, and what every such run must keep to.

It is what the fast engine must equal; that its schedule is vLLM's is in test_plain_scheduler_recordings.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import textbook
from oracles.plain_engine import PlainEngine
from oracles.plain_speculation import drawn
from small_runs import experiment

from sim.cost import cost_model
from sim.specs.experiment import Experiment
from sim.workload.acceptance import Acceptance
from sim.workload.source import build_workload

STEP_S = 0.01
CONSTANT = {"cost": {"kind": "constant", "step_s": STEP_S}}
SCARCE = {"engine.num_gpu_blocks": 60, "workload.arrivals": {"process": "all_at_once"}}
ASYNCHRONOUS = {"engine.async_scheduling": True, "engine.enable_prefix_caching": True}


def speculation(rate: float, drafts: int = 3, **changes: Any) -> dict[str, Any]:
    acceptance = {"kind": "constant", "rate": rate}
    section = {"method": "ngram", "num_speculative_tokens": drafts, "acceptance": acceptance}
    return {"engine.speculation": section | changes}


DRAFT_MODEL = speculation(0.7, method="draft_model", model="llama-3.2-1b")


def one_request(prompt: int, output: int) -> dict[str, Any]:
    lengths = {
        "prompt": {"distribution": "fixed", "value": prompt},
        "output": {"distribution": "fixed", "value": output},
    }
    return {"workload.num_requests": 1, "workload.lengths": lengths}


def serve(case: Experiment) -> PlainEngine:
    workload, section = build_workload(case), case.engine.speculation
    assert section is not None
    accepted = drawn(Acceptance(section, case.seed), workload)
    plain = PlainEngine(case.engine, cost_model(case), workload, accepted=accepted)
    plain.serve()
    return plain


@pytest.mark.parametrize(
    ("rate", "emitted"),
    [(1.0, [1, 4, 4, 4, 2]), (0.0, [1] * 15)],
    ids=["all right, the last two beyond the answer", "none right"],
)
def test_a_prompt_yields_a_token_and_a_round_those_that_are_right_and_one_more(rate: float, emitted: list[int]) -> None:
    plain = serve(experiment(CONSTANT, speculation(rate), one_request(100, 15)))
    times_s = plain.states[0].token_times_s
    assert times_s == pytest.approx(times_s[0] + STEP_S * np.repeat(np.arange(len(emitted)), emitted))


def test_an_iteration_counts_a_round_as_one_decode_and_its_drafts_over_one_context() -> None:
    """After a prompt of 100 tokens, rounds of 4 rows start at 100, 104, 108 and 112."""
    plain = serve(experiment(CONSTANT, speculation(1.0), one_request(100, 15)))
    decodes = [iteration.batch for iteration in plain.log[1:]]
    assert [(batch.decode_requests, batch.draft_tokens) for batch in decodes] == [(1, 3)] * 4
    assert [batch.decode_context_tokens for batch in decodes] == [104, 108, 112, 116]
    assert [batch.draft_pairs for batch in decodes] == [3 * start + 6 for start in (100, 104, 108, 112)]


@pytest.mark.parametrize(
    "changes", [{}, SCARCE, ASYNCHRONOUS, SCARCE | ASYNCHRONOUS], ids=["", "scarce", "ahead", "both"]
)
@pytest.mark.parametrize("section", [speculation(0.7), DRAFT_MODEL], ids=["looked up", "draft model"])
def test_everybody_gets_his_answer_and_every_block_comes_back(section: dict[str, Any], changes: dict[str, Any]) -> None:
    case = experiment(section, changes)
    plain = serve(case)
    for state, request in zip(plain.states, build_workload(case), strict=True):
        assert len(state.token_times_s) == request.output_tokens
        assert state.token_times_s == sorted(state.token_times_s)
    assert len(plain.scheduler.pool.free) == case.engine.usable_blocks
    assert not any(block.users for block in plain.scheduler.pool.free)


def test_scarce_memory_preempts_requests_with_drafts() -> None:
    assert sum(state.preemptions for state in serve(experiment(DRAFT_MODEL, SCARCE)).states) > 3


@pytest.mark.parametrize("rate", [0.3, 0.8])
def test_a_long_answer_takes_as_many_rounds_as_the_textbook_says(rate: float) -> None:
    case = experiment(CONSTANT, speculation(rate), one_request(10, 20_001), {"engine.max_model_len": 32_768})
    case = case.model_copy(update={"engine": case.engine.model_copy(update={"num_gpu_blocks": 3000})})
    rounds = len(serve(case).log) - 1
    assert 20_000 / rounds == pytest.approx(textbook.speculative_tokens_per_round(rate, 3), rel=0.02)
