"""From meta.json to the experiment that replays a run."""

from __future__ import annotations

import json

import pytest
from real_runs import ENGINE_KWARGS, META, recorded_requests, write_run

from sim.config import load_accelerator
from sim.errors import InputError
from sim.specs.yaml_file import read_mapping
from sim.study.validate.meta import Meta
from sim.study.validate.real_run import read_real_run
from sim.study.validate.settings import experiment_of

REQUESTS = recorded_requests()


@pytest.fixture
def experiment(tmp_path):
    """The experiment of a run whose settings differ from META."""

    def built(*overrides: str, accelerator=None, **changes):
        return experiment_of(read_real_run(write_run(tmp_path / "run", REQUESTS, **changes)), overrides, accelerator)[0]

    return built


def kwargs(**changes):
    return ENGINE_KWARGS | changes


def test_limits_layout_and_device_come_from_the_file(experiment):
    found = experiment()
    engine = found.engine
    assert (found.name, found.model.name, found.accelerator.name) == ("run", "llama-3.1-8b", "rtx-4090")
    assert (engine.max_num_seqs, engine.max_num_batched_tokens, engine.max_model_len) == (16, 512, 4096)
    assert (engine.num_gpu_blocks, engine.usable_blocks, engine.block_size) == (1500, 1499, 16)
    assert found.accelerator.memory_bytes == META["hardware"]["device_total_memory_bytes"]


def test_what_was_resolved_beats_what_was_asked_for(experiment):
    resolved = {
        "scheduler_config": {"max_num_seqs": 8, "policy": "priority", "async_scheduling": False},
        "cache_config": {"gpu_memory_utilization": 0.8, "enable_prefix_caching": False, "num_gpu_blocks": 900},
        "compilation_config": {"cudagraph_capture_sizes": [1, 2, 4, 8, 16, 24]},
    }
    found = experiment(resolved_config=resolved, kv_cache=None)
    engine = found.engine
    assert (engine.max_num_seqs, engine.order, engine.async_scheduling) == (8, "priority", False)
    assert (engine.gpu_memory_utilization, engine.enable_prefix_caching, engine.num_gpu_blocks) == (0.8, False, 900)
    assert found.cost.graph_tokens == 24


def test_what_is_not_recorded_is_the_presets_or_the_releases(experiment):
    bare = {"model": "meta-llama/Llama-3.1-8B"}
    found = experiment(engine_kwargs=bare, kv_cache=None, vllm_version="0.13.1").engine
    assert (found.max_num_seqs, found.max_num_batched_tokens) == (256, 2048)
    assert (found.gpu_memory_utilization, found.async_scheduling) == (0.9, False)
    assert experiment(engine_kwargs=bare, kv_cache=None, vllm_version=None).engine.gpu_memory_utilization == 0.92


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [({}, 32), ({"max_num_seqs": 400}, 512), ({"enforce_eager": True}, 0), ({"max_cudagraph_capture_size": 256}, 256)],
)
def test_captured_graphs(experiment, changes, tokens):
    assert experiment(engine_kwargs=kwargs(**changes)).cost.graph_tokens == tokens


def test_overrides_come_last(experiment):
    found = experiment(
        "engine.max_num_seqs=4", "accelerator=h100-sxm", "accelerator.memory_bytes_per_s=3e12", "model=llama-3.1-70b",
        "engine.tensor_parallel_size=8", "cost={kind: constant, step_s: 0.01}",
    )  # fmt: skip
    assert (found.engine.max_num_seqs, found.model.name, found.cost.kind) == (4, "llama-3.1-70b", "constant")
    assert (found.accelerator.name, found.accelerator.memory_bytes_per_s) == ("h100-sxm", 3e12)


def test_an_accelerator_given_replaces_the_recorded_one(experiment):
    slow = load_accelerator("rtx-4090").model_copy(update={"memory_bytes_per_s": 5e11})
    found = experiment(accelerator=slow, hardware={"device_name": "NVIDIA Something"})
    assert found.accelerator == slow


def test_an_unknown_device_needs_only_a_name(experiment):
    assert experiment("accelerator=l40s", hardware={"device_name": "NVIDIA Something"}).accelerator.name == "l40s"
    assert Meta.model_validate(META | {"hardware": None}).hardware.device_name is None


def test_a_config_json_beside_the_run_wins(experiment, tmp_path, measured_data):
    folder = tmp_path / "run"
    folder.mkdir()
    described = read_mapping(measured_data / "hf_configs" / "Qwen--Qwen3-8B.json")
    (folder / "config.json").write_text(json.dumps(described), encoding="utf-8")
    assert experiment().model.num_hidden_layers == described["num_hidden_layers"]


def test_8_bit_weights_and_cache(experiment):
    weights = experiment(engine_kwargs=kwargs(quantization="fp8")).model
    assert (weights.quantization.mlp_bits, weights.kv_element_bytes) == (8, 2)
    cache = experiment(engine_kwargs=kwargs(kv_cache_dtype="fp8_e4m3")).model
    resolved = {"cache_config": {"cache_dtype": "fp8"}, "compilation_config": None}
    assert (
        experiment(
            engine_kwargs=kwargs(kv_cache_dtype="auto", compilation_config=3), resolved_config=resolved
        ).model.kv_element_bytes
        == 1
    )
    assert (cache.quantization.mlp_bits, cache.kv_element_bytes) == (16, 1)
    by_name = experiment(engine_kwargs=kwargs(model="RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8")).model
    assert by_name.quantization.method == "fp8"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pipeline_parallel_size": 2}, r"pipeline_parallel_size: got 2, pipeline parallelism is not modelled yet"),
        ({"data_parallel_size": 4}, r"data_parallel_size: got 4, data parallelism is not modelled yet"),
        (
            {"enable_expert_parallel": True, "tensor_parallel_size": 2},
            r"enable_expert_parallel: got True, expert parallelism is not modelled yet",
        ),
        ({"speculative_config": {"method": "ngram"}}, r".*speculative decoding is not modelled yet"),
        ({"quantization": "awq"}, r"quantization: got 'awq'.*config.json beside it"),
        ({"kv_cache_dtype": "int4"}, r"kv_cache_dtype: got 'int4', which is not modelled yet"),
        ({"dtype": "int8"}, r"dtype: got 'int8', must be auto or one of"),
        ({"scheduling_policy": "random"}, r"policy: got 'random', must be fcfs or priority"),
        ({"max_num_seqs": 0}, r"engine_kwargs.max_num_seqs: got 0, must be greater than or equal to 1"),
        ({"max_num_seqs": "many"}, r"engine_kwargs.max_num_seqs: got 'many', must be a whole number"),
        ({"gpu_memory_utilization": 9.0}, r"engine_kwargs.gpu_memory_utilization: got 9.0"),
        ({"model": "no/such"}, r"engine_kwargs.model: 'no/such' is no model of the catalogue; .*known: "),
    ],
)
def test_what_cannot_be_replayed_is_refused_by_name(experiment, changes, message):
    with pytest.raises(InputError, match=rf"meta\.json: {message}"):
        experiment(engine_kwargs=kwargs(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine_kwargs": None}, "engine_kwargs: missing; add it"),
        ({"engine_kwargs": [1]}, "engine_kwargs: got .*must be a mapping"),
        ({"hardware": None}, "hardware.device_name: missing; add the GPU's name, or give --set accelerator=NAME"),
        ({"hardware": {"device_name": "NVIDIA GH200"}}, "hardware.device_name: 'NVIDIA GH200' is no accelerator"),
        ({"num_requests": -1}, "num_requests: got -1"),
        (
            {"resolved_config": {"scheduler_config": "SchedulerConfig(max_num_seqs=8)"}},
            "resolved_config.scheduler_config: got 'SchedulerConfig.*, must be a mapping",
        ),
        ({"resolved_config": {"cache_config": {"cache_dtype": "int8"}}}, "kv_cache_dtype: got 'int8', which is not"),
    ],
)
def test_a_meta_that_says_too_little(experiment, changes, message):
    with pytest.raises(InputError, match=rf"meta\.json: {message}"):
        experiment(**changes)


def test_a_model_is_needed(experiment):
    without = {key: value for key, value in ENGINE_KWARGS.items() if key != "model"}
    with pytest.raises(InputError, match=r"engine_kwargs.model: missing; add it, or give --set model=NAME"):
        experiment(engine_kwargs=without, model=None)
