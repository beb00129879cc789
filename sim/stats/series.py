"""Samples too large to write out: arithmetic series, each value of which occurs several times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

WRITTEN_OUT = 4096
"""So many values are simply written out and sorted."""
ALIKE = 4e-15
"""Values that differ by less than this share of the largest differ by rounding alone."""


def counting(lengths: IntArray) -> IntArray:
    """From 0 up to each length, one after the other: 0 1 2 0 1 for lengths 3 and 2."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


@dataclass(frozen=True)
class SeriesSample:
    """The values `first[i] + j * step[i]`, j < `length[i]`, each of them `repeats[i]` times.

    Lengths and repeats are whole numbers from 1 on, kept as floats because integers would be converted again and again;
    steps are not negative. Statistics are numpy's of the sample written out, and like those need a value at least.
    """

    first: FloatArray
    step: FloatArray
    length: FloatArray
    repeats: FloatArray

    @classmethod
    def of(cls, values: FloatArray, repeats: ArrayLike = 1) -> SeriesSample:
        """Each of `values` once, or so many times."""
        shape = values.shape
        return cls(values, np.zeros(shape), np.ones(shape), np.broadcast_to(np.asarray(repeats, np.float64), shape))

    def __add__(self, other: SeriesSample) -> SeriesSample:
        """The values of both."""
        if not len(other.first):
            return self
        return SeriesSample(
            np.concatenate([self.first, other.first]),
            np.concatenate([self.step, other.step]),
            np.concatenate([self.length, other.length]),
            np.concatenate([self.repeats, other.repeats]),
        )

    def __getitem__(self, part: slice) -> SeriesSample:
        """Some of the series."""
        return SeriesSample(self.first[part], self.step[part], self.length[part], self.repeats[part])

    @property
    def size(self) -> int:
        """Values in all."""
        return int((self.length * self.repeats).sum())

    def min(self) -> float:
        """The least value."""
        return float(self.first.min())

    def max(self) -> float:
        """The largest value."""
        return float((self.first + (self.length - 1) * self.step).max())

    def mean(self) -> float:
        """Σ(n·middle)/Σn over the series, n being the size of each."""
        sizes = self.length * self.repeats
        return float((sizes * self._middle()).sum() / sizes.sum())

    def std(self) -> float:
        """The population's, √(Σn((middle − mean)² + step²(length² − 1)/12)/Σn) over the series."""
        sizes = self.length * self.repeats
        squares = (self._middle() - self.mean()) ** 2 + self.step**2 * ((self.length**2 - 1) / 12)
        return float(np.sqrt((sizes * squares).sum() / sizes.sum()))

    def quantiles(self, levels: Sequence[float]) -> FloatArray:
        """The values at `levels` in [0, 1], linear between ranks."""
        last = self.size - 1
        position = np.asarray(levels, np.float64) * last
        below = np.floor(position).astype(np.int64)
        ranks, found = np.unique([below, np.minimum(below + 1, last)], return_inverse=True)
        low, high = self.ranked(ranks)[found]
        quantiles: FloatArray = low + (high - low) * (position - below)
        return quantiles

    def ranked(self, ranks: IntArray) -> FloatArray:
        """The values of these ascending `ranks`, from 0, as by quickselect.

        The sample is split at its mean, and so is each part that holds a rank, until few values are left or all alike.
        """
        if self.length.sum() <= WRITTEN_OUT:
            values, repeats = self.written_out()
            order = np.argsort(values)
            found: FloatArray = values[order][np.searchsorted(np.cumsum(repeats[order]), ranks, side="right")]
            return found
        low, high, pivot = self.min(), self.max(), self.mean()
        rounding = ALIKE * max(abs(low), abs(high))
        if high - low <= 2 * rounding:
            return np.full(len(ranks), low)
        reached = self._reached(pivot if low <= pivot <= high - rounding else (low + high) / 2)
        passed = int((reached * self.repeats).sum())
        lower, upper = ranks[ranks < passed], ranks[ranks >= passed] - passed
        parts = [self._heads(reached).ranked(lower)] if len(lower) else []
        parts += [self._tails(reached).ranked(upper)] if len(upper) else []
        return np.concatenate(parts)

    def counts_upto(self, limits: FloatArray) -> IntArray:
        """How many values are at most as large, but for rounding, as each of the limits, which ascend."""
        if not len(limits) or not len(self.first):
            return np.zeros(len(limits), np.int64)
        middle = len(limits) // 2
        reached = self._reached(limits[middle] + ALIKE * abs(limits[middle]))
        passed = int((reached * self.repeats).sum())
        below = self._heads(reached).counts_upto(limits[:middle])
        above = self._tails(reached).counts_upto(limits[middle + 1 :])
        return np.concatenate([below, [passed], passed + above])

    def written_out(self) -> tuple[FloatArray, IntArray]:
        """Every value of every series, and how often it occurs."""
        lengths, repeats = self.length.astype(np.int64), self.repeats.astype(np.int64)
        series = np.repeat(np.arange(len(lengths)), lengths)
        return self.first[series] + counting(lengths) * self.step[series], repeats[series]

    def cut(self, places: FloatArray) -> tuple[SeriesSample, IntArray]:
        """The same values in more series, and with which of these each place begins.

        A place is the number of values before it, series after series, repeats not counted.
        """
        passed = np.cumsum(self.length) - self.length
        begins = np.union1d(passed, places[places < self.length.sum()])
        of = np.searchsorted(passed, begins, side="right") - 1
        first = self.first[of] + (begins - passed[of]) * self.step[of]
        length = np.diff(begins, append=self.length.sum())
        return SeriesSample(first, self.step[of], length, self.repeats[of]), np.searchsorted(begins, places)

    def _middle(self) -> FloatArray:
        middle: FloatArray = self.first + (self.length - 1) / 2 * self.step
        return middle

    def _reached(self, limit: float) -> FloatArray:
        """How many values of each series are at most `limit`."""
        ahead = limit - self.first
        steps = np.divide(ahead, self.step, out=np.copysign(np.inf, ahead), where=self.step > 0)
        reached: FloatArray = np.clip(np.floor(steps) + 1, 0, self.length)
        return reached

    def _heads(self, lengths: FloatArray) -> SeriesSample:
        """So many values of each series, the least."""
        some = np.flatnonzero(lengths > 0)
        return SeriesSample(self.first[some], self.step[some], lengths[some], self.repeats[some])

    def _tails(self, lengths: FloatArray) -> SeriesSample:
        """All values of each series but so many, the least."""
        some = np.flatnonzero(lengths < self.length)
        passed, step = lengths[some], self.step[some]
        return SeriesSample(self.first[some] + passed * step, step, self.length[some] - passed, self.repeats[some])
