"""`servesim catalog`, end to end."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest


def catalog(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sim", "catalog", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_everything_that_ships_is_listed():
    listed = json.loads(catalog("--json").stdout)
    assert {"llama-3.1-8b", "deepseek-r1"} <= {entry["name"] for entry in listed["models"]}
    assert {"a100-80gb-sxm", "h20"} <= {entry["name"] for entry in listed["accelerators"]}
    assert {"static", "orca", "vllm-v1"} <= {entry["name"] for entry in listed["engines"]}


def test_the_list_is_readable_too():
    shown = catalog().stdout
    assert "671.03 B" in shown
    assert "37 FLOP/B" in shown
    assert re.search(r"^ +vllm-v1 +continuous batching, paged memory *$", shown, re.MULTILINE)
    assert max(map(len, shown.splitlines())) <= 120


def test_a_model_with_what_follows_from_it():
    facts = json.loads(catalog("gpt-oss-120b", "--json").stdout)
    assert facts["parameters"] == {"total": 116_789_232_960, "active": 5_710_628_160}
    assert facts["weight_bytes"] == 65_168_968_320
    assert facts["kv_bytes_per_token"] == 73_728
    assert facts["kv_cache"]["layers_keeping_a_window"] == 18


def test_an_accelerator_with_its_ridge_points():
    facts = json.loads(catalog("h20", "--json").stdout)
    assert facts["memory_bytes_per_s"] == 4e12
    assert facts["ridge_flop_per_byte"]["bfloat16"] == pytest.approx(37)
    assert facts["power_w"] == 400
    assert facts["price_per_hour"] is None
    assert "power_w: 700" in catalog("h100-sxm").stdout


def test_an_engine_preset_with_its_values():
    facts = json.loads(catalog("vllm-v1", "--json").stdout)
    assert (facts["kind"], facts["name"], facts["version"]) == ("engine", "vllm-v1", "0.33.0")
    assert facts["values"]["kv_allocation"] == "paged"
    assert facts["by_memory"][-1]["values"] == {"max_num_seqs": 256, "max_num_batched_tokens": 2048}
    assert facts["without"] == {}


def row(shown: str, key: str) -> list[str]:
    """The cells of a line of a table."""
    (line,) = [line for line in shown.splitlines() if line.split()[:1] == [key]]
    return re.split(r"  +", line.strip())


def test_a_preset_says_what_may_be_given_under_which_name_and_what_is_left_out():
    shown = catalog("sglang").stdout
    assert "prompts before decodes" in shown.splitlines()[0]
    assert row(shown, "max_num_seqs") == ["max_num_seqs", "2048", "max_running_requests"]
    assert row(shown, "max_num_batched_tokens")[-1] == "chunked_prefill_size"
    assert row(shown, "kv_pool_tokens")[1:] == ["from memory", "max_total_num_tokens,"]
    assert "router_token_ratio" not in shown  # another framework's
    assert "  disable_radix_cache: true\n" in shown
    assert "  the radix cache\n" in shown
    assert row(catalog("static").stdout, "release") == ["release", "batch_end"]
    assert "scheduler_reserve_full_isl (true:" in catalog("vllm-v1").stdout


def test_a_preset_of_the_users_own(tmp_path):
    preset = tmp_path / "mine.yaml"
    preset.write_text("base: sglang\nsummary: mine\nvalues: {max_num_seqs: 7}\nleft_out: [all else]\n")
    facts = json.loads(catalog(str(preset), "--json").stdout)
    assert (facts["kind"], facts["values"]["max_num_seqs"], facts["values"]["block_size"]) == ("engine", 7, 1)
    assert facts["left_out"][-1] == "all else"
    assert row(catalog(str(preset)).stdout, "max_num_seqs") == ["max_num_seqs", "7", "max_running_requests"]


@pytest.mark.parametrize("arguments", [["catalog"], ["catalog", "h20"], ["estimate", "--help"], ["show", "--help"]])
def test_a_verb_that_draws_nothing_imports_nothing_to_draw_with(arguments):
    code = f"""
import sys
sys.argv = ["servesim", *{arguments!r}]
from sim.cli.main import main
try:
    main()
except SystemExit:
    pass
print([name for name in ("matplotlib", "scipy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_files_of_the_users_own(tmp_path):
    gpu = tmp_path / "mine.yaml"
    gpu.write_text(
        "name: mine\nmemory_bytes: 80_000_000_000\nmemory_bytes_per_s: 2e12\n"
        "peak_flop_per_s: {bfloat16: 4e14}\nlink_bytes_per_s: 6e11\n"
    )
    assert json.loads(catalog(str(gpu), "--json").stdout)["ridge_flop_per_byte"]["bfloat16"] == 200
    config = tmp_path / "my-model" / "config.json"
    config.parent.mkdir()
    config.write_text(
        json.dumps(
            {
                "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                "intermediate_size": 128, "vocab_size": 1000, "max_position_embeddings": 512,
            }
        )
    )  # fmt: skip
    facts = json.loads(catalog(str(config), "--json").stdout)
    assert facts["name"] == "my-model"
    assert facts["kv_bytes_per_token"] == 2 * 2 * 64 * 2


def test_an_unknown_name_gets_the_nearest():
    answer = catalog("lama-3.1-8b")
    assert answer.returncode == 2
    assert "did you mean 'llama-3.1-8b'" in answer.stderr
    assert "Traceback" not in answer.stderr
