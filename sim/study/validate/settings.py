"""From what a real run recorded to the experiment that replays it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sim.config import ConfigFile, apply_override, experiment_from, load_accelerator, load_model
from sim.errors import InputError
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.experiment import Experiment
from sim.specs.model import DTYPE_BYTES, ModelSpec
from sim.specs.presets import complete_engine
from sim.specs.validation import validate
from sim.study.validate.meta import Settings
from sim.study.validate.names import device_named, model_named
from sim.study.validate.real_run import RealRun

AS_THEY_ARE = (
    *("tensor_parallel_size", "max_num_seqs", "max_num_batched_tokens", "max_model_len", "block_size"),
    *("gpu_memory_utilization", "enable_prefix_caching", "enable_chunked_prefill", "long_prefill_token_threshold"),
    *("async_scheduling", "scheduler_reserve_full_isl"),
)
"""Settings that the `engine` section has under the same name."""
GPUS_TOGETHER = {
    "pipeline_parallel_size": "pipeline parallelism",
    "data_parallel_size": "data parallelism",
    "decode_context_parallel_size": "context parallelism",
    "prefill_context_parallel_size": "context parallelism",
}
MEANT_BY_AUTO = ("auto", "bfloat16", "float16", "half")
DTYPES = {"half": "float16", "float": "float32"} | {name: name for name in DTYPE_BYTES}
MOST_GRAPH_TOKENS = 512
"""vLLM captures no larger batches, unless told to."""


def experiment_of(
    run: RealRun, overrides: Iterable[str] = (), accelerator: AcceleratorSpec | None = None
) -> tuple[Experiment, list[str]]:
    """The experiment that replays `run`, and notes on what had to be decided.

    An `accelerator` replaces the one that the run names; its memory is still what the run recorded.
    """
    _refuse_what_is_not_modelled(run)
    overrides = list(overrides)
    model = _model(run, _replaced(overrides, "model"))
    device = _accelerator(run, accelerator or _replaced(overrides, "accelerator"))
    engine, notes = _engine(run)
    data: dict[str, Any] = {
        "name": _name(run),
        "model": model.model_dump(),
        "accelerator": device.model_dump(),
        "engine": engine,
        "workload": {"trace": {"path": str(run.requests_path.resolve()), "format": "real_run"}},
    }
    for override in overrides:
        if not _replaces(override, "model", "accelerator"):
            apply_override(data, override)
    _cost(data, run.settings)
    return experiment_from(data), notes


def _name(run: RealRun) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", run.folder.resolve().name).strip("-._")[:80] or "real-run"


def _replaces(override: str, *keys: str) -> bool:
    return override.partition("=")[0] in keys and bool(override.partition("=")[2])


def _replaced(overrides: list[str], key: str) -> str | dict[str, Any] | None:
    """What `--set model=NAME` or `--set accelerator=NAME` puts in place of what was recorded."""
    data: dict[str, Any] = {}
    for override in overrides:
        if _replaces(override, key):
            apply_override(data, override)
    found = data.get(key)
    if found is not None and not isinstance(found, str | dict):
        raise InputError(f"--set {key}: got {found!r}, must be a name or a path; correct it")
    return found


# ---- what cannot be replayed ----------------------------------------------------------------------------------------


def _refuse_what_is_not_modelled(run: RealRun) -> None:
    settings = run.settings
    for key, what in GPUS_TOGETHER.items():
        if (getattr(settings, key) or 1) > 1:
            raise _refusal(run, key, f"{what} is not modelled yet; use a run with {key} 1")
    if settings.enable_expert_parallel and (settings.tensor_parallel_size or 1) > 1:
        raise _refusal(run, "enable_expert_parallel", "expert parallelism is not modelled yet; use a run without it")
    for key, what in (
        ("speculative_config", "speculative decoding"),
        ("kv_transfer_config", "KV transfer between engines"),
        ("enable_lora", "LoRA"),
        ("cpu_offload_gb", "offloading weights"),
    ):
        if getattr(settings, key):
            raise _refusal(run, key, f"{what} is not modelled yet; use a run without it")


def _refusal(run: RealRun, key: str, why: str) -> InputError:
    return InputError(f"{run.meta_path}: {key}: got {getattr(run.settings, key)!r}, {why}")


# ---- model and accelerator ------------------------------------------------------------------------------------------


def _model(run: RealRun, replacement: str | dict[str, Any] | None) -> ModelSpec:
    """The model under its type; a config.json beside the run says more than a name."""
    settings, by_name = run.settings, None
    beside = run.folder / "config.json"
    if replacement is not None:
        model = load_model(replacement)
    elif beside.is_file():
        model = load_model(str(beside.resolve()))
    elif settings.model is None:
        raise InputError(f"{run.meta_path}: engine_kwargs.model: missing; add it, or give --set model=NAME")
    else:
        name, by_name = model_named(settings.model, f"{run.meta_path}: engine_kwargs.model")
        model = load_model(name)
    dtype = (settings.dtype or "auto").removeprefix("torch.")
    if dtype != "auto":
        if dtype not in DTYPES:
            raise _refusal(run, "dtype", f"must be auto or one of {', '.join(DTYPES)}; correct it")
        model = model.model_copy(update={"dtype": DTYPES[dtype]})
    return _quantized(run, model, by_name)


def _quantized(run: RealRun, model: ModelSpec, by_name: str | None) -> ModelSpec:
    """With 8-bit weights or an 8-bit cache where the run had them and the model's own description has not."""
    method, cache = run.settings.quantization, run.settings.cache_dtype or run.settings.kv_cache_dtype or "auto"
    bits = 8.0 * model.dtype_bytes
    described: dict[str, Any] = {"method": "none", **dict.fromkeys(("attention_bits", "mlp_bits", "expert_bits"), bits)}
    if model.quantization is not None:
        described = model.quantization.model_dump()
    elif "fp8" in (method, by_name):
        described = {"method": "fp8", **dict.fromkeys(("attention_bits", "mlp_bits", "expert_bits"), 8.0)}
    elif method is not None:
        why = f"which {model.name} in the catalogue is not; put the checkpoint's config.json beside it"
        raise _refusal(run, "quantization", why)
    if cache.startswith("fp8"):
        described["kv_cache_bytes"] = 1
    elif cache not in MEANT_BY_AUTO:
        raise InputError(
            f"{run.meta_path}: kv_cache_dtype: got '{cache}', which is not modelled yet; use a run with auto or fp8"
        )
    if described["method"] == "none" and "kv_cache_bytes" not in described:
        return model
    return validate(ModelSpec, model.model_dump() | {"quantization": described}, "model")


def _accelerator(run: RealRun, replacement: AcceleratorSpec | str | dict[str, Any] | None) -> AcceleratorSpec:
    """The device, with the memory that its driver reported."""
    hardware, changes = run.meta.hardware, {}
    if isinstance(replacement, AcceleratorSpec):
        device = replacement
    elif replacement is not None:
        device = load_accelerator(replacement)
    elif hardware.device_name is None:
        raise InputError(
            f"{run.meta_path}: hardware.device_name: missing; add the GPU's name, or give --set accelerator=NAME"
        )
    else:
        where = f"{run.meta_path}: hardware.device_name"
        found = device_named(hardware.device_name, hardware.device_total_memory_bytes, where)
        device, changes = load_accelerator(found.entry), dict(found.changes)
    if hardware.device_total_memory_bytes is not None:
        changes["memory_bytes"] = hardware.device_total_memory_bytes
    return validate(AcceleratorSpec, device.model_dump() | changes, f"{run.meta_path}: accelerator")


# ---- engine and cost ------------------------------------------------------------------------------------------------


def _engine(run: RealRun) -> tuple[dict[str, Any], list[str]]:
    """The `engine` section under preset vllm-v1; what was not recorded is the preset's, or the version's default."""
    settings = run.settings
    engine: dict[str, Any] = {"preset": "vllm-v1"}
    engine |= {key: value for key in AS_THEY_ARE if (value := getattr(settings, key)) is not None}
    blocks = settings.num_gpu_blocks or settings.num_gpu_blocks_override
    if blocks is not None:
        engine["num_gpu_blocks"] = blocks
    policy = settings.policy or settings.scheduling_policy
    if policy is not None:
        if policy not in ("fcfs", "priority"):
            raise InputError(f"{run.meta_path}: policy: got '{policy}', must be fcfs or priority; correct it")
        engine["order"] = policy
    older = _defaults_of(run.meta.vllm_version)
    assumed = {key: value for key, value in older.items() if key not in engine}
    notes = [f"{key} {value}, the default of vLLM {run.meta.vllm_version}" for key, value in assumed.items()]
    if blocks is None:
        notes.append("num_gpu_blocks is not recorded, so it follows from memory")
    return engine | assumed, notes


def _defaults_of(version: str | None) -> dict[str, Any]:
    """Where the defaults of a vLLM release differ from those of the preset's."""
    found = re.match(r"v?(\d+)\.(\d+)", version or "")
    if found is None:
        return {}
    release = int(found[1]), int(found[2])
    defaults: dict[str, Any] = {"gpu_memory_utilization": 0.9} if release <= (0, 19) else {}
    return defaults | ({"async_scheduling": False} if release < (0, 14) else {})


def _cost(data: dict[str, Any], settings: Settings) -> None:
    """Tell a cost model of kernels which batches ran as captured graphs."""
    cost = data.get("cost", {})
    default = ConfigFile.model_fields["cost"].get_default(call_default_factory=True).kind
    if isinstance(cost, dict) and cost.get("kind", default) == "kernels":
        data["cost"] = {"kind": "kernels", "graph_tokens": _graph_tokens(data, settings)} | cost


def _graph_tokens(data: dict[str, Any], settings: Settings) -> int:
    if settings.enforce_eager:
        return 0
    if settings.max_cudagraph_capture_size is not None:
        return settings.max_cudagraph_capture_size
    if settings.cudagraph_capture_sizes is not None:
        return max(settings.cudagraph_capture_sizes, default=0)
    engine, _ = complete_engine(data["engine"], load_accelerator(data["accelerator"]))
    return min(2 * engine.max_num_seqs, MOST_GRAPH_TOKENS)
