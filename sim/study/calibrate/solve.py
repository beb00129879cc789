"""Constants of a formula from measured points: a robust fit of the logarithms, and how uncertain it leaves them.

The error of a point is log(formula / measured); the fit minimises the sum of soft absolute values, 2 s^2 (sqrt(1 +
(error/s)^2) - 1) with s = 5 %, which outliers do not dominate. Standard errors are by bootstrap over groups of points
that share what was multiplied (kernels are chosen by shape, so that points of one are wrong together): each resample
moves the constants by a Newton step on its scores. Huber, Ronchetti, "Robust Statistics", 2nd ed., sections 4, 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from sim.streams import stream

Floats = NDArray[np.float64]
SOFT = 0.05
RESAMPLES = 200
STEP = 1e-4


class Constant(NamedTuple):
    """A number to fit: its name (dotted, as in the accelerator's file), where to start, its bounds."""

    name: str
    start: float
    most: float
    least: float = 0.0


class Solution(NamedTuple):
    """Constants, their relative standard errors, the covariance of their relative deviations."""

    values: dict[str, float]
    standard_errors: dict[str, float]
    covariance: Floats


def solve(
    predict: Callable[[Sequence[float]], Floats],
    measured_s: Floats,
    constants: Sequence[Constant],
    groups: NDArray[np.int64],
    weights: Floats | None = None,
) -> Solution:
    """The constants, between zero and their most, with which `predict` is nearest to what was measured."""
    start = np.array([one.start for one in constants])
    least = np.array([max(one.least, 1e-9 * one.start) for one in constants])
    most = np.array([one.most for one in constants])
    weight = np.ones(len(measured_s)) if weights is None else weights

    def errors(scaled: Floats) -> Floats:
        return np.asarray(weight * np.log(predict(list(scaled * start)) / measured_s))

    bounds = (least / start, most / start)
    first = np.clip(np.ones(len(start)), *bounds)
    fitted = least_squares(errors, first, loss="soft_l1", f_scale=SOFT, bounds=bounds)
    covariance = _bootstrap(errors, fitted.x, groups)
    relative = np.sqrt(np.diag(covariance)) / fitted.x
    names = [one.name for one in constants]
    return Solution(
        dict(zip(names, map(float, fitted.x * start), strict=True)),
        dict(zip(names, map(float, relative), strict=True)),
        covariance / np.outer(fitted.x, fitted.x),
    )


def _bootstrap(errors: Callable[[Floats], Floats], at: Floats, groups: NDArray[np.int64]) -> Floats:
    """Covariance of the (scaled) constants over resamples of whole groups."""
    error, slopes = errors(at), _slopes(errors, at)
    soft = 1 + (error / SOFT) ** 2
    scores = np.zeros((int(groups.max()) + 1, len(at)))
    np.add.at(scores, groups, (error / np.sqrt(soft))[:, None] * slopes)
    curvature = (slopes * soft[:, None] ** -1.5).T @ slopes
    curvature += 1e-12 * np.trace(curvature) * np.eye(len(at))
    count = len(scores)
    drawn = stream(0, "calibration").multinomial(count, np.full(count, 1 / count), RESAMPLES)
    few = count / max(count - len(at), 1)
    return np.atleast_2d(few * np.cov(np.linalg.solve(curvature, (drawn @ scores).T)))


def _slopes(errors: Callable[[Floats], Floats], at: Floats) -> Floats:
    """Derivatives of the errors by each constant, from the side where it may go."""
    steps = np.diag(STEP * np.maximum(at, 1e-3))
    return np.stack([(errors(at + step) - errors(at)) / step.sum() for step in steps], axis=1)
