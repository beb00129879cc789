"""`servesim estimate`: options that cannot be."""

from __future__ import annotations

import pytest
from cli_helpers import servesim_here, write_config

QWEN_ON_H20 = ("estimate", "--model", "qwen2.5-32b", "--accelerator", "h20")


@pytest.mark.parametrize("option", ["--prompt-tokens", "--output-tokens", "--price-per-hour", "--power-w"])
@pytest.mark.parametrize("value", ["inf", "nan", "1e308", "-1"])
def test_the_verb_refuses_numbers_that_cannot_be(capsys, monkeypatch, option, value):
    words = (*QWEN_ON_H20, "--json", option, value)
    answer = servesim_here(capsys, monkeypatch, *words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {option[2:].replace('-', '_')}: got ")


def test_no_tokens_at_all_are_not_the_default(capsys, monkeypatch):
    words = (*QWEN_ON_H20, "--prompt-tokens", "0")
    answer = servesim_here(capsys, monkeypatch, *words)
    assert answer.code == 2
    assert "prompt_tokens: got 0.0, must be greater than or equal to 1" in answer.err


def test_gpus_that_cannot_share_the_heads_are_refused_by_name_and_in_a_file(capsys, monkeypatch, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(
        "model: qwen2.5-32b\naccelerator: h20\nengine: {tensor_parallel_size: 3}\n"
        "workload: {arrivals: {process: all_at_once}, num_requests: 1, lengths: "
        "{prompt: {distribution: fixed, value: 8}, output: {distribution: fixed, value: 2}}}\n"
    )
    for words in ((*QWEN_ON_H20, "--tensor-parallel-size", "3"), ("estimate", config)):
        answer = servesim_here(capsys, monkeypatch, *words)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("error: engine.tensor_parallel_size: 3 does not divide the 40 attention heads")


def test_a_prompt_beyond_the_memory_has_no_rates(capsys, monkeypatch):
    answer = servesim_here(capsys, monkeypatch, *QWEN_ON_H20, "--json", "--prompt-tokens", "10000000")
    assert '"fits": "no, ' in answer.out
    assert '_per_s":' not in answer.out.partition("ridge_flop_per_byte")[2]


def test_prompts_of_conversations_count_in_full_and_that_is_noted(capsys, monkeypatch, tmp_path):
    lengths = {part: {"distribution": "fixed", "value": 40} for part in ("prompt", "output")}
    talk = {"workload.conversations": {"turns": 3}, "workload.lengths": lengths}
    for caching in (True, False):
        config = write_config(tmp_path, talk, {"engine.enable_prefix_caching": caching})
        answer = servesim_here(capsys, monkeypatch, "estimate", config)
        assert answer.code == 0
        assert "120 prompt and 40 output tokens" in " ".join(answer.out.split())  # 40, 120 and 200 in the three turns
        assert ("a prefix cache is taken to find nothing" in answer.err) == caching
