"""Two queues that see the same requests as the engine, cost nothing to simulate, and wait when it waits.

One serves prompts alone, at the speed at which the engine computes them; the other whole requests, at the speed of the
saturated engine. How long their requests wait in a run says much about how long the engine's do, and what is expected
of it is known from very many draws of requests: control variates for the search (`sim.stats.crossing`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sim.metrics.runs import FloatArray
from sim.specs.workload import ClosedLoop
from sim.study.capacity.load import Dial
from sim.study.capacity.window import window_of
from sim.workload.source import build_workload

DRAWN_REQUESTS, MOST_SEGMENTS, TOGETHER = 12_000_000, 1000, 50
"""From which expectations are estimated; so many segments of a run's length at most, so many drawn together."""
ELSEWHERE = 10**6
"""Seeds so far from those of the runs are nobody else's."""


@dataclass(frozen=True)
class Servers:
    """Seconds that a token of a prompt takes to compute, and a token of an answer under saturation.

    What is looked at is the quantile `share` of the waits, or their mean if that is None.
    """

    prompt_s: float
    output_s: float
    share: float | None

    def see(self, arrival_s: FloatArray, prompt_tokens: FloatArray, output_tokens: FloatArray) -> tuple[float, float]:
        """The statistic of the time in the first queue, and in the second, of the requests of the middle part."""
        prompts_s = self.prompt_s * prompt_tokens
        wholes_s = prompts_s + self.output_s * output_tokens
        middle = window_of(len(arrival_s))
        first = (waits_s(arrival_s, prompts_s) + prompts_s)[middle]
        second = waits_s(arrival_s, wholes_s)[middle]
        if self.share is None:
            return float(first.mean()), float(second.mean())
        return float(np.quantile(first, self.share)), float(np.quantile(second, self.share))


@dataclass(frozen=True)
class Expected:
    """What the servers are expected to say, and the covariance of its error."""

    mean: FloatArray
    covariance: FloatArray


def waits_s(arrival_s: FloatArray, service_s: FloatArray) -> FloatArray:
    """Before one server that begins idle: W' = max(W + service - gap, 0) (Lindley 1952), as the height over the
    lowest point so far of a walk."""
    steps = np.zeros_like(service_s)
    steps[1:] = service_s[:-1] - np.diff(arrival_s)
    walk = np.cumsum(steps)
    waits: FloatArray = walk - np.minimum.accumulate(walk)
    return waits


def can_be_drawn(dial: Dial) -> bool:
    """Whether a long draw of requests can be cut into independent runs."""
    workload = dial.experiment.workload
    return dial.recording is None and not isinstance(workload.arrivals, ClosedLoop) and not workload.shares_text


class Expectations:
    """What `servers` are expected to say of runs of so many `requests`, by load; drawn once, then stretched in time."""

    def __init__(self, dial: Dial, servers: Servers, requests: int) -> None:
        self.requests, self._servers, self._known = requests, servers, dict[float, Expected]()
        segments = max(min(MOST_SEGMENTS, DRAWN_REQUESTS // requests), TOGETHER)
        self._segments: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        for block in range(math.ceil(segments / TOGETHER)):
            table = build_workload(dial.at(1.0, TOGETHER * requests, ELSEWHERE + block)).table
            arrivals, prompts, outputs = (
                table[name].to_numpy(float) for name in ("arrival_s", "prompt_tokens", "output_tokens")
            )
            for begin in range(0, TOGETHER * requests, requests):
                part = slice(begin, begin + requests)
                self._segments.append((arrivals[part] - arrivals[part][0], prompts[part], outputs[part]))

    def at(self, load: float) -> Expected:
        """At a load."""
        if load not in self._known:
            seen = np.array([self._servers.see(arrivals / load, *lengths) for arrivals, *lengths in self._segments])
            self._known[load] = Expected(seen.mean(axis=0), np.cov(seen.T) / len(seen))
        return self._known[load]
