"""Verifying drafts and writing them: against a plain account, by hand, and by what must hold."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from batches import batch_of
from hypothesis import given
from hypothesis import strategies as st
from oracles import textbook
from oracles.plain_kernels import step_s
from small_runs import experiment

from sim.config import load_accelerator, load_model
from sim.cost import cost_model
from sim.cost.batch import Batch, CostModel, GroupTime, total_s
from sim.cost.kernel_model import KernelModel
from sim.cost.roofline import RooflineModel
from sim.cost.speculative import DRAFT_MODEL, passes
from sim.formulas import pairs
from sim.specs.cost import KernelsCost

MODEL, DRAFT, GPU = "llama-3.1-8b", "llama-3.2-1b", "h100-sxm"
K = 4
NGRAM = {"method": "ngram", "num_speculative_tokens": K, "acceptance": {"kind": "constant", "rate": 0.7}}
DRAFTING = NGRAM | {"method": "draft_model", "model": DRAFT}
COSTS: dict[str, dict[str, Any]] = {
    "kernels": {"kind": "kernels"},
    "roofline": {"kind": "roofline"},
    "constant": {"kind": "constant", "step_s": 0.02},
    "affine": {"kind": "affine", "per_step_s": 0.01, "per_sequence_s": 1e-3, "per_decode_token_s": 1e-4},
}
GPUS = {"h100": {"accelerator": "h100-sxm"}, "packing": {"accelerator": "rtx-4090", "engine.num_gpu_blocks": 100}}


@cache
def costs(kind: str, gpu: str = "h100", drafting: bool = True, tp: int = 1) -> CostModel:
    section = {"engine.speculation": DRAFTING if drafting else NGRAM, "engine.tensor_parallel_size": tp}
    return cost_model(experiment({"cost": COSTS[kind], **section}, GPUS[gpu]))


@cache
def alone(kind: str) -> CostModel:
    return cost_model(experiment({"cost": COSTS[kind]}, GPUS["h100"]))


Request = tuple[int, int, int]
"""New tokens, tokens cached before, drafts after."""


def batch(requests: list[Request], tile_tokens: int = 128) -> Batch:
    """Drafts attend with the token before them; of a prompt there are none."""
    chunks = [(new, cached) for new, cached, _ in requests if new > 1]
    decodes = [(cached, drafts) for new, cached, drafts in requests if new == 1]
    found = batch_of(
        *chunks, decodes=len(decodes), context_tokens=sum(cached + 1 + drafts for cached, drafts in decodes),
        tile_tokens=tile_tokens,
    )  # fmt: skip
    return found._replace(
        longest_context_tokens=max(new + cached + drafts for new, cached, drafts in requests) if chunks else 0,
        draft_tokens=sum(drafts for _, drafts in decodes),
        draft_pairs=sum(pairs(drafts, cached) for cached, drafts in decodes),
    )


VERIFYING = st.tuples(st.just(1), st.integers(1, 9000), st.integers(0, 8))
PROMPTS = st.tuples(st.integers(2, 3000), st.integers(0, 9000), st.just(0))


# ---- verifying -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gpu", "tp"), [("h100-sxm", 1), ("h100-sxm", 2), ("rtx-4090", 1)])
@given(requests=st.lists(st.one_of(VERIFYING, PROMPTS), min_size=1, max_size=20))
def test_an_iteration_is_the_sum_of_its_kernels_request_by_request(gpu: str, tp: int, requests: list[Request]) -> None:
    cost = KernelModel(load_model(MODEL), load_accelerator(gpu), tp, KernelsCost())
    rows, drafts = [(new, cached) for new, cached, _ in requests], [more for _, _, more in requests]
    expected = step_s(rows, load_model(MODEL), load_accelerator(gpu), tp, drafts=drafts)
    assert cost.verify_s(batch(requests, cost.query_tile_tokens)) == pytest.approx(expected, rel=1e-9)


def test_a_draft_is_a_row_of_every_matrix_and_of_the_head_but_reads_no_keys_again() -> None:
    """32 decodes with 3 drafts each are 128 rows over the contexts of 32."""
    cost = KernelModel(load_model(MODEL), load_accelerator(GPU), 1, KernelsCost(graph_tokens=0))
    verifying = {time.group: time for time in cost.explain(batch_of(decodes=32, context_tokens=32 * 1004, drafts=3))}
    crowd = {time.group: time for time in cost.explain(batch_of(decodes=128, context_tokens=128 * 1004))}
    few = {time.group: time for time in cost.explain(batch_of(decodes=32, context_tokens=32 * 1004))}
    for group in ("QKV and O", "MLP", "elementwise", "LM head", "sampler"):
        assert verifying[group] == crowd[group]
    attention = "attention decode"
    assert verifying[attention].memory_bytes == few[attention].memory_bytes
    assert verifying[attention].flops == pytest.approx(4 * few[attention].flops, rel=0.01)


@pytest.mark.parametrize("kind", ["kernels", "roofline"])
def test_verifying_a_few_drafts_takes_hardly_longer_than_a_decode(kind: str) -> None:
    """One request alone: the weights are read anyway, which is what speculation lives on."""
    cost = costs(kind, drafting=False)
    one, verified = batch_of(decodes=1, context_tokens=500), batch_of(decodes=1, context_tokens=503, drafts=3)
    assert cost.step_s(one) < cost.step_s(verified) < 1.05 * cost.step_s(one)


@pytest.mark.parametrize("kind", ["kernels", "roofline"])
def test_verifying_costs_nearly_as_much_as_decoding_where_arithmetic_is_the_limit(kind: str) -> None:
    cost = costs(kind, drafting=False)
    crowd = batch_of(decodes=2000, context_tokens=2000 * 10)
    assert cost.step_s(batch_of(decodes=500, context_tokens=500 * 13, drafts=3)) > 0.8 * cost.step_s(crowd)


def test_drafts_of_compressed_attention_meet_its_compute_roof() -> None:
    """All heads meet the one vector that a token has: seven drafts take time there, and none with grouped queries."""

    def longer(model: str) -> float:
        cost = KernelModel(load_model(model), load_accelerator(GPU), 1, KernelsCost())
        some = [batch_of(decodes=64, context_tokens=64 * 8000, drafts=drafts) for drafts in (0, 7)]
        without, verifying = (sum(group(cost, each, "attention decode").seconds.values()) for each in some)
        return verifying / without

    assert longer("deepseek-v2-lite") > 1.3
    assert longer(MODEL) < 1.02


def test_the_textbook_counts_the_arithmetic_of_drafts_and_no_further_reads() -> None:
    cost = costs("roofline", drafting=False)
    found = {time.group: time for time in cost.explain(batch_of(decodes=1, context_tokens=1000, drafts=3))}
    seen = 997 + 998 + 999 + 1000
    assert found["attention decode"].flops == 4 * 32 * 128 * seen * 32
    assert found["attention decode"].memory_bytes == 1000 * 131072
    assert found["LM head"].flops == 2 * 4 * 4096 * 128256


# ---- drafting --------------------------------------------------------------------------------------------------------


def drafting_s(cost: CostModel, some: Batch) -> float:
    return sum(group(cost, some, DRAFT_MODEL).seconds.values())


def group(cost: CostModel, some: Batch, name: str) -> GroupTime:
    return next(time for time in cost.explain(some) if time.group == name)


def test_looking_drafts_up_takes_no_time() -> None:
    cost, some = costs("kernels", drafting=False), batch_of((300, 0), decodes=8, context_tokens=800)
    assert cost.step_s(some) == alone("kernels").step_s(some)
    assert [time.group for time in cost.explain(some)] == [time.group for time in alone("kernels").explain(some)]


@given(requests=st.lists(VERIFYING, min_size=1, max_size=20))
def test_a_draft_model_decodes_so_many_times_on_growing_contexts(requests: list[Request]) -> None:
    """First what was verified and a token more, then a token at a time; without graphs, sampling one a request."""
    draft, gpu, count = load_model(DRAFT), load_accelerator(GPU), len(requests)
    rows, verified = [(1, cached) for _, cached, _ in requests], [more for _, _, more in requests]
    expected = step_s(rows, draft, gpu, 1, 0, [more + 1 for more in verified], sampled=count)
    for ahead in range(2, K + 1):
        expected += step_s([(1, cached + more + ahead) for _, cached, more in requests], draft, gpu, 1, 0)
    assert drafting_s(costs("kernels"), batch(requests)) == pytest.approx(expected, rel=1e-9)


def test_a_draft_model_reads_a_prompt_as_the_model_does() -> None:
    cost, prompt = costs("kernels"), batch_of((2000, 0), tile_tokens=128)
    first, *others = passes(prompt, K)
    assert (first.tokens, first.prefill_context_tokens, first.longest_context_tokens) == (2001, 2001, 2001)
    assert [(each.decode_requests, each.decode_context_tokens) for each in others] == [(1, 2002), (1, 2003), (1, 2004)]
    draft = KernelModel(load_model(DRAFT), load_accelerator(GPU), 1, KernelsCost(graph_tokens=0))
    assert drafting_s(cost, prompt) == pytest.approx(
        draft.verify_s(first, 1) + sum(draft.step_s(each) for each in others), rel=1e-12
    )


def test_s66_a_round_is_so_many_short_steps_and_a_long_one() -> None:
    """3 drafts by a model an eighth the size: the first reads four tokens instead of one, which takes no longer."""
    speculation = DRAFTING | {"num_speculative_tokens": 3}
    cost = cost_model(experiment({"cost": COSTS["roofline"], "engine.speculation": speculation}, GPUS["h100"]))
    gpu = load_accelerator(GPU)
    verify_s = alone("roofline").verify_s(batch_of(decodes=1, context_tokens=504, drafts=3))
    draft_s = RooflineModel(load_model(DRAFT), gpu, 1, 0.0, 0.0).step_s(batch_of(decodes=1, context_tokens=506))
    round_s = cost.step_s(batch_of(decodes=1, context_tokens=504, drafts=3))
    assert round_s == pytest.approx(textbook.speculative_round_s(draft_s, verify_s, drafts=3), rel=1e-2)
    plain_s = alone("roofline").step_s(batch_of(decodes=1, context_tokens=504))
    gained = textbook.speculative_tokens_per_round(0.8, 3) * plain_s / round_s
    assert 1.5 < gained < 2.952


@pytest.mark.parametrize("kind", ["constant", "affine"])
def test_given_times_have_no_draft_model(kind: str) -> None:
    some = batch_of(decodes=10, context_tokens=1000, drafts=3)
    assert [time.group for time in costs(kind).explain(some)] == [time.group for time in alone(kind).explain(some)]
    expected = {"constant": 0.02, "affine": 0.01 + 10e-3 + 40e-4}
    assert costs(kind).step_s(some) == pytest.approx(expected[kind])


# ---- what holds for every cost model ---------------------------------------------------------------------------------


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    requests = draw(st.lists(st.one_of(VERIFYING, PROMPTS), min_size=1, max_size=12))
    return batch(requests, draw(st.sampled_from([64, 128])))


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("drafting", [True, False], ids=["drafting", "looking up"])
@pytest.mark.parametrize("kind", COSTS)
@given(some=st.lists(batches(), min_size=1, max_size=4))
def test_an_iteration_takes_the_sum_of_its_groups_one_by_one_and_as_arrays(
    kind: str, drafting: bool, gpu: str, some: list[Batch]
) -> None:
    cost = costs(kind, gpu, drafting)
    together = total_s(cost.explain(Batch(*(np.array(column) for column in zip(*some, strict=True)))))
    for number, each in enumerate(some):
        assert cost.step_s(each) == pytest.approx(total_s(cost.explain(each)), rel=1e-12)
        assert np.broadcast_to(together, len(some))[number] == pytest.approx(cost.step_s(each), rel=1e-12)


@pytest.mark.parametrize("kind", COSTS)
@given(some=batches())
def test_without_a_draft_to_verify_an_iteration_takes_what_it_ever_took(kind: str, some: Batch) -> None:
    silent = some._replace(draft_tokens=0, draft_pairs=0)
    assert alone(kind).verify_s(silent) == pytest.approx(alone(kind).step_s(silent), rel=1e-12)
    assert costs(kind, drafting=False).step_s(silent) == alone(kind).step_s(silent)


@pytest.mark.parametrize("kind", ["kernels", "roofline"])
@given(requests=st.lists(VERIFYING, min_size=1, max_size=12))
def test_another_draft_never_takes_less_time(kind: str, requests: list[Request]) -> None:
    more = [(new, cached, drafts + 1) for new, cached, drafts in requests]
    assert costs(kind).step_s(batch(requests)) <= costs(kind).step_s(batch(more)) * (1 + 1e-12)


@pytest.mark.parametrize("kind", COSTS)
def test_no_iteration_that_verifies_drafts_stands_for_the_next(kind: str) -> None:
    assert costs(kind).growth(batch_of(decodes=3, context_tokens=30, drafts=2), 3) == (0.0, 1)


def test_drafting_uses_all_gpus_of_the_model() -> None:
    some = batch_of(decodes=8, context_tokens=8000, drafts=3)
    one, two = (group(costs("kernels", tp=tp), some, DRAFT_MODEL) for tp in (1, 2))
    assert two.seconds["link"] > one.seconds["link"] == 0
    assert two.flops == pytest.approx(one.flops / 2)
