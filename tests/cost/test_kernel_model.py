"""The kernel model: an iteration as the sum of its kernels, against a plain one, by hand, and by what must hold."""

from __future__ import annotations

from functools import cache

import pytest
from batches import batch_of
from hypothesis import example, given
from hypothesis import strategies as st
from oracles.plain_kernels import step_s

from sim.config import load_accelerator, load_model
from sim.cost.batch import Batch, total_s
from sim.cost.kernel_model import KernelModel
from sim.cost.kernels.moe import Routed, distinct_experts
from sim.specs.cost import KernelsCost

ROWS = st.lists(st.tuples(st.one_of(st.just(1), st.integers(2, 3000)), st.integers(1, 9000)), min_size=1, max_size=30)


@cache
def kernel_model(model: str, gpu: str, tp: int = 1, graph_tokens: int = 512) -> KernelModel:
    return KernelModel(load_model(model), load_accelerator(gpu), tp, KernelsCost(graph_tokens=graph_tokens))


def batch(rows: list[tuple[int, int]], cost: KernelModel) -> Batch:
    """Requests of one new token decode."""
    contexts = [cached + 1 for new, cached in rows if new == 1]
    found = batch_of(
        *((new, cached) for new, cached in rows if new > 1), decodes=len(contexts), context_tokens=sum(contexts),
        tile_tokens=cost.query_tile_tokens,
    )  # fmt: skip
    longest = max(new + cached for new, cached in rows)
    return found._replace(longest_context_tokens=longest if found.prefill_requests else 0)


@pytest.mark.parametrize(
    ("model", "gpu", "tp"),
    [("llama-3.1-8b", "rtx-4090", 1), ("llama-3.1-8b", "h100-sxm", 2), ("llama-3.1-70b", "h100-sxm", 8)],
)
@given(rows=ROWS)
@example([(1, 7)])
@example([(512, 0), (1, 4000)])
@example([(17, 8000)])
def test_an_iteration_is_the_sum_of_its_kernels_request_by_request(model, gpu, tp, rows):
    cost = kernel_model(model, gpu, tp)
    expected = step_s(rows, load_model(model), load_accelerator(gpu), tp)
    assert cost.step_s(batch(rows, cost)) == pytest.approx(expected, rel=1e-9)


def test_a_batch_runs_in_the_next_captured_graph():
    cost, eager = kernel_model("llama-3.1-8b", "h100-sxm"), kernel_model("llama-3.1-8b", "h100-sxm", 1, 0)
    with_33, with_40 = (batch_of(decodes=count, context_tokens=1000) for count in (33, 40))

    def projections_s(model: KernelModel, some: Batch) -> float:
        return sum(model.explain(some)[0].seconds.values())

    assert projections_s(cost, with_33) == projections_s(cost, with_40)
    assert projections_s(eager, with_33) < projections_s(eager, with_40)


def test_windowed_layers_read_no_more_than_their_window():
    cost = kernel_model("gpt-oss-20b", "h100-sxm")
    short, long, longer = (cost.step_s(batch_of(decodes=4, context_tokens=4 * tokens)) for tokens in (128, 256, 384))
    full = kernel_model("gpt-oss-20b", "h100-sxm")._full_key_s
    assert longer - long == pytest.approx(long - short) == pytest.approx(4 * 128 * full)


def test_latent_attention_reads_one_vector_a_token_for_all_heads_on_every_gpu():
    """576 elements of 2 bytes in 27 layers; two GPUs share heads, not the cache."""
    for tp in (1, 2):
        cost = kernel_model("deepseek-v2-lite", "h100-sxm", tp)
        less, more = (cost.explain(batch_of(decodes=1, context_tokens=tokens)) for tokens in (1000, 2000))
        read = sum(time.memory_bytes for time in more) - sum(time.memory_bytes for time in less)
        assert read == pytest.approx(1000 * 576 * 2 * 27)


def test_a_token_touches_its_own_experts_and_a_crowd_touches_all():
    routed = Routed(2048, 768, 128, 8, 2.0)
    assert distinct_experts(routed, 1) == pytest.approx(8)
    assert distinct_experts(routed, 2) == pytest.approx(15.5)
    assert distinct_experts(routed, 1000) == pytest.approx(128)


def test_an_imbalanced_router_costs_time_where_experts_compute():
    even = kernel_model("qwen3-30b-a3b", "h100-sxm")
    uneven = KernelModel(
        load_model("qwen3-30b-a3b"), load_accelerator("h100-sxm"), 1, KernelsCost(expert_imbalance=2.0)
    )
    crowd = batch_of((8192, 0), tile_tokens=128)
    assert uneven.step_s(crowd) > 1.2 * even.step_s(crowd)


@pytest.mark.parametrize("name", ["llama-3.1-70b", "llama-3.1-70b-fp8"])
def test_more_gpus_share_the_work_and_pay_for_the_link(name):
    alone, shared = (kernel_model(name, "h100-sxm", tp).explain(batch_of((4096, 0))) for tp in (1, 4))
    by_link = [time.seconds.get("link", 0.0) for time in shared]
    assert sum(time.seconds.get("link", 0.0) for time in alone) == 0 < sum(by_link)
    assert sum(time.flops for time in alone) == pytest.approx(4 * sum(time.flops for time in shared))
    assert total_s(shared) < total_s(alone) / 2


def test_one_byte_a_weight_is_read_in_half_the_time_and_multiplied_at_the_8_bit_peak():
    """On an accelerator without such a peak only the reading is faster."""
    for gpu, faster_prefill in (("h100-sxm", True), ("a100-80gb-sxm", False)):
        full, halved = (kernel_model(name, gpu, 4) for name in ("llama-3.1-70b", "llama-3.1-70b-fp8"))
        decode, prompt = batch_of(decodes=1, context_tokens=10), batch_of((8192, 0))
        assert halved.step_s(decode) < 0.75 * full.step_s(decode)
        assert (halved.step_s(prompt) < 0.95 * full.step_s(prompt)) == faster_prefill


@pytest.mark.parametrize(
    ("model", "gpu", "tp"),
    [
        ("deepseek-r1", "h200-sxm", 8),
        ("gpt-oss-120b", "h100-sxm", 1),
        ("qwen3-235b-a22b-nvfp4", "b200-sxm", 2),
        ("llama-4-scout", "h100-sxm", 4),
        ("mixtral-8x7b", "a100-80gb-sxm", 2),
        ("kimi-k2", "b200-sxm", 8),
        ("llama-3.1-405b", "mi300x", 8),
        ("qwen2.5-7b", "tpu-v6e", 1),
    ],
)
@given(decodes=st.integers(1, 500), context=st.integers(1, 20_000), new=st.integers(2, 8000))
def test_every_architecture_takes_longer_for_more(model, gpu, tp, decodes, context, new):
    cost = kernel_model(model, gpu, tp)
    few = cost.step_s(batch_of(decodes=decodes, context_tokens=decodes * context))
    assert 0 < few <= cost.step_s(batch_of(decodes=decodes, context_tokens=decodes * (context + 1)))
    assert few <= cost.step_s(batch_of(decodes=decodes + 1, context_tokens=(decodes + 1) * context))
    alone, with_more = (batch_of((tokens, context), tile_tokens=cost.query_tile_tokens) for tokens in (new, new + 1))
    assert 0 < cost.step_s(alone) <= cost.step_s(with_more) * (1 + 1e-12)
