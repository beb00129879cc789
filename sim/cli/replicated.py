"""`servesim run --replications` and `--until`: what they may be, and the replications behind a progress bar."""

from __future__ import annotations

import os
from concurrent.futures import Executor
from dataclasses import dataclass

from sim.cli.workers import in_workers
from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.study.replicate import replications
from sim.study.replicated import COUNT, MOST, Replicated, check_count, check_level, replicate
from sim.study.seeded_runs import Watch
from sim.study.targets import check_targets, parse_targets


@dataclass(frozen=True)
class Wish:
    """Replications as the command line asks for them: `count`, or with `until` so many at most."""

    count: int
    until: str
    level: float
    workers: int


def wish_for(
    experiment: Experiment, count: int | None, until: str | None, level: float, workers: int | None
) -> Wish | None:
    """None where a single run is asked for. Raises InputError for what cannot be done, before any time is spent."""
    check_level(level, "--level")
    if count is None and until is None:
        if workers is not None:
            raise InputError(
                f"--workers: got {workers}, but a single run takes one process; drop it, or give --replications"
            )
        return None
    targets = parse_targets(until) if until is not None else ()
    most = count if count is not None else MOST if targets else COUNT
    check_count(most, targets, "--replications")
    check_targets(experiment, targets)
    replications(experiment, 1)
    return Wish(most, until or "", level, workers or os.cpu_count() or 1)


def run_replicated(experiment: Experiment, wish: Wish) -> Replicated:
    """In a process pool; Ctrl-C ends the workers and keeps the replications that are finished."""

    def study(pool: Executor, show: Watch) -> Replicated:
        return replicate(experiment, wish.count, wish.level, pool, wish.until, show)

    return in_workers(min(wish.workers, wish.count), study, "the first replication was")
