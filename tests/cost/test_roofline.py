"""The roofline against arithmetic done by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.cost import operations
from sim.cost.batch import Batch, step_time
from sim.cost.roofline import RooflineModel
from sim.specs import catalogue
from sim.specs.accelerator import AcceleratorSpec, Efficiency
from sim.specs.model import ModelSpec

LLAMA = ModelSpec.model_validate(catalogue.entry("models", "llama-3.1-8b", "model"))
IDEAL = Efficiency(
    gemm_compute=1.0, gemm_memory=1.0, attention_compute=1.0, attention_memory=1.0, link=1.0, source="ideal"
)
GPU = AcceleratorSpec(
    name="round numbers",
    memory_bytes=80_000_000_000,
    memory_bytes_per_s=2e12,
    peak_flop_per_s={"bfloat16": 300e12},
    link_bytes_per_s=600e9,
    efficiency=IDEAL,
)
DECODE = Batch(decode_requests=1, decode_context_tokens=1024)
PREFILL = Batch(prefill_chunks=((1024, 0),))


def times(batch, tp=1, accelerator=GPU, host_per_step_s=0.0, host_per_sequence_s=0.0):
    model = RooflineModel(LLAMA, accelerator, tp, host_per_step_s, host_per_sequence_s)
    return {time.group: time for time in model.explain(batch)}


def test_decode_at_batch_one_reads_every_weight_once():
    """All matrices but the embedding: (total - embedding - norms)·2 bytes / bandwidth, plus KV and activations."""
    found = times(DECODE)
    weights_s = sum(found[group].seconds for group in ("QKV and O", "MLP", "LM head"))
    matrices = LLAMA.total_parameters - LLAMA.lm_head_parameters - 65 * LLAMA.hidden_size
    assert weights_s == pytest.approx(2 * matrices / 2e12, rel=1e-3)
    assert found["attention decode"].seconds == pytest.approx(131_072 * 1024 / 2e12, rel=1e-12)
    assert all(time.bound == "memory" for group, time in found.items() if group in ("QKV and O", "MLP", "LM head"))


def test_prefill_of_1024_tokens_is_compute_bound():
    found = times(PREFILL)
    assert found["MLP"].seconds == pytest.approx(2 * 1024 * 3 * 4096 * 14336 * 32 / 300e12, rel=1e-12)
    assert found["QKV and O"].seconds == pytest.approx(2 * 1024 * 4096 * (2 * 4096 + 2 * 1024) * 32 / 300e12, rel=1e-12)
    assert found["MLP"].bound == found["QKV and O"].bound == "compute"


def test_causal_attention_counts_each_query_key_pair_once():
    pairs = sum(range(1, 1025))
    work = operations.attention_prefill(LLAMA, PREFILL, 1)
    assert work.flops == pytest.approx(4 * 4096 * pairs * 32, rel=1e-12)


@given(st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_attention_of_a_prompt_does_not_depend_on_how_it_is_cut(chunks):
    whole = operations.attention_prefill(LLAMA, Batch(prefill_chunks=((sum(chunks), 0),)), 1)
    cut = [
        operations.attention_prefill(LLAMA, Batch(prefill_chunks=((new, sum(chunks[:i])),)), 1)
        for i, new in enumerate(chunks)
    ]
    assert sum(work.flops for work in cut) == pytest.approx(whole.flops, rel=1e-12)


def test_the_lm_head_runs_for_one_row_a_sequence():
    assert operations.lm_head(LLAMA, PREFILL, 1).flops == 2 * 128256 * 4096


def test_batching_decodes_shares_the_weights():
    one, many = times(DECODE), times(Batch(decode_requests=64, decode_context_tokens=64 * 1024))
    assert many["MLP"].seconds < 1.1 * one["MLP"].seconds
    assert many["attention decode"].seconds == pytest.approx(64 * one["attention decode"].seconds)


def test_tensor_parallelism_divides_the_work_and_adds_all_reduces():
    one, two = times(PREFILL), times(PREFILL, tp=2)
    assert two["MLP"].seconds == pytest.approx(one["MLP"].seconds / 2)
    assert two["attention prefill"].seconds == pytest.approx(one["attention prefill"].seconds / 2)
    sent = 2 * 32 * 2 * 1 / 2 * 1024 * 4096 * 2
    assert one["all-reduce"].seconds == 0
    assert two["all-reduce"].seconds == pytest.approx(64 * 5e-6 + sent / 300e9)


def test_efficiency_scales_the_roof():
    halved = GPU.model_copy(update={"efficiency": IDEAL.model_copy(update={"gemm_compute": 0.5})})
    assert times(PREFILL, accelerator=halved)["MLP"].seconds == pytest.approx(2 * times(PREFILL)["MLP"].seconds)


def test_host_time_is_paid_per_iteration_and_per_sequence():
    batch = Batch(decode_requests=3, decode_context_tokens=30, prefill_chunks=((5, 0),))
    assert times(batch, host_per_step_s=1e-3, host_per_sequence_s=1e-5)["host"].seconds == pytest.approx(1e-3 + 4e-5)


@given(
    st.integers(0, 64),
    st.integers(1, 4000),
    st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 2000)), max_size=3),
)
def test_more_work_never_takes_less_time(decodes, context, chunks):
    smaller = Batch(decodes, decodes * context, tuple(chunks))
    larger = Batch(decodes + 1, (decodes + 1) * context, (*chunks, (7, 0)))
    assert step_time(tuple(times(larger).values())) >= step_time(tuple(times(smaller).values()))
