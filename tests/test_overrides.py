"""`--set KEY=VALUE`: an override overrides, under whichever of a key's names it or the file is written."""

from __future__ import annotations

import pytest
import yaml
from small_runs import config

from sim.config import apply_override, experiment_from
from sim.errors import InputError
from sim.study.sweep import parse_axis, plan_sweep


def engine(written: dict, *overrides: str):
    data = config({f"engine.{key}": value for key, value in written.items()})
    for override in overrides:
        apply_override(data, override)
    return experiment_from(data).engine


@pytest.mark.parametrize("override", ["order", "scheduling_policy", "policy"])
@pytest.mark.parametrize("in_file", ["order", "scheduling_policy", "policy"])
def test_an_override_replaces_the_key_under_all_its_names(in_file, override):
    found = engine({in_file: "shortest_predicted"}, f"engine.{override}=priority")
    assert found.order == "priority"


def test_layouts_that_are_switched_off_may_stand_there():
    off = {"pipeline_parallel_size": 1, "data_parallel_size": 1, "enable_expert_parallel": False}
    assert engine(off) == engine({})


def test_vllms_switch_between_two_gates_is_overridden_by_the_gate():
    file = {"scheduler_reserve_full_isl": True}
    assert engine(file).gate == "whole_prompt"
    assert engine(file, "engine.gate=first_chunk").gate == "first_chunk"
    assert engine({"gate": "whole_prompt"}, "engine.scheduler_reserve_full_isl=false").gate == "first_chunk"


@pytest.mark.parametrize(
    ("preset", "key"), [("sglang", "max_num_batched_tokens"), ("lightllm", "long_prefill_token_threshold")]
)
def test_a_name_that_two_frameworks_have_overrides_what_this_one_means_by_it(preset, key):
    found = engine({"preset": preset, key: 512, "num_gpu_blocks": 6000}, "engine.chunked_prefill_size=1024")
    assert getattr(found, key) == 1024


def test_of_two_overrides_the_later_one_holds():
    found = engine({}, "engine.order=fcfs", "engine.scheduling_policy=priority")
    assert found.order == "priority"


def test_other_keys_of_the_file_stay():
    found = engine({"scheduling_policy": "priority"}, "engine.max_num_seqs=4")
    assert (found.order, found.max_num_seqs) == ("priority", 4)


def test_a_file_that_names_a_key_twice_is_still_refused():
    with pytest.raises(InputError, match=r"engine\.scheduling_policy: sets order"):
        engine({"scheduling_policy": "fcfs", "order": "fcfs"})


def test_a_sweep_over_two_names_of_a_key_is_refused(tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config()), encoding="utf-8")
    axes = [parse_axis("engine.order=fcfs,priority"), parse_axis("engine.scheduling_policy=fcfs,priority")]
    with pytest.raises(InputError, match=r"varied twice \(engine\.order, engine\.scheduling_policy\)"):
        plan_sweep(tmp_path / "small.yaml", [], axes, tmp_path / "out")
