"""The closed-form answer: against the literature, by hand, and against the simulator where nothing is lost."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import pytest
from cli.cli_helpers import REPOSITORY, servesim_here
from hypothesis import given
from hypothesis import strategies as st

import sim
from sim.config import load_accelerator, load_model
from sim.errors import InputError
from sim.estimate import Case, estimate, notes
from sim.specs.model import WindowedLayers
from sim.specs.presets import complete_engine


def figures(model="qwen2.5-32b", accelerator="h20", prompt=1024, output=1024, engine=None, **prices):
    gpu = load_accelerator(accelerator)
    completed, _ = complete_engine(engine or {}, gpu)
    described = load_model(model) if isinstance(model, str) else model
    found = estimate(Case(described, gpu, completed, prompt, output, **prices))
    assert len({figure.name for figure in found}) == len(found)
    assert all(figure.formula for figure in found)
    return {figure.name: figure.value for figure in found}


def test_qwen_32b_on_the_148_tflops_card():
    """Causal attention and the head for one row; decoding one request is bound by bandwidth, far below the roof."""
    found = figures()
    assert found["prefill_flops"] == 64_596_979_220_480 + 1_557_135_360
    assert found["ttft_s"] == pytest.approx((64_596_979_220_480 + 1_557_135_360) / 148e12, rel=1e-12)
    assert found["decode_flops"] == pytest.approx(64_425_164_800 - 0.5 * 4 * 5120 * 64 + 1_557_135_360, rel=1e-12)
    assert found["decode_bytes"] == pytest.approx(63_968_378_880 + 262_144 * 1536, rel=1e-4)  # and norms and biases
    assert found["tokens_per_s"] == pytest.approx(62.14, rel=1e-3)
    assert found["compute_roof_tokens_per_s"] == pytest.approx(2243, rel=1e-3)
    assert found["ridge_flop_per_byte"] == 37
    assert found["compute_bound_batch"] == pytest.approx(36, rel=0.02)


def test_s28_to_s37_stand_beside_it_as_worked_out_from_compute_alone():
    found = figures()
    assert found["matrix_parameters"] == 31_984_189_440
    assert found["prefill_flops_layers"] == 65_283_502_899_200
    assert found["ttft_layers_s"] == pytest.approx(0.4411047, rel=1e-6)
    assert found["ttft_layers_at_60_percent_s"] == pytest.approx(0.7351746, rel=1e-6)
    assert found["decode_flops_layers"] == 64_425_164_800
    assert found["tokens_per_s_layers"] == pytest.approx(2297.239, rel=1e-6)
    of_the_round_32_billion = 31_984_189_440 / 32e9
    assert found["ttft_quick_s"] == pytest.approx(0.4428108 * of_the_round_32_billion, rel=1e-6)
    assert found["tokens_per_s_quick"] == pytest.approx(2312.5 / of_the_round_32_billion, rel=1e-6)


def test_latency_counts_the_first_token_once():
    found = figures(output=100)
    assert found["latency_s"] == pytest.approx(found["ttft_s"] + 99 * found["tpot_s"])


def test_kv_memory_and_concurrency():
    found = figures(model="llama-3.1-8b", accelerator="a100-80gb-sxm", prompt=1000, output=200)
    assert found["fits"] == "yes"
    assert found["max_concurrency"] == found["kv_capacity_tokens"] // 1200
    assert found["largest_batch"] == 256
    assert found["binds"] == "the batch: seats, its steps: bandwidth"


@pytest.mark.parametrize("output", [1, 1.5, 2, 100])
def test_a_request_takes_one_decode_step_fewer_than_it_has_output_tokens(output):
    found = figures(output=output)
    steps_s = (output - 1) * found["tpot_at_largest_batch_s"] / found["largest_batch"]
    assert 1 / found["requests_per_s"] == pytest.approx(found["prefill_flops"] / 148e12 + steps_s)
    assert found["output_tokens_per_s"] == pytest.approx(output * found["requests_per_s"])


def test_a_prompt_so_short_that_reading_the_weights_takes_longer_than_computing_it():
    found = figures(prompt=1)
    assert found["ttft_s"] == pytest.approx(found["tpot_s"], rel=0.01)
    assert found["ttft_s"] > 10 * found["prefill_flops"] / 148e12


SPEEDS_USERS_AND_COSTS = {
    "ttft_s", "tpot_s", "tokens_per_s", "latency_s", "keeps_up_with", "kv_capacity_tokens", "max_concurrency",
    "largest_batch", "requests_per_s", "cost_per_million_tokens", "energy_per_million_tokens", "ttft_quick_s",
    "training_days_for_1e12_tokens",
}  # fmt: skip


def test_a_model_that_does_not_fit_gets_no_speeds_only_what_it_needs():
    """141.1 GB of weights, activations and one request's 0.67 GB; an L4 has 24.2 GB, of which 92 % may be used."""
    assert figures(price_per_hour=1.0).keys() >= SPEEDS_USERS_AND_COSTS
    found = figures(model="llama-3.1-70b", accelerator="l4", price_per_hour=1.0)
    assert re.fullmatch(r"no, 13\d\.\d GB short: needs at least 8 GPUs", found["fits"])
    assert SPEEDS_USERS_AND_COSTS.isdisjoint(found)
    assert figures(model="llama-3.1-70b", accelerator="l4", engine={"tensor_parallel_size": 8})["fits"] == "yes"
    four = figures(model="llama-3.1-70b", accelerator="l4", engine={"tensor_parallel_size": 4})["fits"]
    assert four.endswith("GB short on each: needs at least 8 GPUs")


def test_the_memory_it_is_short_of_is_what_it_needs_to_fit():
    gpu, engine = load_accelerator("l4").model_dump(), {"max_num_batched_tokens": 2048, "max_num_seqs": 256}
    said = figures(model="llama-3.1-70b", accelerator=gpu, engine=engine)["fits"]
    short_bytes = float(said.split()[1]) * 1e9

    def fits_with(extra_bytes: float) -> bool:
        larger = gpu | {"memory_bytes": round(gpu["memory_bytes"] + extra_bytes)}
        return figures(model="llama-3.1-70b", accelerator=larger, engine=engine)["fits"] == "yes"

    assert fits_with(short_bytes + 0.06e9)
    assert not fits_with(short_bytes - 0.06e9)


def test_weights_that_fit_do_not_help_a_request_that_does_not():
    assert figures(model="llama-3.1-8b", accelerator="rtx-4090", prompt=20_000)["fits"] == "yes"
    assert figures(model="llama-3.1-8b", accelerator="rtx-4090", prompt=100_000)["fits"].startswith("no, ")


@pytest.mark.parametrize("value", [math.inf, math.nan, -1, 1e308])
@pytest.mark.parametrize("field", ["prompt", "output", "price_per_hour", "power_w"])
def test_numbers_that_cannot_be_are_refused(field, value):
    with pytest.raises(InputError, match=rf"^{field}\w*: got {re.escape(repr(value))}, must be .*; correct the value"):
        figures(**{field: value})


EXTREMES = st.sampled_from([1e6, 1e9, 1e12, 1e15, 1e18])


@given(
    EXTREMES, EXTREMES, st.integers(10**6, 10**15), st.floats(1, 1e9), st.floats(1, 1e9), st.floats(0, 1e9),
    st.sampled_from(["llama-3.1-8b", "deepseek-r1", "gpt-oss-20b"]),
)  # fmt: skip
def test_every_number_that_may_be_has_a_finite_answer(bandwidth, peak, memory, prompt, output, price, model):
    gpu = load_accelerator("h20").model_dump() | {
        "memory_bytes": memory, "memory_bytes_per_s": bandwidth, "peak_flop_per_s": {"bfloat16": peak},
    }  # fmt: skip
    found = figures(model, gpu, prompt, output, price_per_hour=price)
    assert [name for name, value in found.items() if not isinstance(value, str) and not math.isfinite(value)] == []


def test_gpus_that_cannot_share_the_heads_are_refused():
    with pytest.raises(InputError, match=r"tensor_parallel_size: 3 does not divide the 40 .* use one of 1, 2, 4, 8"):
        figures(engine={"tensor_parallel_size": 3})


def test_an_accelerator_without_a_peak_to_compute_at_is_refused():
    only_float32 = load_accelerator("h20").model_dump() | {"name": "mine", "peak_flop_per_s": {"float32": 1e14}}
    with pytest.raises(InputError, match=r"accelerator\.peak_flop_per_s: mine has float32, but none of bfloat16.*add"):
        figures(accelerator=only_float32)


def test_more_gpus_divide_time_and_add_memory():
    one = figures(accelerator="h200-sxm")
    two = figures(accelerator="h200-sxm", engine={"tensor_parallel_size": 2})
    assert two["ttft_s"] == pytest.approx(one["ttft_s"] / 2)
    assert two["tpot_s"] == pytest.approx(one["tpot_s"] / 2)
    assert two["kv_capacity_tokens"] > 2 * one["kv_capacity_tokens"]


LLAMA = load_model("llama-3.1-8b")


def windowed(layers: int, window: int, prompt: int, output: int) -> dict[str, float]:
    """Llama-3.1-8B, had `layers` of its 32 a sliding window."""
    model = LLAMA.model_copy(update={"windowed_layers": WindowedLayers(num_layers=layers, window_tokens=window)})
    return figures(model=model, accelerator="a100-80gb-sxm", prompt=prompt, output=output)


DRAFTING = {
    "method": "draft_model", "num_speculative_tokens": 3, "acceptance": {"kind": "constant", "rate": 0.7},
    "model": load_model("qwen3-0.6b"),
}  # fmt: skip


def test_a_draft_model_takes_room_of_the_cache_and_a_part_of_what_every_request_holds():
    alone, beside = figures("qwen3-32b"), figures("qwen3-32b", engine={"speculation": DRAFTING})
    draft = load_model("qwen3-0.6b")
    assert beside["draft_weight_bytes"] == draft.weight_bytes
    assert beside["kv_bytes_per_request"] == alone["kv_bytes_per_request"] + 2048 * draft.kv_bytes_per_token
    token_bytes = alone["kv_bytes_per_token"] + draft.kv_bytes_per_token
    left_bytes = alone["kv_capacity_tokens"] * alone["kv_bytes_per_token"] - draft.weight_bytes
    assert beside["kv_capacity_tokens"] == pytest.approx(left_bytes / token_bytes, abs=2)
    assert beside["tpot_s"] == alone["tpot_s"]


def test_what_drafts_speed_up_is_not_estimated_and_noted():
    gpu = load_accelerator("h20")
    engine, _ = complete_engine({"speculation": DRAFTING}, gpu)
    assert any("engine.speculation" in said for said in notes(Case(load_model("qwen3-32b"), gpu, engine, 100, 100)))


def test_a_window_bounds_the_cache_the_attention_and_what_a_step_reads_in_its_layers():
    """Token by token: 100 prompt tokens and 51 of output, 24 of 32 layers look back at most 64 tokens."""
    full = figures(model="llama-3.1-8b", accelerator="a100-80gb-sxm", prompt=100, output=51)
    some = windowed(layers=24, window=64, prompt=100, output=51)
    flops, cached_bytes = 4 * 4096, 4096
    prompt_pairs_saved = 24 * sum(max(token - 64, 0) for token in range(1, 101))
    contexts_saved = 24 * sum(context - 64 for context in range(101, 151)) / 50
    assert full["prefill_flops"] - some["prefill_flops"] == flops * prompt_pairs_saved
    assert full["decode_flops"] - some["decode_flops"] == pytest.approx(flops * contexts_saved)
    assert full["decode_bytes"] - some["decode_bytes"] == pytest.approx(cached_bytes * contexts_saved)
    assert some["kv_bytes_per_request"] == cached_bytes * (8 * 151 + 24 * 64)
    assert some["kv_bytes_per_token"] == full["kv_bytes_per_token"] == cached_bytes * 32
    assert some["max_concurrency"] > 1.5 * full["max_concurrency"]


def test_a_window_that_decoding_reaches_halfway():
    found = windowed(layers=32, window=120, prompt=100, output=51)
    full = figures(model="llama-3.1-8b", accelerator="a100-80gb-sxm", prompt=100, output=51)
    contexts_saved = 32 * sum(max(context - 120, 0) for context in range(101, 151)) / 50
    assert full["decode_bytes"] - found["decode_bytes"] == pytest.approx(4096 * contexts_saved)


def test_a_window_longer_than_every_request_changes_nothing():
    assert windowed(layers=32, window=2000, prompt=1000, output=100) == pytest.approx(
        figures(model="llama-3.1-8b", accelerator="a100-80gb-sxm", prompt=1000, output=100)
    )


def test_latent_attention_decodes_in_the_latent_space_and_prefills_with_whole_heads():
    """DeepSeek-R1: 61 layers of 128 heads; 192 and 128 wide written out, 576 and 512 in the space of the cache."""
    gpus = {"accelerator": "h200-sxm", "engine": {"tensor_parallel_size": 8}, "model": "deepseek-r1"}
    one, two = (figures(**gpus, prompt=prompt, output=1024) for prompt in (1000, 2000))
    assert two["decode_flops"] - one["decode_flops"] == pytest.approx(1000 * 61 * 2 * 128 * (576 + 512))
    matrices = 1000 * 2 * (one["matrix_parameters"] - load_model("deepseek-r1").lm_head_parameters)
    pairs = 2000 * 2001 / 2 - 1000 * 1001 / 2
    assert two["prefill_flops"] - one["prefill_flops"] == pytest.approx(matrices + pairs * 61 * 2 * 128 * (192 + 128))
    assert two["decode_bytes"] - one["decode_bytes"] == pytest.approx(1000 * 70_272 * 8), "each GPU reads its own copy"


def test_a_file_decides_how_many_blocks_there_are_and_what_a_request_reserves():
    blocks = {"num_gpu_blocks": 1001, "max_model_len": 4096}
    paged = figures(model="llama-3.1-8b", accelerator="a100-80gb-sxm", prompt=700, output=100, engine=blocks)
    assert (paged["kv_capacity_tokens"], paged["max_concurrency"]) == (16_000, 20)
    reserved = blocks | {"preset": "orca"}
    orca = figures(model="llama-3.1-8b", accelerator="a100-80gb-sxm", prompt=700, output=100, engine=reserved)
    assert (orca["kv_capacity_tokens"], orca["max_concurrency"]) == (16_016, 3)


@pytest.mark.parametrize(
    ("model", "accelerator", "gpus", "said"),
    [
        ("qwen2.5-32b", "h20", 1, []),
        ("llama-3.1-8b", "t4", 1, ["t4 has no bfloat16 peak: the float16 one is taken instead"]),
        ("llama-3.1-8b", "h20", 2, ["send one another"]),
        ("llama-3.1-70b-fp8", "h200-sxm", 1, ["all arithmetic is taken at the float8 peak of h200-sxm"]),
        ("llama-3.1-70b-fp8", "a100-80gb-sxm", 1, ["all arithmetic is taken at the bfloat16 peak"]),
        ("mixtral-8x7b", "h200-sxm", 1, ["experts are taken to be chosen uniformly"]),
    ],
)
def test_what_is_taken_for_granted_is_noted(model, accelerator, gpus, said):
    gpu = load_accelerator(accelerator)
    case = Case(load_model(model), gpu, complete_engine({"tensor_parallel_size": gpus}, gpu)[0], 1024, 1024)
    remarks = notes(case)
    assert len(remarks) == len(said)
    assert all(expected in remark for expected, remark in zip(said, remarks, strict=True))


def test_more_tokens_than_the_model_was_made_for_are_noted():
    gpu = load_accelerator("h20")
    remarks = notes(Case(load_model("llama-2-7b"), gpu, complete_engine({}, gpu)[0], 4000, 97))
    assert remarks == ["4097 tokens of prompt and output are beyond the 4096 llama-2-7b was made for"]


def test_the_batch_that_turns_to_compute_reads_every_expert():
    found = figures(model="mixtral-8x7b", accelerator="h200-sxm")
    weight_s = (found["weight_bytes"] - 2 * load_model("mixtral-8x7b").lm_head_parameters) / 4.8e12
    step_s = found["compute_bound_batch"] * found["decode_flops"] / found["peak_flop_per_s"]
    assert step_s == pytest.approx(weight_s, rel=1e-6)


def test_a_mixture_of_experts_reads_few_experts_alone_and_nearly_all_in_a_batch():
    found = figures(model="deepseek-r1", accelerator="h200-sxm", engine={"tensor_parallel_size": 8})
    assert found["tpot_s"] == pytest.approx(37e9 / (8 * 4.8e12), rel=0.1)
    assert found["tpot_at_largest_batch_s"] > 0.9 * 673e9 / (8 * 4.8e12)


def explained(accelerator: str | dict = "h20", **prices: float) -> dict[str, str]:
    """The formulas or sources of the figures."""
    gpu = load_accelerator(accelerator)
    case = Case(load_model("qwen2.5-32b"), gpu, complete_engine({}, gpu)[0], 1024, 1024, **prices)
    return {figure.name: figure.formula for figure in estimate(case)}


def test_energy_is_that_of_the_tdp_unless_power_is_given():
    tdp, given = figures(), figures(power_w=300)
    kwh_per_watt = 1e6 / tdp["output_tokens_per_s"] / 3.6e6
    assert (tdp["power_w"], given["power_w"]) == (400, 300)
    assert tdp["energy_per_million_tokens"] == pytest.approx(400 * kwh_per_watt)
    assert given["energy_per_million_tokens"] == pytest.approx(300 * kwh_per_watt)
    assert "upper bound" in explained()["energy_per_million_tokens"]
    assert "press and cloud providers' sheets" in explained()["power_w"]
    assert "upper bound" not in explained(power_w=300)["energy_per_million_tokens"]


def test_energy_counts_every_gpu():
    one, two = (figures(accelerator="h200-sxm", engine={"tensor_parallel_size": size}) for size in (1, 2))
    gpu_seconds_per_token = 2 * one["output_tokens_per_s"] / two["output_tokens_per_s"]
    assert two["power_w"] == one["power_w"] == 700
    assert two["energy_per_million_tokens"] == pytest.approx(gpu_seconds_per_token * one["energy_per_million_tokens"])


def test_an_accelerator_that_publishes_no_power_has_no_energy():
    found = figures(model="qwen3-0.6b", accelerator="tpu-v5e")
    assert "power_w" not in found
    assert "energy_per_million_tokens" not in found


def test_a_price_is_the_accelerators_own_unless_it_is_given():
    assert "cost_per_million_tokens" not in figures(), "the catalogue knows no prices"
    mine = load_accelerator("h20").model_dump() | {"name": "mine", "price_per_hour": 2.0}
    own, given = figures(accelerator=mine), figures(accelerator=mine, price_per_hour=3.0)
    hours = 1e6 / own["output_tokens_per_s"] / 3600
    assert own["cost_per_million_tokens"] == pytest.approx(2.0 * hours)
    assert given["cost_per_million_tokens"] == pytest.approx(3.0 * hours)
    assert explained(mine)["price_per_hour"] == "of one GPU, price_per_hour in the description of mine"
    assert explained(mine, price_per_hour=3.0)["price_per_hour"] == "of one GPU, as given"


def test_the_simulator_without_losses_meets_the_estimate():
    """One request at a time on a machine of perfect efficiency and no host time."""
    perfect = dict.fromkeys(("gemm_compute", "gemm_memory", "attention_compute", "attention_memory", "link"), 1.0)
    gpu = load_accelerator("h100-sxm").model_dump() | {"efficiency": perfect}
    workload = {
        "arrivals": {"process": "deterministic", "rate": 0.01},
        "lengths": {
            "prompt": {"distribution": "fixed", "value": 4000},
            "output": {"distribution": "fixed", "value": 100},
        },
        "num_requests": 2,
    }
    cost = {"host_per_step_s": 0, "host_per_sequence_s": 0}
    run = sim.run(
        sim.experiment_from({"model": "llama-3.1-8b", "accelerator": gpu, "cost": cost, "workload": workload})
    )
    found = figures(model="llama-3.1-8b", accelerator="h100-sxm", prompt=4000, output=100)
    assert run.requests["ttft_s"].mean() == pytest.approx(found["ttft_s"], rel=0.03)
    assert run.requests["tpot_s"].mean() == pytest.approx(found["tpot_s"], rel=0.03)


def test_kernels_stay_behind_the_datasheet_and_take_what_the_simulator_says():
    """One request at a time, a prompt within the token budget."""
    found = figures(model="llama-3.1-8b", accelerator="h100-sxm", prompt=2000, output=101)
    assert found["ttft_s"] < found["ttft_by_kernels_s"] < 2 * found["ttft_s"]
    assert found["tpot_s"] < found["tpot_by_kernels_s"] < 2 * found["tpot_s"]
    assert found["output_tokens_per_s_by_kernels"] < found["output_tokens_per_s"]
    fixed = {part: {"distribution": "fixed", "value": tokens} for part, tokens in (("prompt", 2000), ("output", 101))}
    workload = {"arrivals": {"process": "deterministic", "rate": 0.01}, "lengths": fixed, "num_requests": 2}
    run = sim.run(sim.experiment_from({"model": "llama-3.1-8b", "accelerator": "h100-sxm", "workload": workload}))
    assert run.requests["ttft_s"].mean() == pytest.approx(found["ttft_by_kernels_s"], rel=1e-6)
    assert run.requests["tpot_s"].mean() == pytest.approx(found["tpot_by_kernels_s"], rel=1e-3)


def test_without_a_peak_for_the_model_nothing_is_said_of_kernels():
    assert "ttft_by_kernels_s" not in figures(model="qwen2.5-7b", accelerator="v100-32gb-sxm2")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sim", "estimate", *arguments], capture_output=True, text=True, check=False
    )


def test_the_verb_answers_for_a_file_and_for_names(tmp_path):
    by_name = json.loads(command("--model", "qwen2.5-32b", "--accelerator", "h20", "--json").stdout)
    assert by_name["tokens_per_s"] == pytest.approx(62.14, rel=1e-3)
    config = tmp_path / "c.yaml"
    config.write_text(
        "model: gpt-oss-20b\naccelerator: h100-sxm\n"
        "workload: {arrivals: {process: poisson, rate: 1}, num_requests: 10, lengths: "
        "{prompt: {distribution: fixed, value: 100}, output: {distribution: fixed, value: 50}}}\n"
    )
    shown = command(str(config), "--explain").stdout
    assert "gpt-oss-20b on h100-sxm, 100 prompt and 50 output tokens" in shown
    assert "TTFT + TPOT x (output - 1)" in shown


def test_the_table_is_in_sections_and_shows_shortcuts_only_with_their_formulas():
    plain = command("--model", "qwen2.5-32b", "--accelerator", "h20").stdout
    explained_ = command("--model", "qwen2.5-32b", "--accelerator", "h20", "--explain").stdout
    assert "one request alone" in plain
    assert "62.14 tok/s" in plain
    assert "2,297 tok/s" not in plain
    assert "2,297 tok/s" in explained_
    assert explained_.index("62.14 tok/s") < explained_.index("from compute alone") < explained_.index("2,297 tok/s")


def test_the_verb_takes_price_and_power():
    answer = command(
        "--model", "qwen2.5-32b", "--accelerator", "h20", "--json", "--price-per-hour", "2", "--power-w", "0"
    )  # fmt: skip
    found = json.loads(answer.stdout)
    assert found["cost_per_million_tokens"] == pytest.approx(2e6 / found["output_tokens_per_s"] / 3600)
    assert found["energy_per_million_tokens"] == 0


def test_training_is_printed_with_the_tokens_it_is_for():
    assert "training days for 10^12 tokens" in command("--model", "qwen2.5-32b", "--accelerator", "h20").stdout


CONFIG = "configs/chat-on-a100.yaml"


@pytest.mark.parametrize(
    "option",
    [
        ("--model", "qwen2.5-32b"), ("--accelerator", "h20"), ("--tensor-parallel-size", "1"),
        ("--prompt-tokens", "1024"), ("--output-tokens", "1024"),
    ],
)  # fmt: skip
def test_a_file_and_an_option_that_says_the_same_are_refused_together(capsys, monkeypatch, option):
    answer = servesim_here(capsys, monkeypatch, "estimate", REPOSITORY / CONFIG, *option)
    assert answer.code == 2
    assert f"{option[0]}: got {option[1]}" in answer.err
    assert "--set" in answer.err
    assert answer.out == ""


def test_overrides_without_a_file_to_override_are_refused(capsys, monkeypatch):
    named = ("--model", "qwen2.5-32b", "--accelerator", "h20", "--set", "seed=3")
    answer = servesim_here(capsys, monkeypatch, "estimate", *named)
    assert answer.code == 2
    assert "--set: got seed=3" in answer.err


def test_the_verb_notes_what_it_takes_for_granted_beside_its_answer(capsys, monkeypatch):
    named = ("--model", "gpt-oss-20b", "--accelerator", "h100-sxm", "--json")
    answer = servesim_here(capsys, monkeypatch, "estimate", *named)
    assert json.loads(answer.out)["fits"] == "yes"
    assert "chosen uniformly" in answer.err


def test_the_verb_needs_something_to_estimate():
    answer = command("--model", "qwen2.5-32b")
    assert answer.returncode == 2
    assert "both --model and --accelerator" in answer.stderr
