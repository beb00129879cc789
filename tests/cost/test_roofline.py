"""The roofline against arithmetic done by hand."""

import pytest
from batches import batch_of
from hypothesis import given
from hypothesis import strategies as st

from sim.cost import operations
from sim.cost.batch import total_s
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
DECODE = batch_of(decodes=1, context_tokens=1024)
PREFILL = batch_of((1024, 0))


def model(tp=1, accelerator=GPU, host_per_step_s=0.0, host_per_sequence_s=0.0):
    return RooflineModel(LLAMA, accelerator, tp, host_per_step_s, host_per_sequence_s)


def seconds(batch, **machine):
    """By operation group."""
    return {time.group: total_s((time,)) for time in model(**machine).explain(batch)}


def limits(batch):
    """By operation group, the resources that set any of its time."""
    return {time.group: {bound for bound, part_s in time.seconds.items() if part_s} for time in model().explain(batch)}


def test_decode_at_batch_one_reads_every_weight_once():
    """All matrices but the embedding: (total - embedding - norms)·2 bytes / bandwidth, plus KV and activations."""
    found = seconds(DECODE)
    weights_s = sum(found[group] for group in ("QKV and O", "MLP", "LM head"))
    matrices = LLAMA.total_parameters - LLAMA.lm_head_parameters - 65 * LLAMA.hidden_size
    assert weights_s == pytest.approx(2 * matrices / 2e12, rel=1e-3)
    assert found["attention decode"] == pytest.approx(131_072 * 1024 / 2e12, rel=1e-12)
    assert all(limits(DECODE)[group] == {"memory"} for group in ("QKV and O", "MLP", "LM head", "attention decode"))


def test_prefill_of_1024_tokens_is_compute_bound():
    found = seconds(PREFILL)
    assert found["MLP"] == pytest.approx(2 * 1024 * 3 * 4096 * 14336 * 32 / 300e12, rel=1e-12)
    assert found["QKV and O"] == pytest.approx(2 * 1024 * 4096 * (2 * 4096 + 2 * 1024) * 32 / 300e12, rel=1e-12)
    assert limits(PREFILL)["MLP"] == limits(PREFILL)["QKV and O"] == {"compute"}


def test_causal_attention_counts_each_query_key_pair_once():
    pairs = sum(range(1, 1025))
    work = operations.attention_prefill(LLAMA, PREFILL, 1)
    assert work.flops == pytest.approx(4 * 4096 * pairs * 32, rel=1e-12)


@given(st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_attention_of_a_prompt_does_not_depend_on_how_it_is_cut(chunks):
    whole = operations.attention_prefill(LLAMA, batch_of((sum(chunks), 0)), 1)
    cut = [operations.attention_prefill(LLAMA, batch_of((new, sum(chunks[:i]))), 1) for i, new in enumerate(chunks)]
    assert sum(work.flops for work in cut) == pytest.approx(whole.flops, rel=1e-12)


def test_the_lm_head_runs_for_one_row_a_sequence():
    assert operations.lm_head(LLAMA, PREFILL, 1).flops == 2 * 128256 * 4096


def test_batching_decodes_shares_the_weights():
    one, many = seconds(DECODE), seconds(batch_of(decodes=64, context_tokens=64 * 1024))
    assert many["MLP"] < 1.1 * one["MLP"]
    assert many["attention decode"] == pytest.approx(64 * one["attention decode"])


def test_tensor_parallelism_divides_the_work_and_adds_all_reduces():
    one, two = seconds(PREFILL), seconds(PREFILL, tp=2)
    assert two["MLP"] == pytest.approx(one["MLP"] / 2)
    assert two["attention prefill"] == pytest.approx(one["attention prefill"] / 2)
    sent = 2 * 32 * 2 * 1 / 2 * 1024 * 4096 * 2
    assert one["all-reduce"] == 0
    assert two["all-reduce"] == pytest.approx(64 * 5e-6 + sent / 300e9)


def test_efficiency_scales_the_roof():
    halved = GPU.model_copy(update={"efficiency": IDEAL.model_copy(update={"gemm_compute": 0.5})})
    assert seconds(PREFILL, accelerator=halved)["MLP"] == pytest.approx(2 * seconds(PREFILL)["MLP"])


def test_host_time_is_paid_per_iteration_and_per_sequence():
    batch = batch_of((5, 0), decodes=3, context_tokens=30)
    assert seconds(batch, host_per_step_s=1e-3, host_per_sequence_s=1e-5)["host"] == pytest.approx(1e-3 + 4e-5)


@given(
    st.integers(0, 64),
    st.integers(1, 4000),
    st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 2000)), max_size=3),
)
def test_more_work_never_takes_less_time(decodes, context, chunks):
    smaller = batch_of(*chunks, decodes=decodes, context_tokens=decodes * context)
    larger = batch_of(*chunks, (7, 0), decodes=decodes + 1, context_tokens=(decodes + 1) * context)
    assert model().step_s(larger) >= model().step_s(smaller)
