"""The one or two numbers that operators measured alone cannot show, from whole runs: gaps between kernels, the clock.

Gaps show where steps are short, the clock where they are long. Both move every latency nearly in proportion, so that
the mean signed errors of TPOT and E2E settle them; how far single requests are off is left to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from sim.errors import InputError, did_you_mean
from sim.specs.accelerator import AcceleratorSpec
from sim.study.calibrate.changed import changed
from sim.study.calibrate.solve import Floats

Replay = Callable[[AcceleratorSpec, Path], Mapping[str, float]]
"""Simulates the real run of a folder on an accelerator -> signed relative errors of the means, `tpot` and `e2e`."""

RANGES = {"gap_s": (0.0, 10e-6), "clock": (0.8, 1.5)}
METRICS = ("tpot", "e2e")
STEP, PRECISION, MOST_STEPS = 0.05, 1e-3, 12
"""Of a range's width; a step replays every run once, and once more for each scalar."""


@dataclass(frozen=True)
class EndToEnd:
    """The scalars found, and the errors of each run before and after."""

    values: dict[str, float]
    before: dict[str, dict[str, float]]
    after: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"values": self.values, "before": self.before, "after": self.after}


def fit_end_to_end(
    accelerator: AcceleratorSpec, runs: Sequence[Path], replay: Replay, scalars: Sequence[str] = ("gap_s",)
) -> EndToEnd:
    """The scalars, of `gap_s` and `clock`, with which the replays are least off in the mean square."""
    _check(runs, scalars)
    widths = np.array([RANGES[name][1] - RANGES[name][0] for name in scalars])
    lowest = np.array([RANGES[name][0] for name in scalars])
    now = (np.array([getattr(accelerator.kernels, name) for name in scalars]) - lowest) / widths

    def values(shares: Floats) -> dict[str, float]:
        return dict(zip(scalars, map(float, lowest + np.clip(shares, 0, 1) * widths), strict=True))

    def errors(shares: Floats) -> Floats:
        found = _errors(_with(accelerator, values(shares)), runs, replay)
        return np.array([error for one in found.values() for error in one.values()])

    def slopes(shares: Floats) -> Floats:
        here, inwards = errors(shares), np.where(shares < 0.5, STEP, -STEP)
        return np.stack([(errors(shares + move) - here) / move.sum() for move in np.diag(inwards)], axis=1)

    start = np.clip(now, STEP, 1 - STEP)
    best = least_squares(errors, start, jac=slopes, bounds=(0, 1), xtol=PRECISION, max_nfev=MOST_STEPS)
    found = values(best.x)
    return EndToEnd(found, _errors(accelerator, runs, replay), _errors(_with(accelerator, found), runs, replay))


def _check(runs: Sequence[Path], scalars: Sequence[str]) -> None:
    if not runs:
        raise InputError("--runs: no folders; give one or more recorded runs")
    if not scalars:
        raise InputError(f"--scalars: none given; give one or two of {', '.join(RANGES)}")
    for name in scalars:
        if name not in RANGES:
            raise InputError(f"--scalars: unknown '{name}'; {did_you_mean(name, RANGES)}")
    if len(set(scalars)) < len(scalars):
        raise InputError(f"--scalars: got {','.join(scalars)}; give each once")
    if len(scalars) > 1 and len(runs) < 2:
        raise InputError("--scalars: one run cannot tell gap_s from clock; give one of them, or another run to --runs")


def _with(accelerator: AcceleratorSpec, values: Mapping[str, float]) -> AcceleratorSpec:
    return changed(accelerator, {f"kernels.{name}": value for name, value in values.items()})


def _errors(accelerator: AcceleratorSpec, runs: Sequence[Path], replay: Replay) -> dict[str, dict[str, float]]:
    found = {}
    for run in runs:
        errors = replay(accelerator, run)
        found[str(run)] = {name: float(errors[name]) for name in METRICS}
    return found
