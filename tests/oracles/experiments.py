"""The experiment that is a queueing model. Each is an ordinary config, of the kind users write.

A single seat is a single server; a constant step with one output token is a batch service; many short steps are a
server in continuous time, and then seats are servers, or one server that is shared, as the step's cost says.
"""

from __future__ import annotations

import math
from typing import Any

from oracles.cases import Case
from scenarios import SYNCHRONOUS

import sim

FINE = 4000
"""Tokens of a mean answer where steps stand for continuous time: 1/8000 of a service is waited for the next step."""

Settings = dict[str, Any]


def experiment_of(case: Case, num_requests: int, seed: int, **engine: Any) -> sim.Experiment:
    """The experiment that is `case`; `engine` values go on top."""
    return build(_SETTINGS[case.model](case.params), num_requests, seed, **engine)


def build(settings: Settings, num_requests: int, seed: int, **engine: Any) -> sim.Experiment:
    """An experiment of `arrivals` (or `lam`, Poisson), `cost`, `engine` values and what else `settings` hold.

    Prompts and outputs are of one token unless `prompt` and `output` say otherwise.
    """
    plenty = {"num_gpu_blocks": 1_000_000, **SYNCHRONOUS}
    arrivals = settings.get("arrivals") or poisson(settings["lam"])
    return sim.experiment_from(
        {
            "model": "llama-3.1-8b",
            "accelerator": "h100-sxm",
            "engine": plenty | settings.get("engine", {}) | engine,
            "cost": settings["cost"],
            "workload": {
                "arrivals": arrivals,
                "lengths": {name: settings.get(name, fixed(1)) for name in ("prompt", "output")},
                "num_requests": num_requests,
                **settings.get("workload", {}),
            },
            "seed": seed,
        }
    )


# ---- parts of configs -----------------------------------------------------------------------------------------------


def poisson(rate: float) -> Settings:
    return {"process": "poisson", "rate": float(rate)}


def gamma(rate: float, cv: float) -> Settings:
    return {"process": "gamma", "rate": float(rate), "cv": float(cv)}


def at_once() -> Settings:
    return {"process": "all_at_once"}


def users(count: int, think_s: float) -> Settings:
    """A closed loop."""
    think = {"think_time_s": exponential(think_s)} if think_s else {}
    return {"process": "closed_loop", "users": count, **think}


def fixed(value: float) -> Settings:
    return {"distribution": "fixed", "value": value}


def geometric(mean: float) -> Settings:
    return {"distribution": "geometric", "mean": float(mean)}


def exponential(mean: float) -> Settings:
    return {"distribution": "exponential", "mean": float(mean)}


def constant(step_s: float) -> Settings:
    return {"kind": "constant", "step_s": float(step_s)}


def affine(params: Settings) -> Settings:
    """alpha + beta·B; alpha + bp·(prompt tokens) + bd·decodes where the params have these."""
    names = {"alpha": "per_step_s", "beta": "per_sequence_s", "bp": "per_prefill_token_s", "bd": "per_decode_token_s"}
    return {"kind": "affine"} | {ours: float(params[name]) for name, ours in names.items() if name in params}


def per_request(service_s: Settings) -> Settings:
    return {"kind": "per_request", "service_s": service_s}


def static(seats: int, **engine: Any) -> Settings:
    """Slots of 1024 tokens: room for geometric outputs of mean 20, so that none has to be drawn again."""
    return {"preset": "static", "max_num_seqs": seats, "max_model_len": 1024} | engine


# ---- models ---------------------------------------------------------------------------------------------------------


def single_server(lam: float, cost: Settings, **more: Any) -> Settings:
    """One seat."""
    return {"lam": lam, "engine": {"max_num_seqs": 1}, "cost": cost, **more}


def servers(
    lam: float, count: int, service_s: float, output: Settings, most: int | None = None, **more: Any
) -> Settings:
    """Seats that do not slow each other down, in steps so short that they are servers in continuous time.

    `most` requests may be in the system.
    """
    engine = {"max_num_seqs": count, "max_concurrent_requests": most}
    return {"lam": lam, "engine": engine, "cost": constant(service_s / FINE), "output": output, **more}


def shared_server(lam: float, output: Settings, alpha: float, beta: float) -> Settings:
    """Seats for all, in steps whose cost they share."""
    cost = affine({"alpha": alpha, "beta": beta})
    return {"lam": lam, "engine": {"max_num_seqs": 4096}, "cost": cost, "output": output}


def _shares(rates: list[float]) -> dict[int, float]:
    return {priority: float(rate) for priority, rate in enumerate(rates)}


def _closed_sharing(p: Settings) -> Settings:
    """A closed loop in continuous batching."""
    arrivals = users(p["N"], p["Z"])
    return {"arrivals": arrivals, "engine": {"max_num_seqs": 1024}, "cost": affine(p), "output": fixed(p["k"])}


_SETTINGS = {
    "M/D/1": lambda p: single_server(p["lam"], constant(p["S"])),
    "M/M/1": lambda p: single_server(p["lam"], per_request(exponential(1 / p["mu"]))),
    "M/Geo/1": lambda p: single_server(p["lam"], constant(p["step"]), output=geometric(1 / p["p"])),
    "M/G/1-lognormal": lambda p: single_server(
        p["lam"], per_request({"distribution": "lognormal", "mean": p["ES"], "cv": p["cv"]})
    ),
    "Gamma/M/1": lambda p: single_server(
        p["lam"], per_request(exponential(1 / p["mu"])), arrivals=gamma(p["lam"], p["cv"])
    ),
    "priority-nonpreemptive-Cobham": lambda p: {
        "lam": sum(p["lams"]),
        "engine": {"max_num_seqs": 1, "order": "priority"},
        "cost": per_request(exponential(p["S"])),
        "workload": {"priorities": _shares(p["lams"])},
    },
    "SRPT-SJF-M/M/1": lambda p: single_server(
        p["lam"],
        constant(1 / p["mu"] / FINE),
        output=geometric(FINE),
        workload={"output_predictor": {"error_cv": 0.0}},
    ),
    "M/M/c": lambda p: servers(p["lam"], p["c"], 1 / p["mu"], geometric(FINE)),
    "M/D/c": lambda p: servers(p["lam"], p["c"], p["S"], fixed(FINE)),
    "Erlang-A": lambda p: servers(
        p["lam"], p["c"], 1 / p["mu"], geometric(FINE), workload={"patience_s": exponential(1 / p["theta"])}
    ),
    "loss-M/M/c/K": lambda p: servers(p["lam"], p["c"], 1 / p["mu"], geometric(FINE), most=p["K"]),
    "bulk-M/D[1,b]/1": lambda p: {"lam": p["lam"], "engine": {"max_num_seqs": p["b"]}, "cost": affine(p)},
    "dynamic-batching-Inoue": lambda p: {
        "lam": p["lam"],
        "engine": {"max_num_seqs": 4096, "max_num_batched_tokens": None},
        "cost": affine({"alpha": p["tau0"], "beta": p["alpha"]}),
    },
    "constant-step-infinite-batch": lambda p: {
        "lam": p["lam"],
        "engine": {"max_num_seqs": 4096},
        "cost": constant(p["D"]),
        "output": fixed(p["k"]),
    },
    "M/G/inf": lambda p: servers(p["lam"], 4096, p["ES"], geometric(FINE)),
    "geometric-continuous-batching": lambda p: {
        "lam": p["lam"],
        "engine": {"max_num_seqs": p["m"]},
        "cost": affine(p),
        "output": geometric(1 / p["p"]),
    },
    "M/G/1-PS": lambda p: shared_server(p["lam"], fixed(100), 0.0, p["S"] / 100),
    "affine-step-PS": lambda p: shared_server(p["lam"], fixed(p["k"]), p["alpha"], p["beta"]),
    "static-full-batch-M/D[b,b]/1": lambda p: {
        "lam": p["lam"],
        "engine": static(p["b"], formation_timeout_s=math.inf),
        "cost": constant(p["S"]),
    },
    "static-timeout-ample-servers": lambda p: {
        "lam": p["lam"],
        "engine": static(4096, formation_timeout_s=p["tau"]),
        "cost": constant(1e-6),
    },
    "static-batching-geometric": lambda p: {
        "lam": p["lam"],
        "engine": static(p["b"]),
        "cost": constant(p["D"]),
        "output": geometric(1 / p["p"]),
    },
    "closed-machine-repair-M/M/1//N": lambda p: {
        "arrivals": users(p["N"], p["Z"]),
        "engine": {"max_num_seqs": 1},
        "cost": per_request(exponential(p["S"])),
    },
    "closed-affine-PS": _closed_sharing,
    "closed-zero-think": _closed_sharing,
}
