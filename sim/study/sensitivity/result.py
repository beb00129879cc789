"""The result of a sensitivity study, and its forms: tables and an object for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from sim.specs.experiment import Experiment
from sim.stats.interval import Interval
from sim.study.sensitivity.inputs import Input
from sim.study.start_up import StartUp

Found = Interval | str
"""An interval, or the reason why there is none."""


@dataclass(frozen=True)
class Measure:
    """A metric as the experiment is: the mean over replications with the interval that sampling gives.

    `with_model_error` is the wider one that allows for the cost model's constants. Latencies are in seconds.
    """

    name: str
    value: Found
    with_model_error: Found


@dataclass(frozen=True)
class Sensitivity:
    """Elasticities: by what share a metric changes per share that an input does, in the limit of small changes.

    `elasticities` are by metric and, within, by the key of the input. All runs of a replication have the same seed.
    Latencies leave out the `start_up.requests` first and `start_up.cool_down` last requests of each run. `planned`
    replications were asked for: more than the `seeds` after Ctrl-C.
    """

    experiment: Experiment
    inputs: tuple[Input, ...]
    measures: tuple[Measure, ...]
    elasticities: Mapping[str, Mapping[str, Found]]
    level: float
    step: float
    seeds: tuple[int, ...]
    planned: int
    start_up: StartUp
    interrupted: bool
    notes: tuple[str, ...]

    def table(self) -> pd.DataFrame:
        """A row a metric and input: the elasticity with its interval; NaN where there is none, and `why_not`."""
        return pd.DataFrame([self._row(one, name) for name in self.elasticities for one in self.inputs])

    def ranked(self, name: str) -> list[Input]:
        """The inputs by how much they matter for a metric, most first; last those of which it cannot be told."""
        return sorted(self.inputs, key=lambda one: -_size(self.elasticities[name][one.key]))

    def to_dict(self) -> dict[str, Any]:
        """The object that --json prints; docs/sensitivity.md describes it."""
        return {
            "replications": len(self.seeds),
            "planned": self.planned,
            "interrupted": self.interrupted,
            "level": self.level,
            "step": self.step,
            "warm_up_requests": self.start_up.requests,
            "cool_down_requests": self.start_up.cool_down,
            "metrics": {
                one.name: {**_described(one.value), "with_model_error": _described(one.with_model_error)}
                for one in self.measures
            },
            "inputs": {
                one.key: {
                    "value": one.value,
                    "lower": one.lower_value,
                    "higher": one.higher_value,
                    "elasticities": {name: _described(found[one.key]) for name, found in self.elasticities.items()},
                }
                for one in self.inputs
            },
        }

    def _row(self, one: Input, name: str) -> dict[str, Any]:
        found = self.elasticities[name][one.key]
        value, low, high = (
            (found.value, found.low, found.high) if isinstance(found, Interval) else (math.nan, math.nan, math.nan)
        )
        return {
            "metric": name,
            "input": one.key,
            "input_value": one.value,
            "input_lower": one.lower_value,
            "input_higher": one.higher_value,
            "elasticity": value,
            "elasticity_low": low,
            "elasticity_high": high,
            "why_not": found if isinstance(found, str) else None,
        }


def _size(found: Found) -> float:
    return abs(found.value) if isinstance(found, Interval) else -1.0


def _described(found: Found) -> dict[str, Any]:
    return asdict(found) if isinstance(found, Interval) else {"why_not": found}
