"""Folders of real runs, as tests need them: a simulation's own stamps written as if an engine had recorded them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd

import sim

BLOCK_TOKENS = 16
ENGINE_KWARGS = {
    "model": "meta-llama/Llama-3.1-8B-Instruct",
    "tensor_parallel_size": 1,
    "max_num_seqs": 16,
    "max_num_batched_tokens": 512,
    "max_model_len": 4096,
    "dtype": "bfloat16",
    "gpu_memory_utilization": 0.9,
}
META: dict[str, Any] = {
    "model": "meta-llama/Llama-3.1-8B-Instruct",
    "vllm_version": "0.19.0",
    "engine_kwargs": ENGINE_KWARGS,
    "kv_cache": {"num_gpu_blocks": 1500, "block_size": 16, "enable_prefix_caching": True},
    "hardware": {"device_name": "NVIDIA GeForce RTX 4090", "device_total_memory_bytes": 25_250_627_584},
}
ENGINE = {
    "max_num_seqs": 16,
    "max_num_batched_tokens": 512,
    "max_model_len": 4096,
    "gpu_memory_utilization": 0.9,
    "num_gpu_blocks": 1500,
}
REQUESTS = 40


def recorded_requests() -> pd.DataFrame:
    """What an engine that behaves as simulated would have recorded of 40 requests, every second one on one prefix."""
    run = sim.run(
        sim.experiment_from(
            {
                "model": "llama-3.1-8b",
                "accelerator": "rtx-4090",
                "engine": ENGINE,
                "cost": {"kind": "kernels", "graph_tokens": 32},
                "workload": {
                    "arrivals": {"process": "poisson", "rate": 8.0},
                    "lengths": {
                        "prompt": {"distribution": "uniform", "low": 20, "high": 900},
                        "output": {"distribution": "uniform", "low": 1, "high": 120},
                    },
                    "num_requests": REQUESTS,
                },
            }
        )
    )
    table = run.requests.rename(columns={"finish_s": "last_token_s"})
    names = ["request_id", "arrival_s", "prompt_tokens", "output_tokens"]
    found = table[[*names, "queued_s", "scheduled_s", "first_token_s", "last_token_s"]].copy()
    first_s = found["arrival_s"].min()
    for name in found.columns[found.columns.str.endswith("_s")]:
        found[name] -= first_s
    next_id, runs = 0, []
    for tokens in found["prompt_tokens"] // BLOCK_TOKENS:
        runs.append(f"{next_id}-{next_id + tokens - 1}" if tokens > 1 else str(next_id) if tokens else "")
        next_id += tokens
    return found.assign(prefix_block_ids=runs)


def write_run(folder: Path, requests: pd.DataFrame, **changes: Any) -> Path:
    """A folder with `requests` and META, whose top-level keys `changes` replaces; None drops a key."""
    folder.mkdir(exist_ok=True)
    requests.to_csv(folder / "requests.csv.gz", index=False)
    meta = {key: value for key, value in (META | changes).items() if value is not None}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


def write_timeseries(folder: Path, text: str) -> None:
    with gzip.open(folder / "timeseries.csv.gz", "wt", encoding="utf-8") as file:
        file.write(text)
