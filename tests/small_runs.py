"""Experiments that take milliseconds, for tests that need a whole run."""

from __future__ import annotations

from typing import Any

from scenarios import SYNCHRONOUS

import sim
from sim.specs.experiment import Experiment
from sim.study.run import RunResult

CONFIG: dict[str, Any] = {
    "name": "small",
    "model": "llama-3.1-8b",
    "accelerator": "a100-80gb-sxm",
    "engine": {"num_gpu_blocks": 600, "max_model_len": 512, "max_num_seqs": 16, **SYNCHRONOUS},
    "workload": {
        "arrivals": {"process": "poisson", "rate": 8},
        "lengths": {
            "prompt": {"distribution": "uniform", "low": 20, "high": 200},
            "output": {"distribution": "uniform", "low": 1, "high": 60},
        },
        "num_requests": 60,
    },
    "seed": 3,
}

PREEMPTING = {"engine.num_gpu_blocks": 50, "workload.arrivals": {"process": "all_at_once"}}
"""So little KV memory that requests are preempted."""

STATIC = {"engine.preset": "static"}
ORCA = {"engine.preset": "orca"}
CONSTANT = {"cost": {"kind": "constant", "step_s": 0.01}}
ONE_TOKEN_EACH = {"workload.lengths.output": {"distribution": "fixed", "value": 1}}


def config(*changes: dict[str, Any]) -> dict[str, Any]:
    """CONFIG with changes such as `{"engine.num_gpu_blocks": 50}`."""
    changed = _copy(CONFIG)
    for key, value in (item for change in changes for item in change.items()):
        *sections, leaf = key.split(".")
        target = changed
        for section in sections:
            target = target.setdefault(section, {})
        target[leaf] = value
    return changed


def experiment(*changes: dict[str, Any]) -> Experiment:
    return sim.experiment_from(config(*changes))


def run(*changes: dict[str, Any]) -> RunResult:
    return sim.run(experiment(*changes))


def _copy(value: Any) -> Any:
    return {key: _copy(inner) for key, inner in value.items()} if isinstance(value, dict) else value
