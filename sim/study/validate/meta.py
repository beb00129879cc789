"""What `meta.json` tells of a real run: vLLM's own names, as it was started and as it resolved them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sim.errors import InputError
from sim.specs.base import Fraction, PositiveInt
from sim.specs.validation import validate, written
from sim.specs.yaml_file import read_mapping

Count = Annotated[int, Field(ge=0, le=10**15)]
NotNegative = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """Part of `meta.json`; null is what was not recorded, and keys that decide nothing here are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False, protected_namespaces=())


class Settings(Section):
    """Everything that is read of an engine's settings, in whatever section it stands."""

    model: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    cache_dtype: str | None = None

    tensor_parallel_size: PositiveInt | None = None
    pipeline_parallel_size: PositiveInt | None = None
    data_parallel_size: PositiveInt | None = None
    decode_context_parallel_size: PositiveInt | None = None
    prefill_context_parallel_size: PositiveInt | None = None
    enable_expert_parallel: bool | None = None

    max_num_seqs: PositiveInt | None = None
    max_num_batched_tokens: PositiveInt | None = None
    max_model_len: PositiveInt | None = None
    block_size: PositiveInt | None = None
    num_gpu_blocks: PositiveInt | None = None
    num_gpu_blocks_override: PositiveInt | None = None
    gpu_memory_utilization: Fraction | None = None

    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None
    long_prefill_token_threshold: Count | None = None
    async_scheduling: bool | None = None
    scheduling_policy: str | None = None
    policy: str | None = None
    scheduler_reserve_full_isl: bool | None = None

    enforce_eager: bool | None = None
    cudagraph_capture_sizes: list[Count] | None = None
    max_cudagraph_capture_size: Count | None = None

    enable_lora: bool | None = None
    cpu_offload_gb: NotNegative | None = None
    speculative_config: Any = None
    kv_transfer_config: Any = None


class Hardware(Section):
    """The machine."""

    device_name: str | None = None
    device_total_memory_bytes: PositiveInt | None = None


class Meta(Section):
    """The file."""

    model: str | None = None
    vllm_version: str | None = None
    num_requests: Count | None = None
    engine_kwargs: dict[str, Any]
    kv_cache: dict[str, Any] | None = None
    hardware: Hardware = Field(default_factory=Hardware)
    resolved_config: dict[str, Any] | None = None

    @field_validator("hardware", mode="before")
    @classmethod
    def _nothing_recorded(cls, hardware: Any) -> Any:
        return {} if hardware is None else hardware


RESOLVED = ("model_config", "cache_config", "scheduler_config", "parallel_config", "compilation_config")
"""Sections of `resolved_config` that are read."""
STARTED_COMPILATION = "engine_kwargs.compilation_config"
"""May also be a level of optimisation."""


def read_meta(path: Path) -> tuple[Meta, Settings]:
    """The file, and the settings of all its sections together: as resolved, or else as the engine was started.

    Raises InputError naming the file and the key.
    """
    content = read_mapping(path)
    try:
        meta = validate(Meta, content)
        started, resolved = meta.engine_kwargs, meta.resolved_config or {}
        sections = {
            "engine_kwargs": started,
            STARTED_COMPILATION: started.get("compilation_config"),
            "resolved_config": resolved,
            **{f"resolved_config.{name}": resolved.get(name) for name in RESOLVED},
            "kv_cache": meta.kv_cache,
        }
        known: dict[str, Any] = {}
        for place, section in sections.items():
            if isinstance(section, dict):
                found = validate(Settings, section, place).model_dump(exclude_none=True)
                known |= {key: value for key, value in found.items() if key != "model" or "model" not in known}
            elif section is not None and place != STARTED_COMPILATION:
                raise InputError(f"{place}: got {written(section)}, must be a mapping of names to values; correct it")
        return meta, Settings(**{"model": meta.model} | known)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
