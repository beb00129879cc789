"""vLLM's `spec_decode_…` numbers: by hand, and as drafts of a known rate must come out."""

from __future__ import annotations

import pytest
from oracles import textbook
from small_runs import CONSTANT, run

from sim.metrics.drafts import spec_decode


def drafts(rate: float, count: int) -> dict:
    acceptance = {"kind": "constant", "rate": rate}
    return {"engine.speculation": {"method": "ngram", "num_speculative_tokens": count, "acceptance": acceptance}}


def one_request(prompt: int, output: int) -> dict:
    lengths = {
        "prompt": {"distribution": "fixed", "value": prompt},
        "output": {"distribution": "fixed", "value": output},
    }
    return {"workload.num_requests": 1, "workload.lengths": lengths}


def found(*changes: dict) -> dict:
    summary = run(CONSTANT, *changes).summary
    prefix = "spec_decode_"
    return {key.removeprefix(prefix): value for key, value in summary.items() if key.startswith(prefix)}


def test_rounds_are_counted_by_what_they_verified_and_accepted():
    assert spec_decode({(3, 0): 2, (3, 1): 1, (3, 3): 1, (2, 2): 1}, 3) == {
        "spec_decode_acceptance_rate": pytest.approx(100 * 6 / 14),
        "spec_decode_acceptance_length": pytest.approx(1 + 6 / 5),
        "spec_decode_num_drafts": 5,
        "spec_decode_draft_tokens": 14,
        "spec_decode_accepted_tokens": 6,
        "spec_decode_per_position_acceptance_rates": [3 / 5, 2 / 5, 1 / 5],
    }


@pytest.mark.parametrize(
    ("rate", "rounds", "accepted"),
    [(1.0, 4, 12), (0.0, 14, 0)],
    ids=["all right: 4, 4, 4 and of the last 4 two, all of which count", "none right: a token each"],
)
def test_a_prompt_yields_a_token_and_rounds_the_others(rate, rounds, accepted):
    told = found(drafts(rate, 3), one_request(100, 15))
    assert (told["num_drafts"], told["draft_tokens"], told["accepted_tokens"]) == (rounds, 3 * rounds, accepted)
    assert told["per_position_acceptance_rates"] == [rate] * 3


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_constant_rate_brings_the_textbooks_tokens_a_round(asynchronous):
    told = found(drafts(0.6, 3), {"workload.num_requests": 200, "engine.async_scheduling": asynchronous})
    assert told["num_drafts"] > 1500
    assert told["acceptance_length"] == pytest.approx(textbook.speculative_tokens_per_round(0.6, 3), rel=0.03)
    assert told["per_position_acceptance_rates"] == pytest.approx([0.6, 0.36, 0.216], rel=0.08)


def test_nothing_is_said_of_drafts_where_there_are_none():
    assert found() == {}


def test_who_wants_a_single_token_verifies_none():
    told = found(drafts(0.6, 3), one_request(100, 1))
    assert (told["num_drafts"], told["acceptance_rate"], told["acceptance_length"]) == (0, None, None)
