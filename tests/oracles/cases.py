"""The queueing oracles of tests/data/oracles.json, and the experiment that is each of them.

How engine settings map to queueing models: a single seat is a single server; a constant step with one output token is a
batch service; and so on. Every experiment here is an ordinary config, of the kind users write.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scenarios import SYNCHRONOUS

import sim

ORACLES = Path(__file__).parent.parent / "data" / "oracles.json"


@dataclass(frozen=True)
class Case:
    """One oracle: a queueing model, its parameters, and exact means in seconds."""

    id: str
    model: str
    params: dict[str, Any]
    expected: dict[str, Any]

    def __str__(self) -> str:
        return self.id


@cache
def _all_cases() -> dict[str, Case]:
    cases = json.loads(ORACLES.read_text(encoding="utf-8"))["cases"]
    return {case["id"]: Case(*(case[key] for key in ("id", "model", "params", "expected"))) for case in cases}


def first_cases(model: str, count: int = 3) -> list[Case]:
    """The first `count` cases of a model."""
    return [_all_cases()[f"{model}-{number}"] for number in range(1, count + 1)]


# ---- experiments ----------------------------------------------------------------------------------------------------


def experiment_of(case: Case, num_requests: int, seed: int, **engine: Any) -> sim.Experiment:
    """The experiment that is `case`; `engine` values go on top."""
    settings = _SETTINGS[case.model](case.params)
    plenty = {"num_gpu_blocks": 1_000_000, **SYNCHRONOUS}
    return sim.experiment_from(
        {
            "model": "llama-3.1-8b",
            "accelerator": "h100-sxm",
            "engine": plenty | settings["engine"] | engine,
            "cost": settings["cost"],
            "workload": {
                "arrivals": {"process": "poisson", "rate": float(case.params["lam"])},
                "lengths": {"prompt": _fixed(1), "output": settings.get("output", _fixed(1))},
                "num_requests": num_requests,
            },
            "seed": seed,
        }
    )


def _fixed(value: int) -> dict[str, Any]:
    return {"distribution": "fixed", "value": value}


def _geometric(mean: float) -> dict[str, Any]:
    return {"distribution": "geometric", "mean": mean}


def _constant(step_s: float) -> dict[str, Any]:
    return {"kind": "constant", "step_s": step_s}


def _affine(params: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "affine", "per_step_s": float(params["alpha"]), "per_sequence_s": float(params["beta"])}


def _static(seats: int, **engine: Any) -> dict[str, Any]:
    """Slots of 1024 tokens: room for geometric outputs of mean 20, so that none has to be drawn again."""
    return {"preset": "static", "max_num_seqs": seats, "max_model_len": 1024} | engine


_SETTINGS = {
    "M/D/1": lambda p: {"engine": {"max_num_seqs": 1}, "cost": _constant(p["S"])},
    "M/M/1": lambda p: {
        "engine": {"max_num_seqs": 1},
        "cost": {"kind": "per_request", "service_s": {"distribution": "exponential", "mean": 1 / p["mu"]}},
    },
    "constant-step-infinite-batch": lambda p: {
        "engine": {"max_num_seqs": 4096},
        "cost": _constant(p["D"]),
        "output": _fixed(p["k"]),
    },
    "geometric-continuous-batching": lambda p: {
        "engine": {"max_num_seqs": p["m"]},
        "cost": _affine(p),
        "output": _geometric(1 / p["p"]),
    },
    "bulk-M/D[1,b]/1": lambda p: {"engine": {"max_num_seqs": p["b"]}, "cost": _affine(p)},
    "static-full-batch-M/D[b,b]/1": lambda p: {
        "engine": _static(p["b"], formation_timeout_s=math.inf),
        "cost": _constant(p["S"]),
    },
    "static-batching-geometric": lambda p: {
        "engine": _static(p["b"]),
        "cost": _constant(p["D"]),
        "output": _geometric(1 / p["p"]),
    },
}
