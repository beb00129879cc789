"""Where the first of several noisy curves reaches its limit, from runs at a few places nearby.

Every curve is taken to be a line there (local linear regression), and the error comes from leaving out one group at a
time (jackknife; Efron & Stein 1981): the runs under one seed are a group, for what the seed does to one place it does
to all (common random numbers), so that runs of a group depend on each other and groups do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.stats.interval import FloatArray, Interval, Refused
from sim.stats.replications import mean_interval

REACH = 3
"""So many times as far as the runs are apart, a line is followed."""


@dataclass(frozen=True)
class Crossing:
    """The first curve to reach its limit is number `first`, at `place`; `places` are those of all curves.

    A place is infinite where a line does not rise to its limit. `pseudo_values` has the jackknife's one a group, whose
    mean is the estimate with its first-order bias removed; they are finite, of places three times the runs' spread away
    at most.
    """

    place: float
    first: int
    places: FloatArray
    pseudo_values: FloatArray

    def interval(self, level: float) -> Interval | Refused:
        """Student's t over the pseudo-values."""
        return mean_interval(self.pseudo_values, level)


def first_crossing(x: ArrayLike, groups: ArrayLike, values: ArrayLike, limits: ArrayLike) -> Crossing:
    """From one row a run: its place `x`, its group, the value of every curve there; `limits` has one of each curve.

    Raises ValueError where all runs are at one place.
    """
    places, table = np.asarray(x, np.float64), np.asarray(values, np.float64)
    centre, scale = float(places.mean()), float(np.ptp(places))
    if not scale > 0:
        raise ValueError(f"x: all runs are at {centre:g}, must be at two places at least")
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    count, limit = int(group.max()) + 1, np.asarray(limits, np.float64)
    design = np.column_stack([np.ones_like(places), (places - centre) / scale])
    squares, products = _sums(design, table, group, count)
    lines = _lines(squares.sum(axis=0), products.sum(axis=0))
    of_all = centre + scale * _roots(lines, limit)
    first = int(of_all.argmin())
    near = _near(of_all.min(), centre, scale)
    if count == 1:
        return Crossing(float(of_all.min()), first, of_all, np.full(1, near))
    rest = zip(squares.sum(axis=0) - squares, products.sum(axis=0) - products, strict=True)
    without_one = np.array([_near(centre + scale * _roots(_lines(*sums), limit).min(), centre, scale) for sums in rest])
    pseudo = count * near - (count - 1) * without_one
    return Crossing(float(of_all.min()), first, of_all, pseudo)


def _near(place: float, centre: float, scale: float) -> float:
    """A place no further off than lines can be trusted."""
    return float(np.clip(place, centre - REACH * scale, centre + REACH * scale))


def _sums(design: FloatArray, values: FloatArray, group: NDArray[np.intp], count: int) -> tuple[FloatArray, FloatArray]:
    """By group: X'X and X'Y."""
    squares = np.zeros((count, design.shape[1], design.shape[1]))
    products = np.zeros((count, design.shape[1], values.shape[1]))
    np.add.at(squares, group, design[:, :, None] * design[:, None, :])
    np.add.at(products, group, design[:, :, None] * values[:, None, :])
    return squares, products


def _lines(squares: FloatArray, products: FloatArray) -> FloatArray:
    """A column a curve: its value at the centre and its slope."""
    unit = 1 / np.sqrt(np.maximum(np.diag(squares), np.finfo(float).tiny))
    solved = np.linalg.lstsq(squares * unit[:, None] * unit, products * unit[:, None], rcond=1e-12)[0]
    lines: FloatArray = solved * unit[:, None]
    return lines


def _roots(lines: FloatArray, limits: FloatArray) -> FloatArray:
    """Where each line reaches its limit, in half-widths from the centre."""
    value, slope = lines[:2]
    rises = (slope > 0) & np.isfinite(limits)
    roots: FloatArray = np.where(rises, (np.where(rises, limits, 0.0) - value) / np.where(rises, slope, 1.0), np.inf)
    return roots
