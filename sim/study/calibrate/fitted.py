"""One operator as fitted: its constants, how uncertain they are, and how far the formula is off its points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.errors import InputError
from sim.study.calibrate.solve import Constant, Floats, solve

LEAST_PER_CONSTANT = 4
FEWEST_GROUPS = 20
"""Resamples of fewer say too little."""
OPEN = 0.5
"""The relative standard error beyond which the points say nothing of a share."""
AT_MOST = 0.999
"""The share of its bound from which a time, or a rate, is on it."""


@dataclass(frozen=True)
class Fitted:
    """`constants` and their relative standard errors by dotted name; none for points that were only compared.

    `screened` says how many rows were left out, by reason.
    """

    operator: str
    constants: dict[str, float]
    standard_errors: dict[str, float]
    screened: dict[str, int]
    measured_s: Floats = field(repr=False)
    fitted_s: Floats = field(repr=False)

    @property
    def errors(self) -> Floats:
        """Signed and relative: formula over measured, less one."""
        return np.asarray(self.fitted_s / self.measured_s - 1)

    @property
    def mean_abs_error(self) -> float:
        """The mean over points."""
        return float(np.abs(self.errors).mean())

    @property
    def mean_error(self) -> float:
        """The mean over points, signed."""
        return float(self.errors.mean())

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "mean_abs_error": self.mean_abs_error,
            "mean_error": self.mean_error,
            "points": len(self.measured_s),
            "screened": self.screened,
            "constants": self.constants,
            "standard_errors": self.standard_errors,
        }


def fit(
    operator: str,
    table: pd.DataFrame,
    predict: Callable[[Sequence[float]], Floats],
    constants: Sequence[Constant],
    shape: Sequence[str],
    screened: dict[str, int],
    weights: Floats | None = None,
) -> Fitted:
    """Fit `constants` on the rows of `table`; rows alike in the columns `shape` are resampled together."""
    measured = table["seconds"].to_numpy()
    found = solve(predict, measured, constants, groups(table, shape), weights)
    for one in constants:
        if one.most == 1 and found.standard_errors[one.name] > OPEN:
            raise InputError(
                f"--ops: {operator}: the {len(table)} rows leave {one.name} open (standard error "
                f"{100 * found.standard_errors[one.name]:.0f} %, must be at most {100 * OPEN:.0f} %); "
                "measure small and large calls both"
            )
        if one.name.endswith("_s") and found.values[one.name] > AT_MOST * one.most:
            raise InputError(
                f"--ops: {operator}: {one.name} comes out at its bound of {one.most:g}; check the unit of the times, "
                "and that --accelerator is the device they were measured on"
            )
    certain = {name: error for name, error in found.standard_errors.items() if found.values[name] > 1e-12}
    fitted = predict(list(found.values.values()))
    return Fitted(operator, found.values, certain, screened, measured, np.asarray(fitted))


def groups(table: pd.DataFrame, shape: Sequence[str]) -> NDArray[np.int64]:
    """A number for every row, the same for rows alike in `shape`; each its own where few shapes differ."""
    found = np.asarray(table.groupby(list(shape), sort=False).ngroup())
    return found if found.max() + 1 >= FEWEST_GROUPS else np.arange(len(table))
