"""Facts of the literature that any estimate must reproduce, by their numbers S1 to S90; errata as the right value.

Here are those that are a formula, a count or a roof. Those of simulated runs are in test_seed_facts_of_runs.py, of the
scheduler in scheduling/test_seed_facts_of_scheduling.py, of step times in cost/test_seed_facts_of_steps.py.

A fact is held against the program's own number wherever it has one: `operations` of the simulator, figures of the
estimate, the counts of a model. What the program does not compute, because it is only a part of its numbers or belongs
to something it does not model (two-matrix MLPs, recomputation, q4_k_m, beams, temperature, speculation, no cache,
pipelines), is a test of the textbook's formula alone, in oracles/textbook.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from batches import batch_of
from oracles import textbook

from sim import formulas as f
from sim.config import experiment_from
from sim.cost import operations
from sim.cost.batch import Batch, total_s
from sim.cost.operations import Work
from sim.cost.roofline import Roof
from sim.estimate import Case, estimate
from sim.specs import catalogue
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.facts import accelerator_facts
from sim.specs.hf_fields import Fields
from sim.specs.hf_quantization import quantization_from_hf
from sim.specs.memory import activation_bytes
from sim.specs.model import DTYPE_BYTES, ModelSpec
from sim.specs.presets import complete_engine
from sim.stats.series import SeriesSample

H, S = 4096, 1024
PROMPT = batch_of((S, 0))


def model(name: str, **changes: int) -> ModelSpec:
    return ModelSpec.model_validate(catalogue.entry("models", name, "model") | changes)


def accelerator(name: str) -> AcceleratorSpec:
    return AcceleratorSpec.model_validate(catalogue.entry("accelerators", name, "accelerator"))


def ideal_roof(name: str) -> Roof:
    """The datasheet's 16-bit peak and bandwidth, nothing lost."""
    gpu = accelerator(name)
    peaks = gpu.peak_flop_per_s
    return Roof(peaks.get("bfloat16", peaks.get("float16")), gpu.memory_bytes_per_s)


QWEN, LLAMA_8B, LLAMA_405B = model("qwen2.5-32b"), model("llama-3.1-8b"), model("llama-3.1-405b")
LLAMA_7B = model("llama-2-7b")  # multi-head attention, h = 4096
MISTRAL_V01 = model("mistral-7b-v0.3", vocab_size=32_000)
DEEPSEEK = model("deepseek-r1")
H20, RTX_4090 = ideal_roof("h20"), ideal_roof("rtx-4090")


def seconds(roof: Roof, flops: float = 0.0, bytes_: float = 0.0) -> float:
    return total_s((roof.time("all", Work(flops, bytes_)),))


def bound(roof: Roof, flops: float, bytes_: float) -> str:
    (limit,) = (limit for limit, part_s in roof.time("all", Work(flops, bytes_)).seconds.items() if part_s)
    return limit


def qwen_layers(tokens: float, context: float) -> float:
    kv_share = QWEN.num_key_value_heads / QWEN.num_attention_heads
    layer = textbook.layer_flops(tokens, context, QWEN.hidden_size, QWEN.intermediate_size, kv_share)
    return QWEN.num_hidden_layers * layer


def estimated(
    described: ModelSpec, gpu: AcceleratorSpec, prompt: int, output: int, **engine: float
) -> dict[str, float]:
    """The figures of `servesim estimate`."""
    case = Case(described, gpu, complete_engine(engine, gpu)[0], prompt, output)
    return {figure.name: figure.value for figure in estimate(case)}


def batch_in_80_gb(utilisation: float, activations: float, tokens: int) -> float:
    """Estimated requests of `tokens` of Llama-3.1-8B, on a GPU with 80e9 bytes for all but our larger activations."""
    gpu = accelerator("a100-80gb-sxm")
    engine, _ = complete_engine({"gpu_memory_utilization": utilisation}, gpu)
    beyond = activation_bytes(engine, LLAMA_8B) - activations
    gpu = gpu.model_copy(update={"memory_bytes": 80e9 + beyond / utilisation})
    return estimated(LLAMA_8B, gpu, tokens - 1, 1, gpu_memory_utilization=utilisation)["max_concurrency"]


def bytes_per_weight(number_format: str) -> float:
    """As a checkpoint's description is read: by its type, or by how it says that it is quantised."""
    names = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
    if number_format in names:
        return DTYPE_BYTES[names[number_format]]
    empty = Fields({}, "test")
    if number_format == "fp8":
        return quantization_from_hf(empty, empty, {"quant_algo": "FP8"})["mlp_bits"] / 8
    weights = {"num_bits": int(number_format.removeprefix("int"))}
    config = {"quant_method": "compressed-tensors", "config_groups": {"all": {"weights": weights}}}
    return quantization_from_hf(Fields({"quantization_config": config}, "test"), empty, None)["mlp_bits"] / 8


GPT_3 = ModelSpec(
    name="gpt-3",
    hidden_size=12288,
    num_hidden_layers=96,
    num_attention_heads=96,
    num_key_value_heads=96,
    head_dim=128,
    intermediate_size=8 * 12288 // 3,  # three matrices of this width weigh what two of 4h do
    vocab_size=50257,
    max_position_embeddings=2048,
)
GPT_3_MATRICES = GPT_3.num_hidden_layers * (GPT_3.attention_parameters_per_layer + GPT_3.mlp_parameters_per_layer)
GPT_3_FIGURES = estimated(GPT_3, accelerator("h200-sxm"), 2048, 1, tensor_parallel_size=8)
QWEN_LAYER = QWEN.attention_parameters_per_layer + QWEN.mlp_parameters_per_layer
QWEN_FIGURES = estimated(QWEN, accelerator("h20"), 1024, 1024)
QWEN_PREFILL, QWEN_DECODE = QWEN_FIGURES["prefill_flops_layers"], QWEN_FIGURES["decode_flops_layers"]
QWEN_BYTES = QWEN.matrix_parameters * QWEN.dtype_bytes
TTFT_S = QWEN_FIGURES["ttft_layers_s"]
TPOT_S = seconds(H20, QWEN_DECODE, QWEN_BYTES + 1536 * QWEN.kv_bytes_per_token)
MHA_FLOPS = textbook.qkv_flops(1, S, H) + textbook.attention_flops(1, S, H) + textbook.output_projection_flops(1, S, H)
GPT3_FORWARD = f.quick_flops(300e9, 175e9)

EXACT = [
    ("S1", f.FLOPS_PER_MULTIPLY_ADD, 2),
    ("S2", textbook.qkv_flops(1, S, H), 103_079_215_104),
    ("S3", textbook.attention_flops(1, S, H), 17_179_869_184),
    ("S3 causal", textbook.causal_attention_flops(1, S, H), 8_598_323_200),
    ("S3 causal, simulated", operations.attention_prefill(LLAMA_7B, PROMPT, 1).flops, 32 * 8_598_323_200),
    ("S4", textbook.output_projection_flops(1, S, H), 34_359_738_368),
    ("S2 + S4 simulated", operations.attention_projections(LLAMA_7B, PROMPT, 1).flops, 32 * 137_438_953_472),
    ("S5", MHA_FLOPS, 154_618_822_656),
    ("S6", textbook.mlp_flops(1, S, H), 274_877_906_944),
    ("S7", textbook.block_flops(1, S, H), 429_496_729_600),
    ("S7 GPT-3", 96 * textbook.block_flops(1, 2048, 12288), 732_274_744_098_816),
    ("S7 GPT-3 estimated", GPT_3_FIGURES["prefill_flops_layers"], 732_274_744_098_816),
    ("S9 MHA", textbook.qkv_flops(1, S, H, 1.0) + textbook.output_projection_flops(1, S, H), 8 * S * H * H),
    ("S9 GQA", textbook.qkv_flops(1, S, H, 0.25) + textbook.output_projection_flops(1, S, H), 5 * S * H * H),
    ("S9 MHA simulated", operations.attention_projections(LLAMA_7B, PROMPT, 1).flops, 32 * 8 * S * H * H),
    ("S9 GQA simulated", operations.attention_projections(LLAMA_8B, PROMPT, 1).flops, 32 * 5 * S * H * H),
    ("S10", 1 + textbook.BACKWARD_OVER_FORWARD, f.TRAINING_OVER_FORWARD),
    ("S10 6ND", f.TRAINING_OVER_FORWARD * GPT3_FORWARD, 3.15e23),
    ("S11 8ND", textbook.TRAINING_WITH_RECOMPUTATION_OVER_FORWARD * GPT3_FORWARD, 4.2e23),
    ("S13", textbook.block_parameters(96, 12288), 173_946_175_488),
    ("S13 counted", GPT_3_MATRICES, 173_946_175_488),
    ("S18 flops", f.quick_flops(1, 8192 * 8192), 134_217_728),
    ("S18 bytes", 8192 * 8192 * bytes_per_weight("fp16"), 134_217_728),
    ("S19 parameters", MISTRAL_V01.matrix_parameters, 7_110_393_856),
    ("S25", f.quick_flops(1024, 32e9), 65_536_000_000_000),
    ("S26", sum(f.quick_flops(1, 32e9) for _ in range(1024)), 65_536_000_000_000),
    ("S27 heads", (QWEN.head_dim, QWEN.num_attention_heads // QWEN.num_key_value_heads), (128, 5)),
    ("S28", QWEN.matrix_parameters, 31_984_189_440),
    ("S28 layer", QWEN_LAYER, 487_587_840),
    ("S28 embedding", QWEN.lm_head_parameters, 778_567_680),
    ("S28 checkpoint", QWEN.total_parameters, 32_763_876_352),
    ("S28 biases, norms", QWEN.total_parameters - 32_762_757_120, 64 * 7168 + 64 * 2 * 5120 + 5120),
    ("S29", QWEN_PREFILL, 65_283_502_899_200),
    ("S29 textbook", qwen_layers(1024, 1024), 65_283_502_899_200),
    ("S29 causal", qwen_layers(1024, 1025 / 2), 64_596_979_220_480),
    ("S29 causal, with the head", QWEN_FIGURES["prefill_flops"], 64_596_979_220_480 + 1_557_135_360),
    ("S29 head", operations.lm_head(QWEN, PROMPT, 1).flops, 1_557_135_360),
    ("S30", f.quick_flops(1024, 64 * QWEN_LAYER) + 64 * textbook.attention_flops(1, 1024, 5120), QWEN_PREFILL),
    ("S31", 64 * textbook.attention_flops(1, 1024, 5120), 1_374_389_534_720),
    ("S32", QWEN_DECODE, 64_425_164_800),
    ("S32 sum", sum(qwen_layers(1, 1024 + i) for i in range(1, 1025)), 65_971_368_755_200),
    ("S32 steps", f.mean_decode_context(1024, 1023), np.mean(range(1025, 2048))),
    ("S35 bytes", QWEN_BYTES, 63_968_378_880),
    ("S35 bound", bound(H20, QWEN_DECODE, QWEN_BYTES), "memory"),
    ("S35 ridge", accelerator_facts(accelerator("h20"))["ridge_flop_per_byte"]["bfloat16"], 37),
    ("S38 alone", f.distinct_experts(256, 8, 1), 8),
    ("S46", f.reading_tpot_s(800), 1 / 20),
    ("S46 speed reader", f.reading_tpot_s(700) >= 1 / 20, True),
    ("S52", LLAMA_8B.weight_bytes, 16_060_522_496),
    ("S53", f.kv_bytes_per_token(32, 8, 128, 2), 131_072),
    ("S53 model", LLAMA_8B.kv_bytes_per_token, 131_072),
    ("S53 head_dim is not h / heads", model("qwen3-0.6b").kv_bytes_per_token, 2 * 28 * 8 * 128 * 2),
    ("S54", 1024 * LLAMA_8B.kv_bytes_per_token, 134_217_728),
    ("S55", 128 * 1024 * LLAMA_8B.kv_bytes_per_token, 17_179_869_184),
    ("S56 MHA", model("llama-3.1-8b", num_key_value_heads=32).kv_bytes_per_token, 524_288),
    ("S56 MQA", model("llama-3.1-8b", num_key_value_heads=1).kv_bytes_per_token, 16_384),
    ("S57", model("deepseek-v3").kv_bytes_per_token, 70_272),
    ("S58", QWEN.kv_bytes_per_token, 262_144),
    ("S59", textbook.max_batch(80e9, 0.9, LLAMA_8B.weight_bytes, 2e9, 2048 * LLAMA_8B.kv_bytes_per_token), 200),
    ("S59 estimated", batch_in_80_gb(0.9, 2e9, 2048), 200),
    ("S64 candidates", textbook.beam_candidates(3), 9),
    ("S64 memory", textbook.beam_memory_factor(1024, 1024, 3), 2.0),
    ("S66 round", textbook.speculative_round_s(draft_s=1.0, verify_s=4.0, drafts=3), 3 * 1.0 + 4.0),
    ("S73 TP", textbook.tensor_parallel_bytes_per_token(126, 16384, 2, 8), 14_450_688),
    ("S73 TP simulated", operations.all_reduce_bytes(LLAMA_405B, Batch(1, 1), 8), 14_450_688),
    ("S73 PP", 7 * textbook.pipeline_bytes_per_hop(16384, 2), 229_376),
    (
        "S73 ratio",
        textbook.tensor_parallel_bytes_per_token(126, 16384, 2, 8) / textbook.pipeline_bytes_per_hop(16384, 2),
        441,
    ),
    ("S75", bytes_per_weight("bf16") * 405e9 / (4 * 4), 50.625e9),
]


@pytest.mark.parametrize(("fact", "ours", "expected"), EXACT, ids=[row[0] for row in EXACT])
def test_exact(fact, ours, expected):
    assert ours == expected


CLOSE = [  # fact, ours, expected, relative tolerance
    ("S8", textbook.block_over_matrices(2048, 12288), 1.0277777777777777, 1e-12),
    ("S8 estimated", GPT_3_FIGURES["prefill_flops_layers"] / f.quick_flops(2048, GPT_3_MATRICES), 1 + 1 / 36, 1e-12),
    ("S12 MFU", f.training_seconds(3.15e23, 312e12, 1024, 0.45) / 86400, 25.3588612150, 1e-9),
    ("S12 HFU", f.training_seconds(4.2e23, 312e12, 1024, 0.45) / 86400, 33.8118149533, 1e-9),
    ("S19", seconds(RTX_4090, f.quick_flops(1, 7.1e9), 14.2e9), 14.0873015873e-3, 1e-9),
    ("S19 exact", seconds(RTX_4090, bytes_=2 * MISTRAL_V01.matrix_parameters), 14.1079243175e-3, 1e-9),
    ("S20", seconds(RTX_4090, f.quick_flops(1, 7.1e9), 7.1e9), 7.0436507937e-3, 1e-9),
    ("S22 TTFT", TTFT_S, 0.441105, 1e-6),
    ("S22 TPOT", TPOT_S, 16.0928e-3, 1e-5),
    ("S22 ratio", TTFT_S / TPOT_S, 27.4101, 1e-5),
    ("S23", f.latency_s(TTFT_S, TPOT_S, 2024) - f.latency_s(TTFT_S, TPOT_S, 1024), 16.092758016, 1e-9),
    ("S24", textbook.tokens_per_s(TTFT_S, TPOT_S, 1024), 60.577391, 1e-7),
    ("S24 a token too long", textbook.tokens_per_s(TTFT_S + TPOT_S, TPOT_S, 1024), 60.519776, 1e-7),
    ("S31 share", 64 * textbook.attention_flops(1, 1024, 5120) / QWEN_PREFILL, 0.02105, 1e-3),
    ("S33", TTFT_S, 0.4411047493, 1e-9),
    ("S34", QWEN_FIGURES["ttft_layers_at_60_percent_s"], 0.7351746, 1e-6),
    ("S35 compute roof", QWEN_FIGURES["tokens_per_s_layers"], 2297.239, 1e-6),
    ("S35 batch 1", seconds(H20, QWEN_DECODE, QWEN_BYTES), 15.99209472e-3, 1e-9),
    ("S35 batch 1, tokens per second", 1 / seconds(H20, QWEN_DECODE, QWEN_BYTES), 62.53, 1e-4),
    ("S36", seconds(H20, f.quick_flops(1024, 32e9)), 0.4428108, 1e-6),
    ("S37", 1 / seconds(H20, f.quick_flops(1, 32e9)), 2312.5, 1e-12),
    ("S38 parameters", DEEPSEEK.total_parameters, 671e9, 1e-3),
    ("S38 active", DEEPSEEK.active_parameters, 37e9, 0.02),
    ("S38 share", DEEPSEEK.active_parameters / DEEPSEEK.total_parameters, 0.0551416, 0.02),
    ("S38 fp8", DEEPSEEK.weight_bytes, 671e9, 5e-3),
    ("S38 bf16", DEEPSEEK.model_copy(update={"quantization": None}).weight_bytes, 1342e9, 1e-3),
    ("S38 8", f.distinct_experts(256, 8, 8), 57.421, 1e-5),
    ("S38 32", f.distinct_experts(256, 8, 32), 163.314, 1e-5),
    ("S38 128", f.distinct_experts(256, 8, 128), 251.601, 1e-5),
    ("S41", f.latency_s(0.5, 0.02, 100), 2.48, 1e-12),
    ("S43", f.reading_tpot_s(250), 0.16, 1e-12),
    ("S43 TPS", 1 / f.reading_tpot_s(250), 6.25, 1e-12),
    ("S44", f.reading_tpot_s(450), 0.0888889, 1e-6),
    ("S44 TPS", 1 / f.reading_tpot_s(450), 11.25, 1e-12),
    ("S45", f.reading_tpot_s(700), 0.0571429, 1e-6),
    ("S45 TPS, not 18.75", 1 / f.reading_tpot_s(700), 17.5, 1e-12),
    ("S47 250", f.reading_tpot_s(250, 1.3), 0.1846154, 1e-6),
    ("S47 450", f.reading_tpot_s(450, 1.3), 0.1025641, 1e-6),
    ("S47 700", f.reading_tpot_s(700, 1.3), 0.0659341, 1e-6),
    ("S52 2 bytes a parameter", LLAMA_8B.weight_bytes, bytes_per_weight("bf16") * 8e9, 4e-3),
    ("S66 .8", textbook.speculative_tokens_per_round(0.8, 3), 2.952, 1e-12),
    ("S66 .6", textbook.speculative_tokens_per_round(0.6, 3), 2.176, 1e-12),
    ("S66 1", textbook.speculative_tokens_per_round(1.0, 3), 4, 1e-12),
    ("S69 H20", textbook.cacheless_break_even_tokens(2, H20.flop_per_s, H20.bytes_per_s), 37, 1e-12),
    ("S69 4090", textbook.cacheless_break_even_tokens(2, RTX_4090.flop_per_s, RTX_4090.bytes_per_s), 163.9, 1e-3),
    ("S74 1", textbook.pipeline_efficiency(8, 1), 0.125, 1e-12),
    ("S74 8", textbook.pipeline_efficiency(8, 8), 0.5333333, 1e-6),
    ("S74 56", textbook.pipeline_efficiency(8, 56), 0.8888889, 1e-6),
    ("S80", textbook.decode_rate(100, 99 * 0.02), 50, 1e-12),
    ("S90 q4_k_m", textbook.Q4_K_M_BYTES_PER_PARAMETER, 0.606, 0.02),
]


@pytest.mark.parametrize(("fact", "ours", "expected", "tolerance"), CLOSE, ids=[row[0] for row in CLOSE])
def test_close(fact, ours, expected, tolerance):
    assert ours == pytest.approx(expected, rel=tolerance)


def test_s14_the_percentile_method_matters_and_ours_is_numpys_linear():
    """99 requests of 119 ms and one of 500 ms: nearest rank says 119, linear 122.81, the next higher 500."""
    sample = SeriesSample.of(np.array([119.0] * 99 + [500.0]))
    assert sample.quantiles([0.99])[0] == pytest.approx(122.81, rel=1e-12)


@pytest.mark.parametrize("name", catalogue.names("accelerators"))
def test_s18_a_matrix_times_a_vector_is_memory_bound_everywhere(name):
    side = 8192 * 8192
    assert bound(ideal_roof(name), f.quick_flops(1, side), side * bytes_per_weight("fp16")) == "memory"


def test_s27_the_fields_of_a_model_are_those_of_its_config():
    found = QWEN.model_dump()
    assert {key: found[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size")} == {
        "hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64, "vocab_size": 152064,
    }  # fmt: skip
    assert (QWEN.num_attention_heads, QWEN.num_key_value_heads, QWEN.dtype) == (40, 8, "bfloat16")


def test_s29_a_simulated_prompt_costs_the_detailed_formula_with_causal_attention():
    groups = operations.attention_projections, operations.mlp, operations.attention_prefill
    assert sum(group(QWEN, PROMPT, 1).flops for group in groups) == 64_596_979_220_480


def test_s32_simulated_decode_steps_cost_the_detailed_formula():
    groups = operations.attention_projections, operations.mlp, operations.attention_decode
    steps = [Batch(1, context) for context in range(1025, 2049)]
    assert sum(group(QWEN, step, 1).flops for step in steps for group in groups) == 65_971_368_755_200


def test_s42_an_accelerator_has_memory_compute_bandwidth_and_a_link():
    """Within the chip and to the peers of a node; a link between nodes is not part of the description."""
    fields = AcceleratorSpec.model_fields
    assert {"memory_bytes", "peak_flop_per_s", "memory_bytes_per_s", "link_bytes_per_s", "link_latency_s"} <= set(
        fields
    )


@pytest.mark.parametrize(("fmt", "gigabytes"), [("fp32", 32), ("bf16", 16), ("fp16", 16), ("fp8", 8), ("int8", 8)])
def test_s51_s90_bytes_per_parameter(fmt, gigabytes):
    assert 8 * bytes_per_weight(fmt) == gigabytes


@pytest.mark.parametrize(
    ("billions", "int8_gb", "int4_gb"),
    [(1, 1, 0.5), (3, 3, 1.5), (7, 7, 3.5), (13, 13, 6.5), (30, 30, 15), (65, 65, 32.5)],
)
def test_s51_s88_s89_s90_weights_by_precision_not_the_doubled_table(billions, int8_gb, int4_gb):
    """The published table's int8 column is fp16 and its int4 column is int8."""
    assert billions * bytes_per_weight("fp16") == 2 * int8_gb
    assert billions * bytes_per_weight("int8") == int8_gb
    assert billions * bytes_per_weight("int4") == int4_gb


def test_s56_grouping_query_heads_divides_the_cache():
    multi_head, multi_query = (model("llama-3.1-8b", num_key_value_heads=heads) for heads in (32, 1))
    assert multi_head.kv_bytes_per_token == 4 * LLAMA_8B.kv_bytes_per_token == 32 * multi_query.kv_bytes_per_token


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (1.0, (0.66524096, 0.24472847, 0.09003057)),
        (0.5, (0.86681333, 0.11731043, 0.01587624)),
        (2.0, (0.50648039, 0.30719589, 0.18632372)),
    ],
)
def test_s65_temperature_changes_every_probability_but_not_their_order(temperature, expected):
    assert textbook.token_probabilities((2, 1, 0), temperature) == pytest.approx(expected, abs=1e-8)


def test_s66_three_drafts_cost_one_long_step_instead_of_three():
    draft_s, target_s = 1.0, 10.0
    assert textbook.speculative_round_s(draft_s, target_s, 3) < 3 * target_s
    assert textbook.speculative_round_s(target_s, target_s, 3) > 3 * target_s, (
        "a draft model as slow as the target never pays"
    )


def test_s75_sixteen_gpus_hold_a_sixteenth_of_the_weights_each():
    one = {"distribution": "fixed", "value": 1}
    workload = {"arrivals": {"process": "all_at_once"}, "lengths": {"prompt": one, "output": one}, "num_requests": 1}
    split = experiment_from(
        {
            "model": "llama-3.1-405b",
            "accelerator": "h100-sxm",
            "engine": {"tensor_parallel_size": 16},
            "workload": workload,
        }
    )
    assert split.memory.weight_bytes == pytest.approx(50.625e9, rel=3e-3)


def test_s79_five_in_a_hundred_of_a_million_users_wait_longer_than_p95():
    latencies = np.arange(10**6, dtype=float)
    p95 = SeriesSample.of(latencies).quantiles([0.95])[0]
    assert (latencies > p95).sum() == 50_000
