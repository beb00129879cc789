"""A run with the arrivals and lengths a test wants, on an engine of constant step time unless said otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scenarios import SYNCHRONOUS

import sim
from sim.metrics.audit import audit
from sim.metrics.finished_run import FinishedRun
from sim.metrics.tables import iterations_table
from sim.serving.simulation import simulate
from sim.workload.workload import Workload

STEP_S = 0.25
"""A power of two, so that times worked out by hand are exact."""


def experiment(
    engine: dict[str, Any] | None = None, cost: dict[str, Any] | None = None, **sections: Any
) -> sim.Experiment:
    """An experiment with plenty of memory; `sections` replace those of its file (workload, seed)."""
    one = {"distribution": "fixed", "value": 1}
    workload = {"arrivals": {"process": "all_at_once"}, "lengths": {"prompt": one, "output": one}, "num_requests": 1}
    return sim.experiment_from(
        {
            "model": "llama-3.1-8b",
            "accelerator": "h100-sxm",
            "engine": {"num_gpu_blocks": 10_000, "max_model_len": 100, **SYNCHRONOUS} | (engine or {}),
            "cost": cost or {"kind": "constant", "step_s": STEP_S},
            "workload": workload,
        }
        | sections
    )


def serve(
    arrivals: Sequence[float],
    outputs: int | Sequence[int] = 1,
    prompts: int | Sequence[int] = 1,
    engine: dict[str, Any] | None = None,
    cost: dict[str, Any] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Requests and iterations of a run, audited; a single number of tokens is everybody's."""
    columns = {"arrival_s": np.array(arrivals, dtype=float), "prompt_tokens": prompts, "output_tokens": outputs}
    workload = Workload(pd.DataFrame(columns))
    served = experiment(engine, cost)
    finished = FinishedRun(served, workload, simulate(served, workload))
    audit(finished)
    return finished.requests, iterations_table(finished.log.recorder)
