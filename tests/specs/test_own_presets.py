"""An engine preset of the user's own: a file by path, checked by itself, completed by the preset named as its base."""

from __future__ import annotations

from typing import Any

import pytest
from refusals import all_in, refused

from sim.config import load_accelerator
from sim.specs.preset_file import preset_of
from sim.specs.presets import complete_engine
from sim.specs.yaml_file import dump_yaml

A100, H100, L4 = map(load_accelerator, ("a100-80gb-sxm", "h100-sxm", "l4"))
WHOLE: dict[str, Any] = {**preset_of("vllm-v0").values}
"""The values of a preset that needs no base."""


@pytest.fixture
def write(tmp_path):
    """Writes a preset's file and says what an experiment beside it has for an engine."""

    def write(content: dict[str, Any] | str, gpu=A100, **given: Any):
        (tmp_path / "mine.yaml").write_text(content if isinstance(content, str) else dump_yaml(content))
        return complete_engine({"preset": "mine.yaml", **given}, gpu, tmp_path)

    return write


# ---- what a file may say ---------------------------------------------------------------------------------------------


def test_values_alone_are_enough(write):
    engine, notes = write({"values": WHOLE | {"max_num_seqs": 7}})
    assert (engine.max_num_seqs, engine.preset_version, notes) == (7, "own", [])
    assert engine.preset.endswith("mine.yaml")


def test_a_base_has_the_rest(write):
    engine, _ = write({"base": "sglang", "values": {"max_num_seqs": 7}})
    assert (engine.max_num_seqs, engine.composition) == (7, "prefill_until_full")
    assert engine.preset_version == "own, after sglang 0.5.23"


def test_what_the_file_says_holds_on_every_gpu(write):
    engine, _ = write({"base": "vllm-v1", "values": {"max_num_seqs": 7}}, H100)
    assert (engine.max_num_seqs, engine.max_num_batched_tokens) == (7, 8192)


def test_the_experiment_has_the_last_word(write):
    assert write({"base": "vllm-v1", "values": {"max_num_seqs": 7}}, max_num_seqs=9)[0].max_num_seqs == 9


def test_defaults_by_memory_take_the_place_of_the_bases(write):
    rows = [{"at_least_gib": 60, "values": {"max_num_seqs": 60}}, {"at_least_gib": 0, "values": {"max_num_seqs": 20}}]
    content = {"base": "vllm-v1", "values": {"max_num_batched_tokens": 4096}, "by_memory": rows}
    assert [write(content, gpu)[0].max_num_seqs for gpu in (H100, L4)] == [60, 20]


def test_names_of_ones_own_come_beside_the_bases(write):
    content = {"base": "sglang", "values": {}, "arguments": {"seats": "max_num_seqs"}, "only": {"magic": False}}
    engine, _ = write(content, seats=5, page_size=2, magic=False)
    assert (engine.max_num_seqs, engine.block_size) == (5, 2)
    all_in(refused(lambda: write(content, magic=True)), ["engine.magic: got True", "only false is modelled"])


def test_an_argument_of_the_base_may_mean_something_else_here(write):
    content = {"base": "sglang", "values": {}, "arguments": {"schedule_policy": "order", "page_size": "max_num_seqs"}}
    engine, _ = write(content, schedule_policy="fcfs", page_size=3)
    assert (engine.max_num_seqs, engine.block_size) == (3, 1)


def test_a_budget_that_the_base_would_raise_for_long_prompts_is_the_files(write):
    assert preset_of("vllm-v0").derived == ["budget_of_whole_prompts"]
    engine, _ = write({"base": "vllm-v0", "values": {"max_num_batched_tokens": 999}})
    assert preset_of(engine.preset).derived == []


def test_a_value_that_the_base_has_no_use_for_counts_where_the_file_gives_it(write):
    engine, notes = write({"base": "orca", "values": {"max_num_batched_tokens": 4000}}, max_num_batched_tokens=5000)
    assert (engine.max_num_batched_tokens, notes) == (5000, [])


def test_a_file_that_changed_is_read_again(write):
    content = {"base": "vllm-v1", "values": {"max_num_seqs": 7}}
    assert write(content)[0].max_num_seqs == 7
    assert write(content | {"values": {"max_num_seqs": 8}})[0].max_num_seqs == 8


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_refused_with_where_it_was_looked_for(tmp_path):
    message = refused(complete_engine, {"preset": "no.yaml"}, A100, tmp_path)
    all_in(message, ["engine.preset: no file at", str(tmp_path / "no.yaml"), "relative to the config", "vllm-v1"])


BASED = {"base": "vllm-v1", "values": {}}

WRONG = [
    ("nothing", "", ["nothing", "mapping"]),
    ("not_yaml", "values: [1", ["line 1", "not valid YAML"]),
    ("no_values", {"base": "vllm-v1"}, ["values: missing", "add it"]),
    ("values_a_list", {"values": [1]}, ["values: got [1]", "mapping", "correct"]),
    ("unknown_key", {**BASED, "valeus": {}}, ["valeus: unknown key", "did you mean 'values'"]),
    ("unknown_value", {"values": {"max_num_seq": 1}}, ["values.max_num_seq", "did you mean 'max_num_seqs'"]),
    ("their_name", {"values": {"scheduling_policy": "fcfs"}}, ["values.scheduling_policy", "write order"]),
    ("incomplete", {"values": {"max_num_seqs": 7}}, ["values.max_num_batched_tokens: missing; add it or a base"]),
    ("unknown_base", {"base": "vlm-v1", "values": {}}, ["base: 'vlm-v1' is no preset", "did you mean 'vllm-v1"]),
    ("path_as_base", {"base": "./a.yaml", "values": {}}, ["base: './a.yaml' is no preset", "known: fastgen"]),
    ("list_as_base", {"base": ["vllm-v1"], "values": {}}, ["base: '['vllm-v1']' is no preset", "known: "]),
    ("bad_value", {"base": "vllm-v1", "values": {"max_num_seqs": 0}}, ["values.max_num_seqs: got 0", "equal to 1"]),
    ("clash", {"base": "vllm-v1", "values": {"gate": "slot"}}, ["values: gate slot with kv_allocation paged", "drop"]),
    (
        "clash_of_two",
        {"base": "sglang", "values": {"order": "priority"}},
        ["values: order priority", "set order to fcfs"],
    ),
    ("by_memory", {**BASED, "by_memory": {}}, ["by_memory: got {}", "must be a list"]),
    ("row", {**BASED, "by_memory": [{"values": {}}]}, ["by_memory.0.at_least_gib: missing"]),
    (
        "row_value",
        {**BASED, "by_memory": [{"at_least_gib": 0, "values": {"x": 1}}]},
        ["by_memory.0.values.x", "known: "],
    ),
    (
        "row_bad",
        {**BASED, "by_memory": [{"at_least_gib": 0, "values": {"max_num_seqs": -1}}]},
        ["max_num_seqs: got -1"],
    ),
    ("target", {**BASED, "arguments": {"seats": "seats"}}, ["arguments.seats: seats is no key", "known: "]),
    ("target_type", {**BASED, "arguments": {"seats": 3}}, ["arguments.seats: got 3", "a key of the engine", "correct"]),
    ("target_map", {**BASED, "arguments": {"a": {"order": "fcfs"}}}, ["arguments.a: got", "{key: {its value: ours}}"]),
    ("two_targets", {**BASED, "arguments": {"a": {"order": {}, "gate": {}}}}, ["arguments.a: got", "correct"]),
    ("without", {**BASED, "without": {"nonsense": "why"}}, ["without.nonsense", "known: "]),
    ("without_type", {**BASED, "without": ["order"]}, ["without: got ['order']", "mapping"]),
    ("derived", {**BASED, "derived": ["gate"]}, ["derived.0: got 'gate'", "mem_fraction_static"]),
    ("derivation", {**BASED, "derived": "mem_fraction_static"}, ["derived: got 'mem_fraction_static'", "list"]),
    ("rules", {**BASED, "own_rules": {"gate": "x.py:y"}}, ["own_rules: write rules of your own under values"]),
    ("rules_in_values", {**BASED, "values": {"own_rules": {}}}, ["values.own_rules", "no key of a preset", "drop"]),
    ("preset_in_values", {**BASED, "values": {"preset": "orca"}}, ["values.preset", "no key of a preset", "drop"]),
    ("only_a_key", {**BASED, "only": {"max_num_seqs": 4}}, ["only", "max_num_seqs is a key of the engine", "values"]),
    ("stolen_key", {**BASED, "arguments": {"max_model_len": "max_num_seqs"}}, ["arguments", "max_model_len is a key"]),
    ("only", {**BASED, "only": ["x"]}, ["only: got ['x']", "mapping"]),
    ("version", {**BASED, "version": 3}, ["version: got 3", "must be text"]),
    ("code", {"base": "vllm-v1", "values": {"gate": "g.py:f"}}, ["values.gate: 'g.py:f' is code", "--allow-code"]),
]


@pytest.mark.parametrize(("content", "fragments"), [pytest.param(*rest, id=name) for name, *rest in WRONG])
def test_a_mistake_in_the_file_is_told_with_the_file(write, tmp_path, content, fragments):
    all_in(refused(write, content), [f"{tmp_path / 'mine.yaml'}", *fragments])


def test_a_mistake_in_the_experiment_is_not_blamed_on_the_file(write):
    message = refused(lambda: write(BASED, max_num_seqs=0))
    assert message.startswith("engine.max_num_seqs: got 0")
