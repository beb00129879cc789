"""`servesim estimate`: options that cannot be."""

from __future__ import annotations

import json
import warnings

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


def test_pictures_of_iterations_under_the_roof_and_of_what_they_spend(capsys, monkeypatch, tmp_path):
    answer = servesim_here(capsys, monkeypatch, *QWEN_ON_H20, "--out", tmp_path / "new")
    assert answer.code == 0, answer.err
    assert f"note: pictures are in {tmp_path / 'new'}" in answer.err
    for name in ("roofline.png", "iterations.png"):
        assert (tmp_path / "new" / name).read_bytes().startswith(b"\x89PNG")


def test_a_batch_of_one_is_drawn_as_well(capsys, monkeypatch, tmp_path):
    words = ("estimate", "--model", "qwen3-8b", "--accelerator", "l4", "--out", tmp_path / "new", "--prompt-tokens")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = servesim_here(capsys, monkeypatch, *words, 20000, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["largest_batch"] == 1
    assert (tmp_path / "new" / "iterations.png").exists()
    refused = servesim_here(capsys, monkeypatch, *words, 40000)
    assert refused.code == 2
    assert "--out: not one such request fits (qwen3-8b on l4), so there is no iteration to draw" in refused.err


def test_no_pictures_of_kernels_that_there_are_not(capsys, monkeypatch, tmp_path):
    words = ("estimate", "--model", "qwen2.5-7b", "--accelerator", "v100-32gb-sxm2", "--out", tmp_path)
    answer = servesim_here(capsys, monkeypatch, *words)
    assert answer.code == 2
    assert "--out: v100-32gb-sxm2 has no bfloat16 peak, so there are no kernels to draw" in answer.err
