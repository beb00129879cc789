"""Describing drafts: under our names and under vLLM's, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_runs import config, experiment

from sim.config import experiment_from, load_experiment
from sim.errors import InputError
from sim.specs.engine import EngineSpec
from sim.specs.yaml_file import parse_yaml

CONSTANT = {"kind": "constant", "rate": 0.7}
NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "acceptance": CONSTANT}
DRAFT = {"method": "draft_model", "num_speculative_tokens": 3, "acceptance": CONSTANT, "model": "llama-3.2-1b"}
LLAMA_1B = {
    "name": "mine", "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
    "head_dim": 64, "intermediate_size": 8192, "vocab_size": 128256, "max_position_embeddings": 131072,
}  # fmt: skip
GPU = {
    "name": "gpu", "memory_bytes": 80_000_000_000, "memory_bytes_per_s": 2e12, "peak_flop_per_s": {"bfloat16": 3e14},
    "link_bytes_per_s": 6e11,
}  # fmt: skip
SHORT_DRAFT = DRAFT | {"model": LLAMA_1B | {"max_position_embeddings": 256}}
VLLM_NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "acceptance": CONSTANT}
VLLM_DRAFT = {"model": "llama-3.2-1b", "num_speculative_tokens": 3, "acceptance": CONSTANT}


def engine(speculation: Any, key: str = "speculation", **changes: Any) -> EngineSpec:
    return experiment({f"engine.{name}": value for name, value in {key: speculation, **changes}.items()}).engine


def without(section: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in keys}


# ---- under our names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [{}, {"engine.speculation": None}, {"engine.speculative_config": None}])
def test_without_the_section_nothing_is_drafted(nothing: dict[str, Any]) -> None:
    found = experiment(nothing).engine
    assert found.speculation is found.draft_model is None
    assert (found.num_speculative_tokens, found.num_lookahead_tokens, found.draft_slots) == (0, 0, 0)


def test_looking_up_drafts_takes_neither_blocks_nor_budget() -> None:
    found = engine(NGRAM | {"match_share": 0.6})
    assert (found.num_speculative_tokens, found.num_lookahead_tokens, found.draft_slots) == (4, 0, 0)
    assert found.speculation.tokens_per_round == pytest.approx(1 + 0.6 * (0.7 + 0.7**2 + 0.7**3 + 0.7**4))


def test_a_draft_model_writes_ahead_and_reads_a_token_more_of_each_request() -> None:
    found = engine(DRAFT)
    assert (found.num_speculative_tokens, found.num_lookahead_tokens, found.draft_slots) == (3, 3, 1)


def test_a_request_leaves_room_for_what_a_draft_model_writes_ahead() -> None:
    plenty, scarce = {"num_gpu_blocks": 600}, {"num_gpu_blocks": 21}
    assert engine(DRAFT, **plenty).longest_sequence_tokens == 512
    assert engine(DRAFT, **scarce).longest_sequence_tokens == 20 * 16 - 3
    assert engine(NGRAM, **scarce).longest_sequence_tokens == 20 * 16


def test_a_draft_model_is_a_catalogue_name_a_mapping_or_a_file_which_the_run_depends_on(tmp_path: Path) -> None:
    (tmp_path / "draft.json").write_text(json.dumps(LLAMA_1B))
    path = tmp_path / "c.yaml"
    sizes = set()
    for model in ("llama-3.2-1b", LLAMA_1B, "draft.json"):
        path.write_text(json.dumps(config({"engine.speculation": DRAFT | {"model": model}})))
        sizes.add(load_experiment(path).engine.draft_model.hidden_size)
    assert sizes == {2048}
    assert str((tmp_path / "draft.json").resolve()) in load_experiment(path).input_files


@pytest.mark.parametrize(
    "acceptance",
    [
        CONSTANT,
        {"kind": "geometric", "rate": 0.8, "ratio": 0.9},
        {"kind": "per_position", "rates": [0.8, 0.5, 0.3]},
        {"kind": "per_request", "mean": 0.7, "std": 0.15},
    ],
)
@pytest.mark.parametrize("section", [DRAFT, NGRAM | {"num_speculative_tokens": 3, "match_share": 0.5}])
def test_resolved_experiment_loads_to_itself(section: dict[str, Any], acceptance: dict[str, Any]) -> None:
    found = experiment({"engine.speculation": section | {"acceptance": acceptance}})
    again = experiment_from(parse_yaml(yaml.safe_dump(found.resolved()), "resolved"))
    assert again.engine == found.engine


def test_a_value_of_the_section_can_be_set_from_outside(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(config({"engine.speculation": NGRAM})))
    overrides = ["engine.speculation.num_speculative_tokens=6", "engine.speculation.acceptance.rate=0.5"]
    found = load_experiment(path, overrides).engine.speculation
    assert (found.num_speculative_tokens, found.acceptance.rate) == (6, 0.5)


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"cost": {"kind": "constant", "step_s": 0.01}}, ["cost kind constant", "llama-3.2-1b", "drafts"]),
        ({"engine.speculation": SHORT_DRAFT}, ["max_model_len 512", "256 positions", "mine"]),
        ({"engine.speculative_config": VLLM_NGRAM | {"prompt_lookup_max": 4}}, ["prompt_lookup_max 4", "match_share"]),
    ],
)
def test_what_does_not_do_what_it_says_is_noted(changes: dict[str, Any], fragments: list[str]) -> None:
    base = {} if any(key.startswith("engine.") for key in changes) else {"engine.speculation": DRAFT}
    notes = " ".join(experiment(base, changes).notes)
    assert all(fragment in notes for fragment in fragments), notes


# ---- under vLLM's names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (VLLM_NGRAM, NGRAM),
        (VLLM_NGRAM | {"method": "ngram_gpu", "prompt_lookup_max": 4, "prompt_lookup_min": 2}, NGRAM),
        (without(VLLM_NGRAM, "method") | {"model": "ngram"}, NGRAM),
        (VLLM_NGRAM | {"match_share": 0.5}, NGRAM | {"match_share": 0.5}),
        (VLLM_DRAFT, DRAFT),
        (VLLM_DRAFT | {"method": "draft_model", "draft_tensor_parallel_size": 1, "revision": "main"}, DRAFT),
        (VLLM_DRAFT | {"quantization": None, "parallel_drafting": False, "draft_sample_method": "greedy"}, DRAFT),
        (
            without(VLLM_NGRAM, "acceptance")
            | {
                "rejection_sample_method": "synthetic",
                "synthetic_acceptance_rates": [0.8, 0.6, 0.5, 0.4],
            },
            NGRAM | {"acceptance": {"kind": "per_position", "rates": [0.8, 0.6, 0.5, 0.4]}},
        ),
        (
            without(VLLM_NGRAM, "acceptance")
            | {"rejection_sample_method": "synthetic", "synthetic_acceptance_length": 2.75},
            NGRAM | {"acceptance": {"kind": "per_position", "rates": [1.0, 0.75, 0.0, 0.0]}},
        ),
    ],
)
def test_a_speculative_config_means_the_same(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    assert engine(theirs, "speculative_config").speculation == engine(ours).speculation


# ---- refused ---------------------------------------------------------------------------------------------------------

WRONG_SECTIONS = [
    ("not a section", 3, ["engine.speculation", "3", "must be a mapping"]),
    ("unknown key", NGRAM | {"k": 3}, ["engine.speculation.k", "unknown key", "num_speculative_tokens"]),
    ("method", NGRAM | {"method": "eagle"}, ["engine.speculation.method", "'eagle'", "draft_model, ngram"]),
    ("no drafts", NGRAM | {"num_speculative_tokens": 0}, ["engine.speculation.num_speculative_tokens", "got 0", "1"]),
    ("half a draft", NGRAM | {"num_speculative_tokens": 1.5}, ["num_speculative_tokens", "1.5", "whole number"]),
    ("too many", NGRAM | {"num_speculative_tokens": 10**6}, ["num_speculative_tokens", "1000000", "1000"]),
    ("no count", without(NGRAM, "num_speculative_tokens"), ["engine.speculation.num_speculative_tokens", "missing"]),
    ("no acceptance", without(NGRAM, "acceptance"), ["engine.speculation.acceptance", "missing"]),
    (
        "no kind",
        NGRAM | {"acceptance": {"rate": 0.7}},
        ["engine.speculation.acceptance", "constant or geometric or per_position or per_request"],
    ),
    ("kind", NGRAM | {"acceptance": CONSTANT | {"kind": "constnt"}}, ["acceptance.kind", "did you mean 'constant'"]),
    ("rate above 1", NGRAM | {"acceptance": CONSTANT | {"rate": 1.01}}, ["acceptance.rate", "1.01", "1"]),
    ("rate below 0", NGRAM | {"acceptance": CONSTANT | {"rate": -0.1}}, ["acceptance.rate", "-0.1", "0"]),
    ("rate in percent", NGRAM | {"acceptance": CONSTANT | {"rate": 70}}, ["acceptance.rate", "70", "1"]),
    ("rate nan", NGRAM | {"acceptance": CONSTANT | {"rate": float("nan")}}, ["acceptance.rate", "nan"]),
    (
        "ratio",
        NGRAM | {"acceptance": {"kind": "geometric", "rate": 0.7, "ratio": 1.1}},
        ["acceptance.ratio", "1.1", "1"],
    ),
    (
        "mean",
        NGRAM | {"acceptance": {"kind": "per_request", "mean": 1.0, "std": 0.1}},
        ["acceptance.mean", "1.0", "less than 1"],
    ),
    (
        "narrower than can be told",
        NGRAM | {"acceptance": {"kind": "per_request", "mean": 0.5, "std": 1e-200}},
        ["engine.speculation.acceptance.std", "1e-200", "must be greater than or equal to 0.000001"],
    ),
    (
        "wider than a beta",
        NGRAM | {"acceptance": {"kind": "per_request", "mean": 0.5, "std": 0.5}},
        ["engine.speculation.acceptance", "std", "0.5", "must be below 0.5", "lower it"],
    ),
    (
        "too few rates",
        NGRAM | {"acceptance": {"kind": "per_position", "rates": [0.5]}},
        ["engine.speculation", "acceptance.rates", "got 1", "num_speculative_tokens 4"],
    ),
    (
        "rising rates",
        NGRAM | {"acceptance": {"kind": "per_position", "rates": [0.5, 0.6, 0.1, 0.1]}},
        ["engine.speculation.acceptance", "0.6 follows 0.5", "must not rise"],
    ),
    ("match share", NGRAM | {"match_share": 1.5}, ["engine.speculation.match_share", "1.5", "1"]),
    ("who drafts", without(DRAFT, "model"), ["engine.speculation", "model is missing", "draft_model", "ngram"]),
    ("ngram with a model", NGRAM | {"model": "llama-3.2-1b"}, ["engine.speculation", "llama-3.2-1b", "drop the line"]),
    ("a model that looks up", DRAFT | {"match_share": 0.5}, ["engine.speculation", "match_share", "0.5", "drop"]),
    (
        "unknown model",
        DRAFT | {"model": "llama-3.2-1bb"},
        ["engine.speculation.model", "'llama-3.2-1bb'", "did you mean 'llama-3.2-1b'"],
    ),
    ("no such file", DRAFT | {"model": "./no.json"}, ["engine.speculation.model", "no.json", "relative to"]),
    (
        "broken model",
        DRAFT | {"model": LLAMA_1B | {"hidden_size": 0}},
        ["engine.speculation.model.hidden_size", "got 0"],
    ),
    (
        "another vocabulary",
        DRAFT | {"model": "qwen3-0.6b"},
        ["engine.speculation.model", "qwen3-0.6b", "151936", "128256", "llama-3.1-8b", "(", "llama-3.2-1b"],
    ),
]


@pytest.mark.parametrize(
    ("section", "fragments"), [pytest.param(section, found, id=name) for name, section, found in WRONG_SECTIONS]
)
def test_a_section_that_makes_no_sense_is_refused(section: Any, fragments: list[str]) -> None:
    assert_refused({"engine.speculation": section}, fragments)


UNFIT_ENGINES = [
    ("static", {"engine.preset": "static"}, ["speculation", "continuous", "drain_then_fill", "null"]),
    ("orca", {"engine.preset": "orca", "engine.max_model_len": 512}, ["speculation", "paged", "reserved", "null"]),
    (
        "budget",
        {"engine.max_num_batched_tokens": 4},
        ["max_num_batched_tokens 4", "5 tokens", "num_speculative_tokens 4", "raise"],
    ),
    (
        "threshold",
        {"engine.long_prefill_token_threshold": 3},
        ["long_prefill_token_threshold 3", "5 tokens", "set it to 0 or at least 5"],
    ),
    (
        "service times",
        {
            "engine.max_num_seqs": 1,
            "cost": {"kind": "per_request", "service_s": {"distribution": "fixed", "value": 1.0}},
        },
        ["engine.speculation", "per_request", "null"],
    ),
    ("written twice", {"engine.speculative_config": VLLM_NGRAM}, ["engine.speculative_config", "speculation", "keep"]),
]


@pytest.mark.parametrize(
    ("changes", "fragments"), [pytest.param(changes, found, id=name) for name, changes, found in UNFIT_ENGINES]
)
def test_an_engine_that_cannot_verify_drafts_is_refused(changes: dict[str, Any], fragments: list[str]) -> None:
    assert_refused({"engine.speculation": NGRAM, **changes}, fragments)


UNFIT_DRAFTS = [
    (
        "type",
        {"accelerator": GPU, "engine.speculation": DRAFT | {"model": LLAMA_1B | {"dtype": "float16"}}},
        ["accelerator.peak_flop_per_s", "float16", "mine"],
    ),
    (
        "textbook",
        {
            "cost": {"kind": "roofline"},
            "engine.speculation": DRAFT
            | {"model": LLAMA_1B | {"windowed_layers": {"num_layers": 4, "window_tokens": 128}}},
        },
        ["cost.kind", "roofline", "mine"],
    ),
]


@pytest.mark.parametrize(
    ("changes", "fragments"), [pytest.param(changes, found, id=name) for name, changes, found in UNFIT_DRAFTS]
)
def test_a_draft_model_that_cannot_be_timed_is_refused(changes: dict[str, Any], fragments: list[str]) -> None:
    assert_refused({"engine.speculation": DRAFT, **changes}, fragments)


WRONG_CONFIGS = [
    ("method", VLLM_NGRAM | {"method": "eagle3"}, [".method", "'eagle3'", "not modelled yet", "draft_model", "ngram"]),
    ("suffix", VLLM_NGRAM | {"method": "suffix"}, [".method", "'suffix'", "not modelled yet"]),
    ("parallel", VLLM_DRAFT | {"parallel_drafting": True}, [".parallel_drafting", "True", "not modelled yet", "drop"]),
    ("quantised", VLLM_DRAFT | {"quantization": "fp8"}, [".quantization", "'fp8'", "not modelled yet"]),
    ("unknown", VLLM_NGRAM | {"prompt_lookup": 4}, [".prompt_lookup", "did you mean 'prompt_lookup_max'"]),
    ("gpus", VLLM_DRAFT | {"draft_tensor_parallel_size": 2}, [".draft_tensor_parallel_size", "2", "must be", "1"]),
    ("lookup", VLLM_NGRAM | {"prompt_lookup_max": 0}, [".prompt_lookup_max", "got 0", "from 1"]),
    ("no lookup", VLLM_DRAFT | {"prompt_lookup_max": 4}, [".prompt_lookup_max", "ngram", "drop the line"]),
    ("block", VLLM_NGRAM | {"rejection_sample_method": "block"}, [".rejection_sample_method", "'block'", "acceptance"]),
    (
        "synthetic without rates",
        without(VLLM_NGRAM, "acceptance") | {"rejection_sample_method": "synthetic"},
        [".rejection_sample_method", "'synthetic'", "no rates", "synthetic_acceptance_rates"],
    ),
    (
        "drafts without end",
        without(VLLM_NGRAM, "acceptance")
        | {"num_speculative_tokens": 10**9}
        | {"rejection_sample_method": "synthetic", "synthetic_acceptance_length": 2.0},
        [".num_speculative_tokens: got 1000000000, must be from 1 to 1000"],
    ),
    (
        "two rates",
        VLLM_NGRAM | {"rejection_sample_method": "synthetic", "synthetic_acceptance_length": 2.0},
        [".rejection_sample_method", "synthetic_acceptance_length and acceptance", "keep one"],
    ),
    (
        "length",
        without(VLLM_NGRAM, "acceptance")
        | {"rejection_sample_method": "synthetic", "synthetic_acceptance_length": 6.0},
        [".synthetic_acceptance_length", "6.0", "from 1 to the 5 tokens", "num_speculative_tokens 4"],
    ),
    ("no acceptance", without(VLLM_NGRAM, "acceptance"), [".acceptance", "missing"]),
    ("drafts", VLLM_NGRAM | {"num_speculative_tokens": 0}, [".num_speculative_tokens", "got 0"]),
    ("who drafts", without(VLLM_DRAFT, "model"), ["engine.speculative_config", "model is missing"]),
    ("not a section", "ngram", ["engine.speculative_config", "'ngram'", "must be a mapping"]),
]


@pytest.mark.parametrize(
    ("section", "fragments"), [pytest.param(section, found, id=name) for name, section, found in WRONG_CONFIGS]
)
def test_a_speculative_config_is_refused_by_the_names_it_was_written_under(section: Any, fragments: list[str]) -> None:
    assert_refused({"engine.speculative_config": section}, ["engine.speculative_config", *fragments])


def assert_refused(changes: dict[str, Any], fragments: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        experiment(changes)
    message = str(caught.value)
    missing = [fragment for fragment in fragments if fragment not in message]
    assert not missing, f"{missing} not in: {message}"
    assert "\n" not in message
    assert caught.value.exit_code == 2
