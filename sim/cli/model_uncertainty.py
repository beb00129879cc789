"""`servesim run --model-uncertainty`: what it may be, its runs behind a progress bar, and what to say of them."""

from __future__ import annotations

import os
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from sim.cli.workers import in_workers
from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.study.model_uncertainty import LEAST_DRAWS, ModelUncertainty, Watch, check_draws, model_uncertainty
from sim.study.replicated import check_level
from sim.study.run import RunResult


@dataclass(frozen=True)
class Draws:
    """So many draws of the cost model's constants, in so many processes."""

    count: int
    level: float
    workers: int


def draws_for(
    experiment: Experiment,
    count: int | None,
    level: float,
    workers: int | None,
    replications: int | None,
    until: str | None,
) -> Draws | None:
    """None where none are asked for. Raises InputError for what cannot be done, before any time is spent."""
    if count is None:
        return None
    if replications is not None or until is not None:
        raise InputError(
            f"--model-uncertainty: got {count} beside --replications or --until, but it looks at one run's requests "
            "alone; drop one of them, or take `servesim sensitivity`, which gives both"
        )
    check_level(level, "--level")
    check_draws(experiment, count, "--model-uncertainty")
    return Draws(count, level, workers or os.cpu_count() or 1)


def with_model_uncertainty(result: RunResult, draws: Draws) -> RunResult:
    """The result, and in its summary how far off its metrics may be."""

    def study(pool: Executor, show: Watch) -> ModelUncertainty:
        return model_uncertainty(result.experiment, draws.count, draws.level, pool, show)

    found = in_workers(min(draws.workers, draws.count), study, f"{LEAST_DRAWS} draws were")
    told = {"model_uncertainty": found.to_dict(result.summary)}
    return replace(result, summary=result.summary | {"sim": result.summary["sim"] | told})
