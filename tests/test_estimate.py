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
    """S28 to S37: 65 TFLOPs of prefill take 0.44 s; decoding alone is bound by bandwidth, far below the roof."""
    found = figures()
    assert found["prefill_flops"] == pytest.approx(64_596_979_220_480 + 1_557_135_360, rel=1e-4)
    assert found["ttft_s"] == pytest.approx(0.4365, rel=1e-3)
    assert found["decode_flops"] == pytest.approx(64.4e9 + 1.557e9, rel=1e-3)
    assert found["compute_roof_tokens_per_s"] == pytest.approx(2243, rel=1e-3)
    assert found["tokens_per_s"] == pytest.approx(62.14, rel=1e-3)
    assert found["compute_bound_batch"] == pytest.approx(36, rel=0.02)


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


def test_cost_and_energy_only_where_price_and_power_are_given():
    assert "cost_per_million_tokens" not in figures()
    found = figures(price_per_hour=2.0, power_w=400)
    seconds = 1e6 / found["output_tokens_per_s"]
    assert found["cost_per_million_tokens"] == pytest.approx(2.0 * seconds / 3600)
    assert found["energy_per_million_tokens"] == pytest.approx(0.4 * seconds / 3600)


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


def test_the_verb_needs_something_to_estimate():
    answer = command("--model", "qwen2.5-32b")
    assert answer.returncode == 2
    assert "both --model and --accelerator" in answer.stderr
