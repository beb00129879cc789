"""The times between successive tokens of a request, of all requests together, without a row for every iteration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from sim.metrics.runs import ROWS_AT_ONCE, FloatArray, IntArray, asked_for_decodes, each_iteration
from sim.serving.front_end import TIE_S
from sim.stats.series import SeriesSample


@dataclass(frozen=True)
class TokenGaps:
    """`on_time` are the gaps, in seconds, of those whose next token came an iteration after the one before.

    Each series is a run of like iterations that began at `start_s`; a gap is repeated for every request that got a
    token. The `late_s` ended at `late_end_s`, each of `late_tokens` requests. What ends less than a nanosecond before a
    moment counts as at it, for sums of step times round.
    """

    on_time: SeriesSample
    start_s: FloatArray
    late_s: FloatArray
    late_end_s: FloatArray
    late_tokens: IntArray

    @cached_property
    def sample(self) -> SeriesSample:
        """All gaps."""
        return self.on_time + SeriesSample.of(self.late_s, self.late_tokens)

    def tokens_before(self, moments_s: FloatArray) -> IntArray:
        """How many of the gaps had ended before each of the moments."""
        order = np.argsort(self.late_end_s)
        ended = np.searchsorted(self.late_end_s[order], moments_s - TIE_S)
        late = np.append(0, np.cumsum(self.late_tokens[order], dtype=np.int64))[ended]
        tokens: IntArray = late + self._before(moments_s, self.on_time.repeats).astype(np.int64)
        return tokens

    def between(self, moments_s: FloatArray) -> Iterator[SeriesSample]:
        """The gaps that ended between each of the moments, ascending, and the next."""
        pieces, begins = self.on_time.cut(self._before(moments_s, np.ones(len(self.start_s))))
        order = np.argsort(self.late_end_s)
        late = SeriesSample.of(self.late_s[order], self.late_tokens[order])
        late_begins = np.searchsorted(self.late_end_s[order], moments_s - TIE_S)
        for on_time, late_ones in zip(pairwise(begins), pairwise(late_begins), strict=True):
            yield pieces[slice(*on_time)] + late[slice(*late_ones)]

    def ends_of_runs_s(self) -> tuple[FloatArray, FloatArray]:
        """When the first and when the last iteration of each run was over."""
        k, first_s, step_s = self.on_time.length, self.on_time.first, self.on_time.step
        first_end_s = self.start_s + first_s
        return first_end_s, first_end_s + (k - 1) * first_s + k * (k - 1) / 2 * step_s

    def table(self) -> pd.DataFrame:
        """`gap_s, tokens, end_s`: how long successive tokens of a request were apart, how many were, and until when.

        In full, a row for every iteration and one for every late token.
        """
        runs = {
            "start_s": self.start_s,
            "iterations": self.on_time.length,
            "first_step_s": self.on_time.first,
            "step_increment_s": self.on_time.step,
        }
        gap_s, tokens = self.sample.written_out()
        return pd.DataFrame(
            {"gap_s": gap_s, "tokens": tokens, "end_s": np.append(each_iteration(runs).end_s, self.late_end_s)}
        )

    def _before(self, moments_s: FloatArray, counts: FloatArray) -> FloatArray:
        """The sum, over the iterations that had ended before each of the moments, of the counts of their runs."""
        if not len(self.start_s):
            return np.zeros(len(moments_s))
        passed = np.cumsum(self.on_time.length * counts) - self.on_time.length * counts
        sums = np.empty(len(moments_s))
        for begin in range(0, len(moments_s), ROWS_AT_ONCE):
            some = slice(begin, begin + ROWS_AT_ONCE)
            run, over = self._over(moments_s[some] - TIE_S)
            sums[some] = passed[run] + over * counts[run]
        return sums

    def _over(self, moments_s: FloatArray) -> tuple[IntArray, FloatArray]:
        """The last run that had begun before each moment, and how many of its iterations were over by then.

        m of them take m first + m(m - 1)/2 step, so m is the root of a quadratic, rounded down, or next to it.
        """
        run = np.maximum(np.searchsorted(self.start_s, moments_s) - 1, 0)
        first_s, step_s, most = self.on_time.first[run], self.on_time.step[run], self.on_time.length[run]
        since_s = np.maximum(moments_s - self.start_s[run], 0.0)
        steep = first_s - step_s / 2
        root = steep + np.sqrt(steep**2 + 2 * step_s * since_s)
        about = np.divide(2 * since_s, root, out=np.where(since_s > 0, np.inf, 0.0), where=root > 0)
        about = np.clip(np.floor(about), 1, most)
        ends_s, later_s = (m * first_s + m * (m - 1) / 2 * step_s for m in (about, about + 1))
        return run, about - 1 + (ends_s < since_s) + ((later_s < since_s) & (about < most))


def token_gaps(runs: Any, late: Any) -> TokenGaps:
    """Those of a run of the simulator: its runs of iterations and its late gaps, as columns or as tables.

    A decode's gap is its iteration, but for those that were late.
    """
    tokens, late_in = asked_for_decodes(runs), np.asarray(late["run"])
    np.subtract.at(tokens, late_in[late_in >= 0], late["tokens"][late_in >= 0])
    decoding = np.flatnonzero(tokens)
    first_s, step_s, iterations, start_s = (
        np.asarray(runs[name])[decoding] for name in ("first_step_s", "step_increment_s", "iterations", "start_s")
    )
    on_time = SeriesSample(first_s, step_s, iterations.astype(np.float64), tokens[decoding].astype(np.float64))
    return TokenGaps(on_time, start_s, *(np.asarray(late[name]) for name in ("gap_s", "end_s", "tokens")))
