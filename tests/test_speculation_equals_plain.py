"""The engine that verifies drafts equals the plain one, on random engines, drafts and traffic.

The plain scheduler with drafts is held against vLLM's own in `test_plain_scheduler_recordings.py`.
"""

from __future__ import annotations

from typing import Any

import hypothesis
import pandas as pd
import pytest
from equality import assert_equal_decisions, assert_equal_runs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles.plain_engine import PlainEngine
from oracles.plain_speculation import drawn
from scenarios import COSTS, Scenario, Spoken, arrivals, descriptions, engines, texts
from small_runs import experiment

from sim.cost import cost_model
from sim.errors import InputError
from sim.serving.simulation import simulate
from sim.specs.engine import EngineSpec
from sim.specs.validation import validate
from sim.study.recordings.vllm_v1 import NOBODY
from sim.workload.acceptance import Acceptance

ANY = experiment()
CASES = settings(max_examples=120, suppress_health_check=list(HealthCheck))
EVERYDAY, DEEP = range(3), range(3, 40)
SEEDS = [*EVERYDAY, *(pytest.param(seed, marks=pytest.mark.deep) for seed in DEEP)]
SMALL = {**NOBODY, "vocab_size": ANY.model.vocab_size}


@st.composite
def drafts(draw: st.DrawFn) -> dict[str, Any]:
    """n-gram lookup, or a small draft model; often right, or never."""
    rate = draw(st.sampled_from([0.0, 0.3, 0.7, 1.0]))
    method = draw(st.sampled_from([{"method": "ngram"}, {"method": "draft_model", "model": SMALL}]))
    count = draw(st.integers(1, 5))
    return method | {"num_speculative_tokens": count, "acceptance": {"kind": "constant", "rate": rate}}


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """As for engines without drafts, of those values that go with them."""
    scarce = draw(st.booleans())
    engine = draw(engines(scarce, may_cache=True))
    changes = {
        "formation": "continuous",
        "formation_timeout_s": 0.0,
        "kv_allocation": "paged",
        "gate": draw(st.sampled_from(["whole_prompt", "first_chunk"])),
        "release": "on_finish",
        "pad_to_longest": False,
        "num_gpu_blocks": engine.num_gpu_blocks + draw(st.integers(2, 12)),
        "speculation": draw(drafts()),
    }
    try:
        engine = validate(EngineSpec, engine.model_dump() | changes, "engine")
    except InputError:
        hypothesis.reject()
    hypothesis.assume(engine.longest_sequence_tokens >= 8)
    count = draw(st.sampled_from([1, 4, 8, 15]))
    columns: dict[str, list[Any]] = dict(draw(descriptions(engine, scarce, count)))
    if engine.enable_prefix_caching:
        columns |= draw(texts(engine, columns, renumbered=False))
    columns["arrival_s"] = draw(arrivals(count))
    return Scenario(engine, draw(st.sampled_from(COSTS)), Spoken(pd.DataFrame(columns)))


@pytest.mark.parametrize("seed", SEEDS)
def test_drafts_are_verified_as_plainly(seed: int) -> None:
    hypothesis.seed(seed)(CASES(given(scenarios())(assert_equal)))()


def assert_equal(scenario: Scenario) -> None:
    case = ANY.model_copy(update={"engine": scenario.engine, "cost": scenario.cost})
    assert scenario.engine.speculation is not None
    accepted = drawn(Acceptance(scenario.engine.speculation, case.seed), scenario.workload)
    plain = PlainEngine(case.engine, cost_model(case), scenario.workload, accepted=accepted)
    plain.serve()
    records: list[dict[str, Any]] = []
    for on_record in (None, records.append):
        assert_equal_runs(simulate(case, scenario.workload, on_record), plain)
    assert_equal_decisions(records, plain)
