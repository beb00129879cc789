"""Lengths of ShareGPT's conversations: which pairs are kept, how they are drawn, how a bad file is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from trace_helpers import all_in, write

from sim.config import experiment_from, load_experiment
from sim.errors import InputError
from sim.specs.yaml_file import dump_yaml
from sim.study.run import run
from sim.study.store import config_hash, input_hashes
from sim.workload.sharegpt import read_conversations
from sim.workload.source import build_workload


def said(*turns):
    """One entry; a turn is (who, how many characters)."""
    return {"id": "x", "conversations": [{"from": who, "value": "x" * length} for who, length in turns]}


def asked(prompt, output):
    return said(("human", prompt), ("gpt", output))


def saved(folder, *entries, name="chat.json"):
    return write(folder, name, json.dumps(entries))


def kept(path, characters_per_token=4.0):
    lengths = read_conversations(path, characters_per_token)
    return list(zip(lengths.prompt_tokens.tolist(), lengths.output_tokens.tolist(), strict=True))


def config(path, count=2000, seed=1, engine=None, **lengths):
    return {
        "model": "llama-3.1-8b",
        "accelerator": "a100-80gb-sxm",
        "engine": {"max_model_len": 8192} | (engine or {}),
        "seed": seed,
        "workload": {
            "arrivals": {"process": "poisson", "rate": 8},
            "lengths": {"distribution": "sharegpt", "path": path and str(path)} | lengths,
            "num_requests": count,
        },
    }


def drawn(path, **changes):
    """Prompt and output lengths, and the notes."""
    workload = build_workload(experiment_from(config(path, **changes)))
    return *(workload.table[column].to_numpy() for column in ("prompt_tokens", "output_tokens")), workload.notes


# ---- which pairs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chat.json", "chat.json.gz"])
def test_tokens_are_characters_over_characters_per_token_rounded_up(tmp_path, name):
    path = saved(tmp_path, asked(40, 400), asked(41, 401), name=name)
    assert kept(path) == [(10, 100), (11, 101)]
    assert kept(path, characters_per_token=2.5) == [(16, 160), (17, 161)]


def test_characters_are_counted_not_bytes(tmp_path):
    entry = {"conversations": [{"from": "human", "value": "é" * 40}, {"from": "gpt", "value": "日" * 40}]}
    assert kept(saved(tmp_path, entry)) == [(10, 10)]
    as_written = write(tmp_path, "utf8.json", json.dumps([entry], ensure_ascii=False))
    assert kept(as_written) == [(10, 10)]


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        pytest.param([("human", 40), ("gpt", 80), ("human", 400), ("gpt", 800)], [(10, 20)], id="the_first_of_two"),
        pytest.param([("gpt", 400), ("human", 40), ("gpt", 80)], [(10, 20)], id="gpt_speaks_first"),
        pytest.param([("system", 400), ("human", 40), ("gpt", 80)], [(10, 20)], id="after_a_system_prompt"),
        pytest.param([("human", 400), ("human", 40), ("gpt", 80)], [(10, 20)], id="asked_twice"),
        pytest.param([("human", 400), ("system", 4), ("gpt", 80), ("human", 40), ("gpt", 80)], [(10, 20)], id="apart"),
        pytest.param([("human", 40)], [], id="unanswered"),
        pytest.param([("gpt", 40)], [], id="unasked"),
        pytest.param([], [], id="silent"),
    ],
)
def test_the_first_message_of_a_human_that_gpt_answers_counts(tmp_path, turns, expected):
    always_kept = asked(400, 400)
    assert kept(saved(tmp_path, said(*turns), always_kept)) == [*expected, (100, 100)]


@pytest.mark.parametrize(
    ("prompt", "output", "is_kept"),
    [
        (4, 4, True),
        (3, 4, False),
        (4, 3, False),
        (1024, 4, True),
        (1025, 4, False),
        (1024, 1024, True),
        (1024, 1025, False),
        (4, 2044, True),
        (4, 2045, False),
    ],
)
def test_pairs_are_kept_as_vllms_benchmark_keeps_them(tmp_path, prompt, output, is_kept):
    path = saved(tmp_path, asked(4 * prompt, 4 * output), asked(400, 400))
    assert kept(path) == [(prompt, output)] * is_kept + [(100, 100)]


# ---- what is drawn ---------------------------------------------------------------------------------------------------

THREE = (asked(40, 2000), asked(400, 800), asked(4000, 40))
"""10, 100 and 1000 prompt tokens with 500, 200 and 10 of output."""


def test_pairs_are_drawn_together_and_evenly_with_replacement(tmp_path):
    prompts, outputs, _ = drawn(saved(tmp_path, *THREE), count=3000)
    pairs, counts = np.unique(np.stack([prompts, outputs]), axis=1, return_counts=True)
    assert pairs.T.tolist() == [[10, 500], [100, 200], [1000, 10]]
    assert np.abs(counts - 1000).max() < 100


def test_pairs_are_drawn_under_the_seed(tmp_path):
    path = saved(tmp_path, *THREE)
    one, same, other = (drawn(path, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_pairs_too_long_for_the_engine_are_drawn_again(tmp_path):
    prompts, outputs, notes = drawn(saved(tmp_path, *THREE), engine={"max_model_len": 600})
    assert set(zip(prompts.tolist(), outputs.tolist(), strict=True)) == {(10, 500), (100, 200)}
    assert "of 2000 length pairs exceeded 600 tokens and were drawn again" in notes[1]


def test_pairs_that_never_fit_are_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"workload\.lengths: .*1010 tokens exceed the 300 .*engine\.max_model_len 300"
    ):
        drawn(saved(tmp_path, THREE[2]), engine={"max_model_len": 300})


def test_a_note_says_that_tokens_are_estimated_and_how_many_pairs_were_kept(tmp_path):
    *_, notes = drawn(saved(tmp_path, *THREE, asked(4, 4)), characters_per_token=4)
    all_in(notes[0], ["chat.json", "estimated", "4 characters a token", "3 of 4 conversations"])
    assert len(notes) == 1


def test_a_run_serves_the_drawn_lengths(tmp_path):
    result = run(experiment_from(config(saved(tmp_path, *THREE), count=50)))
    assert set(result.requests["prompt_tokens"]) == {10, 100, 1000}
    assert result.summary["completed"] == 50
    assert "estimated" in " ".join(result.summary["sim"]["notes"])


# ---- the file as an input of the run -------------------------------------------------------------------------------


def test_the_path_is_relative_to_the_config(tmp_path):
    path = saved(tmp_path, *THREE)
    (tmp_path / "config.yaml").write_text(dump_yaml(config("chat.json")), encoding="utf-8")
    experiment = load_experiment(tmp_path / "config.yaml")
    assert Path(experiment.workload.lengths.path) == path
    assert list(input_hashes(experiment)) == [str(path)]


def test_a_changed_file_is_a_changed_experiment(tmp_path):
    experiment = experiment_from(config(saved(tmp_path, *THREE)))
    before = config_hash(experiment)
    assert config_hash(experiment) == before
    saved(tmp_path, *THREE[:2])
    assert config_hash(experiment) != before


def test_a_resolved_config_loads_to_itself(tmp_path):
    experiment = experiment_from(config(saved(tmp_path, *THREE), characters_per_token=3.5))
    assert experiment_from(experiment.resolved()) == experiment


@pytest.mark.parametrize(
    ("lengths", "fragments"),
    [
        ({"path": "no.json"}, ["workload.lengths.path", "no.json", "relative to the config"]),
        ({"path": None}, ["workload.lengths.path", "None", "text"]),
        ({"characters_per_token": 0}, ["workload.lengths.characters_per_token", "got 0", "0.1", "default"]),
        ({"characters_per_token": 1000}, ["workload.lengths.characters_per_token", "1000", "100"]),
        ({"characters_per_tokn": 4}, ["workload.lengths.characters_per_tokn", "'characters_per_token'"]),
        ({"distribution": "sharegtp"}, ["workload.lengths.distribution", "'sharegtp'", "'sharegpt'"]),
    ],
)
def test_bad_settings_are_refused_by_name(tmp_path, lengths, fragments):
    with pytest.raises(InputError) as caught:
        experiment_from(config(**{"path": saved(tmp_path, *THREE)} | lengths))
    all_in(str(caught.value), fragments)


# ---- bad files -------------------------------------------------------------------------------------------------------

GOOD = asked(400, 400)


def entries(*values):
    return json.dumps([GOOD, *values])


@pytest.mark.parametrize(
    ("name", "content", "fragments"),
    [
        pytest.param("c.json", "", ["not valid JSON", "list"], id="empty"),
        pytest.param("c.json", "[]", ["no conversations", "at least one"], id="empty_list"),
        pytest.param("c.json", "{", ["not valid JSON", "column", "conversations: [{from, value}]"], id="malformed"),
        pytest.param("c.json", json.dumps(GOOD) + "\n" + json.dumps(GOOD), ["not valid JSON"], id="json_lines"),
        pytest.param("c.json", entries()[:-30], ["not valid JSON"], id="cut"),
        pytest.param("c.json", "[" * 10**5, ["not valid JSON"], id="bottomless"),
        pytest.param("c.json", "[1" + "0" * 5000 + "]", ["not valid JSON"], id="endless_number"),
        pytest.param("c.json", json.dumps(GOOD), ["JSON dict", "list"], id="object"),
        pytest.param("c.json", "3", ["JSON int", "list"], id="number"),
        pytest.param("c.json", entries(3), ["entry 2", "'conversations'", "remove"], id="number_for_entry"),
        pytest.param("c.json", entries({"id": "x"}), ["entry 2", "'conversations'"], id="no_conversations"),
        pytest.param("c.json", entries({"conversations": "hi"}), ["entry 2", "'conversations'"], id="text_for_turns"),
        pytest.param("c.json", entries({"conversations": ["hi"]}), ["entry 2", "message", "'value'"], id="text_turn"),
        pytest.param(
            "c.json", entries({"conversations": [{"from": "human"}]}), ["entry 2", "message", "'value'"], id="no_value"
        ),
        pytest.param(
            "c.json",
            entries(GOOD, {"conversations": [{"value": "hi"}]}),
            ["entry 3", "message", "'from'"],
            id="no_from",
        ),
        pytest.param(
            "c.json",
            entries({"conversations": [{"from": "human", "value": None}]}),
            ["entry 2", "message", "'value'"],
            id="null_value",
        ),
        pytest.param(
            "c.json",
            json.dumps([asked(4, 4), said()]),
            ["none of its 2 conversations", "4 to 1024", "2048", "4 characters a token", "characters_per_token"],
            id="none_kept",
        ),
        pytest.param("c.json", bytes(range(256)), ["utf-8", "ShareGPT"], id="binary"),
        pytest.param("c.json", gzip.compress(entries().encode()), ["utf-8", "gzipped"], id="gzip_without_its_suffix"),
        pytest.param("c.json.gz", entries().encode(), ["gzip", "ShareGPT"], id="not_gzipped"),
        pytest.param("c.json.gz", gzip.compress(entries().encode())[:-6], ["end", "ShareGPT"], id="cut_gzip"),
    ],
)
def test_bad_file_is_refused(tmp_path, name, content, fragments):
    path = write(tmp_path, name, content)
    with pytest.raises(InputError) as caught:
        drawn(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    all_in(message, fragments)
