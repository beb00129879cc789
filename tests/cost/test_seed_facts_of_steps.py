"""Facts of the literature about step times, by their numbers; errata as the right value."""

from __future__ import annotations

import pytest
from batches import batch_of

from sim.config import load_accelerator, load_model
from sim.cost import operations
from sim.cost.batch import Batch, total_s
from sim.cost.operations import Work
from sim.cost.roofline import Roof, RooflineModel
from sim.estimate import Case, estimate
from sim.specs.model import ModelSpec, Quantization
from sim.specs.presets import complete_engine

LLAMA_70B, QWEN = load_model("llama-3.1-70b"), load_model("qwen2.5-32b")
H100 = load_accelerator("h100-sxm")
PROMPT, TOKEN = batch_of((4096, 0)), Batch(1, 1024)


# ---- S39: lower precision, faster -----------------------------------------------------------------------------------


def test_s39_half_the_weight_bytes_take_half_the_time_exactly_where_memory_is_the_limit():
    roof = Roof(flop_per_s=148e12, bytes_per_s=4e12)  # ridge 37 FLOP per byte
    bf16, int8 = (
        {rows: roof.time("weights", Work(2 * rows * 1e9, byte * 1e9)) for rows in (1, 18, 1000)} for byte in (2, 1)
    )
    assert [total_s((int8[rows],)) / total_s((bf16[rows],)) for rows in (1, 18, 1000)] == [0.5, 0.5, 1.0]
    limits = [[bound for bound, seconds in bf16[rows].seconds.items() if seconds] for rows in (1, 18, 1000)]
    assert limits == [["memory"], ["memory"], ["compute"]]


def quantized(method: str) -> ModelSpec:
    """Qwen2.5-32B with 8-bit projections; embedding and head stay in 16 bit."""
    bits = {"attention_bits": 8.0, "mlp_bits": 8.0, "expert_bits": 8.0}
    return QWEN.model_copy(update={"quantization": Quantization(method=method, **bits)})


def alone(model: ModelSpec) -> dict[str, float]:
    """The estimate for one request on an H20, whose fp8 peak is twice the 16-bit one."""
    h20 = load_accelerator("h20")
    return {figure.name: figure.value for figure in estimate(Case(model, h20, complete_engine({}, h20)[0], 1024, 1024))}


def test_s39_an_estimate_saves_half_the_read_time_of_what_is_quantised():
    bf16, int8 = alone(QWEN), alone(quantized("gptq"))
    layers = QWEN.num_hidden_layers * (QWEN.attention_parameters_per_layer + QWEN.mlp_parameters_per_layer)
    assert bf16["tpot_s"] - int8["tpot_s"] == pytest.approx(layers / 4e12, rel=1e-12)


def test_s39_quantising_only_weights_leaves_the_compute_peak_and_with_it_the_prefill():
    bf16, weights_only, activations_too = alone(QWEN), alone(quantized("gptq")), alone(quantized("fp8"))
    assert weights_only["peak_flop_per_s"] == bf16["peak_flop_per_s"]
    assert weights_only["ttft_s"] == bf16["ttft_s"]
    assert activations_too["peak_flop_per_s"] == 2 * bf16["peak_flop_per_s"]


# ---- S60: attention reads the cache ---------------------------------------------------------------------------------


def attention_s(context: int, requests: int = 1) -> float:
    batch = Batch(requests, requests * context)
    times = RooflineModel(LLAMA_70B, H100, 1, host_per_step_s=0, host_per_sequence_s=0).explain(batch)
    return next(total_s((time,)) for time in times if time.group == "attention decode")


@pytest.mark.parametrize("context", [128, 4096, 65536])
def test_s60_twice_the_cache_takes_twice_as_long_to_attend_to(context):
    assert attention_s(2 * context) == pytest.approx(2 * attention_s(context), rel=1e-9)
    assert attention_s(context, requests=2) == pytest.approx(2 * attention_s(context), rel=1e-9)


def test_s60_batching_raises_the_intensity_of_the_matrices_and_not_of_attention():
    one, many = Batch(1, 4096), Batch(64, 64 * 4096)
    intensity = {
        group: [work.flops / work.bytes for work in (group(LLAMA_70B, batch, 1) for batch in (one, many))]
        for group in (operations.attention_decode, operations.mlp)
    }
    assert intensity[operations.attention_decode][0] == intensity[operations.attention_decode][1]
    assert intensity[operations.mlp][1] == pytest.approx(64 * intensity[operations.mlp][0], rel=0.02)


# ---- S72: tensor parallelism ----------------------------------------------------------------------------------------


def times_by_size(batch: Batch, link_bytes_per_s: float, link_latency_s: float = 5e-6) -> list[float]:
    """Seconds of a step on 1, 2, 4 and 8 GPUs."""
    link = {"link_bytes_per_s": link_bytes_per_s, "link_latency_s": link_latency_s}
    gpu = H100.model_copy(update=link)
    return [total_s(RooflineModel(LLAMA_70B, gpu, size, 0, 0).explain(batch)) for size in (1, 2, 4, 8)]


@pytest.mark.parametrize("batch", [PROMPT, TOKEN], ids=["TTFT", "TPOT"])
def test_s72_more_gpus_are_faster_over_a_fast_link_and_each_does_less(batch):
    """One GPU has the highest TTFT and the lowest decode rate; if the model fits it serves the most a GPU."""
    times = times_by_size(batch, link_bytes_per_s=900e9)
    assert times == sorted(times, reverse=True)
    gpu_seconds = [size * seconds for size, seconds in zip((1, 2, 4, 8), times, strict=True)]
    assert gpu_seconds == sorted(gpu_seconds)


def test_s72_over_a_slow_link_the_all_reduce_dominates_and_every_further_gpu_slows_a_prompt_down():
    """Compute takes C/n and a ring all-reduce A·(n - 1)/n: with A > C, eight are slower than four."""
    one, two, four, eight = times_by_size(PROMPT, link_bytes_per_s=64e9)
    assert one < two < four < eight


def test_s72_a_token_pays_the_latency_of_every_all_reduce():
    def speedup(latency_s: float) -> float:
        one, *_, eight = times_by_size(TOKEN, 900e9, latency_s)
        return one / eight

    assert speedup(5e-6) > 6
    assert speedup(300e-6) < 1, "160 all-reduces of 0.3 ms take longer than one GPU takes to read all weights"
