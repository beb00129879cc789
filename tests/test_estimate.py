"""The closed-form answer: against the literature, by hand, and against the simulator where nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import sim
from sim.config import complete_engine, load_accelerator, load_model
from sim.estimate import Case, estimate


def figures(model="qwen2.5-32b", accelerator="h20", prompt=1024, output=1024, engine=None, **prices):
    gpu = load_accelerator(accelerator)
    completed, _ = complete_engine(engine or {}, gpu)
    found = estimate(Case(load_model(model), gpu, completed, prompt, output, **prices))
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


def test_a_model_that_does_not_fit_says_how_much_is_missing():
    found = figures(model="llama-3.1-70b", accelerator="l4")
    assert found["fits"].startswith("no, ")
    assert found["kv_capacity_tokens"] == found["max_concurrency"] == 0


def test_more_gpus_divide_time_and_add_memory():
    one = figures(model="llama-3.1-70b", accelerator="h200-sxm")
    two = figures(model="llama-3.1-70b", accelerator="h200-sxm", engine={"tensor_parallel_size": 2})
    assert two["ttft_s"] == pytest.approx(one["ttft_s"] / 2)
    assert two["tpot_s"] == pytest.approx(one["tpot_s"] / 2)
    assert two["kv_capacity_tokens"] > 2 * one["kv_capacity_tokens"]


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


def test_the_verb_needs_something_to_estimate():
    answer = command("--model", "qwen2.5-32b")
    assert answer.returncode == 2
    assert "both --model and --accelerator" in answer.stderr
