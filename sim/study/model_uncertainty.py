"""One experiment run with other constants of its cost model, drawn within their errors: how far off its numbers may be.

The requests are the same in every run, so that only the constants differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.errors import InputError
from sim.specs.cost import PHYSICAL
from sim.specs.experiment import Experiment
from sim.stats.prediction import prediction
from sim.study.constants import drawn
from sim.study.replicate import RATES, Outcome, outcome_of
from sim.study.workers import finished, submit

LEAST_DRAWS, MOST_DRAWS = 3, 10_000

Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class ModelUncertainty:
    """Metrics of each run with drawn constants, by name; `planned` runs were asked for."""

    values: Mapping[str, Sequence[float | None]]
    level: float
    planned: int
    interrupted: bool

    @property
    def draws(self) -> int:
        """Runs that are finished."""
        return len(next(iter(self.values.values())))

    def to_dict(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Of each metric of a run its value as it is, and the range in which one with the right constants may lie."""
        return {
            "draws": self.draws,
            "planned": self.planned,
            "level": self.level,
            "metrics": {name: found for name in self.values if (found := self._range(name, summary))},
        }

    def _range(self, name: str, summary: dict[str, Any]) -> dict[str, float] | None:
        """A prediction interval for a further draw, on the logarithm; None for what is not above 0 in every run."""
        value, drawn_values = _metric(summary, name), self.values[name]
        if not value or any(not each or each <= 0 for each in drawn_values):
            return None
        middle, width = prediction(np.log(np.array(drawn_values, dtype=float)), self.level)
        low, high = math.exp(middle - width), math.exp(middle + width)
        return {"value": value, "low": low, "high": high}


def check_draws(experiment: Experiment, draws: int, name: str = "draws") -> None:
    """Refuse a number of draws that says nothing, and cost models without constants of physics. Raises InputError."""
    if not LEAST_DRAWS <= draws <= MOST_DRAWS:
        raise InputError(f"{name}: got {draws}, must be at least {LEAST_DRAWS} and at most {MOST_DRAWS:,}, such as 30")
    if experiment.cost.kind not in PHYSICAL:
        raise InputError(
            f"{name}: cost kind {experiment.cost.kind} is given, not measured, so nothing is known of its error; use "
            f"cost kind {' or '.join(PHYSICAL)}"
        )


def model_uncertainty(
    experiment: Experiment, draws: int, level: float = 0.95, pool: Executor | None = None, on_done: Watch | None = None
) -> ModelUncertainty:
    """Run `experiment` with `draws` draws of its constants, in the processes of `pool` or here.

    Raises InputError as `check_draws` and `run`, KeyboardInterrupt where fewer than three runs are finished.
    """
    check_draws(experiment, draws)
    found: list[Outcome] = []
    interrupted = False
    try:
        for outcome in _outcomes([drawn(experiment, draw) for draw in range(draws)], pool):
            found.append(outcome)
            if on_done:
                on_done(len(found), draws)
    except KeyboardInterrupt:
        if len(found) < LEAST_DRAWS:
            raise
        interrupted = True
    names = [*found[0].summary["sim"]["metrics"], *RATES]
    values = {name: [_metric(outcome.summary, name) for outcome in found] for name in names}
    return ModelUncertainty(values, level, draws, interrupted)


def _outcomes(experiments: Sequence[Experiment], pool: Executor | None) -> Iterator[Outcome]:
    if pool is None:
        for experiment in experiments:
            outcome = outcome_of(experiment)
            if outcome.summary["sim"]["interrupted"]:
                raise KeyboardInterrupt
            yield outcome
        return
    futures = [submit(pool, outcome_of, experiment) for experiment in experiments]
    for future in finished(futures):
        yield future.result()


def _metric(summary: dict[str, Any], name: str) -> float | None:
    value: float | None = summary[name] if name in RATES else summary["sim"]["metrics"][name]
    return value
