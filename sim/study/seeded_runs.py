"""Runs of one experiment under one seed after the other: as many as are finished when somebody stops them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor

from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.study.replicate import Outcome, kept_of, replications
from sim.study.run import RunResult, run
from sim.study.workers import finished, submit

Watch = Callable[[int, int], None]
"""Hears how many replications are finished, and how many are planned so far."""

Kept = tuple[Outcome, RunResult | None]


class SeededRuns:
    """The replications so far: `outcomes` in the order of their seeds, `first` the whole result of the first seed.

    They run in the processes of `pool`, or here.
    """

    def __init__(self, experiment: Experiment, pool: Executor | None, on_done: Watch | None) -> None:
        self.experiment, self._pool, self._on_done = experiment, pool, on_done
        self.first: RunResult | None = None
        self.outcomes: list[Outcome] = []
        self.planned, self.interrupted = 0, False

    def reach(self, count: int) -> None:
        """Have `count` replications in all.

        Ctrl-C may leave fewer: in a run that takes place here it sets `interrupted`, else it raises KeyboardInterrupt.
        """
        wanted = replications(self.experiment, count - len(self.outcomes), len(self.outcomes))
        self.planned = count
        self._hear()
        try:
            for outcome, whole in self._here(wanted) if self._pool is None else self._in(self._pool, wanted):
                self.first = self.first or whole
                self.outcomes.append(outcome)
                self._hear()
        finally:
            self.outcomes.sort(key=lambda outcome: outcome.seed)

    def _hear(self) -> None:
        if self._on_done:
            self._on_done(len(self.outcomes), self.planned)

    def _here(self, wanted: Sequence[Experiment]) -> Iterator[Kept]:
        for experiment in wanted:
            result = _run(experiment)
            if result.summary["sim"]["interrupted"]:
                self.interrupted = True
                return
            yield kept_of(result), result

    def _in(self, pool: Executor, wanted: Sequence[Experiment]) -> Iterator[Kept]:
        """As they are finished."""
        futures = [submit(pool, _keep, one, one.seed == self.experiment.seed) for one in wanted]
        for future in finished(futures):
            yield future.result()


def _keep(experiment: Experiment, whole: bool) -> Kept:
    """What studies need of a run, and if asked for the `whole` result."""
    result = _run(experiment)
    return kept_of(result), result if whole else None


def _run(experiment: Experiment) -> RunResult:
    try:
        return run(experiment)
    except InputError as error:
        raise InputError(f"{error} (with seed {experiment.seed})") from None
