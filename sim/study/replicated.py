"""One experiment run many times under seeds of its own: how sure its numbers are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.stats.interval import Interval
from sim.stats.sequential import LEAST_REPLICATIONS
from sim.study.across_runs import Sample, instability, remedy, verdicts_of
from sim.study.replicate import RATES, Outcome
from sim.study.run import RunResult
from sim.study.seeded_runs import SeededRuns, Watch
from sim.study.start_up import StartUp, start_up
from sim.study.targets import Aim, Target, aim_at, check_targets, parse_targets

COUNT, MOST, LEVEL = 20, 100, 0.95
"""Replications where nobody says how many; at most so many until a target is met; level of the intervals."""

DIGITS = 6
"""To which the values of single replications are written down."""


@dataclass(frozen=True)
class Replicated:
    """Replications of an experiment, in the order of their seeds; `first` is the whole result of the first one.

    `intervals` has the metrics that carry one, `refused` the reason for every other metric that was measured, `aims`
    how far the targets are met. `planned` replications were asked for: more than there are after Ctrl-C.
    """

    first: RunResult
    outcomes: tuple[Outcome, ...]
    level: float
    planned: int
    start_up: StartUp
    intervals: Mapping[str, Interval]
    refused: Mapping[str, str]
    aims: tuple[Aim, ...]
    interrupted: bool

    @cached_property
    def sample(self) -> Sample:
        """What the replications have shown, start-up left out."""
        return sample_of(self.outcomes, self.start_up)

    def table(self) -> pd.DataFrame:
        """A row a metric: value, low, high, level, n_effective, method; or `refused`, with the mean of the finite runs.

        Latencies are in seconds, rates a second.
        """
        rows = {name: self._row(name) for name in self.sample.values}
        columns = ["value", "low", "high", "level", "n_effective", "method", "refused"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("metric")

    def values(self) -> pd.DataFrame:
        """A row a replication: its seed (the index), its stability and every metric without the start-up."""
        seeds = pd.Index([outcome.seed for outcome in self.outcomes], name="seed")
        verdicts = [outcome.summary["sim"]["stability"]["verdict"] for outcome in self.outcomes]
        return pd.DataFrame({"stability": verdicts, **self.sample.values}, index=seeds)

    def result(self) -> RunResult:
        """The first replication, whose summary tells what all of them say (docs/metrics.md)."""
        ours = self.first.summary["sim"]
        found = {
            "intervals": {name: asdict(interval) for name, interval in self.intervals.items()},
            "no_intervals": dict(self.refused),
            "replications": self._summary(),
            "notes": [*ours["notes"], *self._notes()],
        }
        return replace(self.first, summary=self.first.summary | {"sim": ours | found})

    def _row(self, name: str) -> dict[str, Any]:
        if name in self.intervals:
            return asdict(self.intervals[name]) | {"refused": None}
        return {"value": mean_of(self.sample.values[name]), "refused": self.refused[name]}

    def _summary(self) -> dict[str, Any]:
        values = {name: [_rounded(value) for value in column] for name, column in self.sample.values.items()}
        return {
            "count": len(self.outcomes),
            "planned": self.planned,
            "interrupted": self.interrupted,
            "level": self.level,
            "seeds": [outcome.seed for outcome in self.outcomes],
            "warm_up_requests": self.start_up.requests,
            "cool_down_requests": self.start_up.cool_down,
            "warm_up": self.start_up.endless or self.start_up.how,
            "stability": verdicts_of(self.outcomes),
            "until": {aim.target.name: _aim_summary(aim) for aim in self.aims} or None,
            "values": values,
        }

    def _notes(self) -> list[str]:
        unstable, verdicts, notes = instability(self.outcomes), verdicts_of(self.outcomes), []
        if "unstable" in verdicts and not unstable:
            notes.append(
                f"the queue looks unstable in {verdicts['unstable']} of {len(self.outcomes)} replications: the load is "
                "close to what the engine can carry, so intervals may be too narrow; raise workload.num_requests"
            )
        if len(self.outcomes) > 1 and all(len(set(values)) == 1 for values in self.sample.values.values()):
            notes.append("all replications are alike: nothing in this experiment depends on the seed")
        return notes + [text for aim in self.aims if (text := self._unmet(aim))]

    def _unmet(self, aim: Aim) -> str | None:
        name = aim.target.name
        if aim.met or self.interrupted:
            return None
        if aim.hopeless:
            return f"--until {name}: replications stopped after {len(self.outcomes)}: {aim.hopeless}"
        wanted = f"{100 * aim.target.share:.3g}%"
        reached = f"has no interval, let alone within {wanted}," if aim.reached is None else ""
        reached = reached or f"is within {aim.reached:.1%}, not {wanted},"
        more = "" if aim.needed is None else f"; about {aim.needed:,} would do"
        return f"{name} {reached} after {len(self.outcomes)} replications, the most that are allowed{more}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _aim_summary(aim: Aim) -> dict[str, Any]:
    """`wanted` and `reached` are half-widths as shares of the value."""
    reached = aim.reached if aim.reached is not None and math.isfinite(aim.reached) else None
    return {"wanted": aim.target.share, "reached": reached, "met": aim.met}


def sample_of(outcomes: Sequence[Outcome], begun: StartUp) -> Sample:
    """The replications without their start-up and cool-down."""
    return Sample(outcomes, begun.requests, begun.cool_down, begun.begins_and_ends)


def mean_of(values: Sequence[float | None]) -> float | None:
    """Of those replications that have one."""
    measured = [value for value in values if value is not None]
    return sum(measured) / len(measured) if measured else None


def check_level(level: float, name: str = "level") -> None:
    """Refuse what is no share between 0 and 1."""
    if not 0 < level < 1 or (1 + level) / 2 == 1:
        raise InputError(f"{name}: got {level:g}, must be above 0 and below 1, such as 0.95")


def check_count(count: int, until: Sequence[Target], name: str = "count") -> None:
    """Refuse a number of replications that is none, or too small to stop by precision."""
    if count < 1:
        raise InputError(f"{name}: got {count}, must be at least 1; intervals take 3, {COUNT} are a good number")
    if until and count < LEAST_REPLICATIONS:
        raise InputError(
            f"{name}: got {count}, must be at least {LEAST_REPLICATIONS} with a target of precision, for the spread of "
            "fewer is a guess; raise it"
        )


def replicate(
    experiment: Experiment,
    count: int | None = None,
    level: float = LEVEL,
    pool: Executor | None = None,
    until: str = "",
    on_done: Watch | None = None,
) -> Replicated:
    """Run `experiment` under `count` seeds, its own and the next ones, in the processes of `pool` or here.

    With `until`, such as `"p99_ttft:5%,mean_e2e:2%"`, so many that each half-width is within that share of its value,
    but `count` at most (100 if not given). Ctrl-C ends it early: the result then holds the replications that were
    finished. Raises InputError where the seed changes nothing or a value cannot be used, KeyboardInterrupt where not
    even the first replication was finished.
    """
    targets = parse_targets(until) if until else ()
    most = count if count is not None else MOST if targets else COUNT
    check_level(level)
    check_count(most, targets)
    check_targets(experiment, targets)
    runs, aims = SeededRuns(experiment, pool, on_done), tuple[Aim, ...]()
    try:
        runs.reach(min(most, LEAST_REPLICATIONS) if targets else most)
        while more := _more(runs, aims := _aims(runs, targets, level), most):
            runs.reach(len(runs.outcomes) + more)
    except KeyboardInterrupt:
        runs.interrupted = True
    return _replicated(runs, level, aims)


def _more(runs: SeededRuns, aims: Sequence[Aim], most: int) -> int:
    """How many replications to run before the next look; none once all targets are met or one of them never will be."""
    if runs.interrupted or any(aim.hopeless for aim in aims):
        return 0
    return min(max((aim.more for aim in aims), default=0), most - len(runs.outcomes))


def _aims(runs: SeededRuns, targets: Sequence[Target], level: float) -> tuple[Aim, ...]:
    if not targets:
        return ()
    begun = start_up(runs.experiment.workload, runs.outcomes)
    sample, aims = sample_of(runs.outcomes, begun), []
    for target in targets:
        why = _unsteady(target.name, runs.outcomes, begun)
        aims.append(Aim(target, None, 0, None, why) if why else aim_at(target, sample, level))
    return tuple(aims)


def _unsteady(name: str, outcomes: Sequence[Outcome], begun: StartUp) -> str | None:
    """Why a metric has no interval, however many replications there are: rates only where the queue is unstable."""
    return instability(outcomes) or (None if name in RATES else begun.endless)


def _replicated(runs: SeededRuns, level: float, aims: tuple[Aim, ...]) -> Replicated:
    outcomes, first = tuple(runs.outcomes), runs.first
    if first is None:
        raise KeyboardInterrupt
    begun = start_up(runs.experiment.workload, outcomes)
    sample, intervals, refused = sample_of(outcomes, begun), {}, {}
    for name in sample.values:
        found = _unsteady(name, outcomes, begun) or sample.interval(name, level)
        if isinstance(found, Interval):
            intervals[name] = found
        else:
            refused[name] = found if isinstance(found, str) else remedy(found)
    return Replicated(first, outcomes, level, runs.planned, begun, intervals, refused, aims, runs.interrupted)
