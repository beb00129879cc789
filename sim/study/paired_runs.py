"""The runs of a comparison: seed by seed all experiments, so that whenever somebody stops, pairs are whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor

from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.stats.replications import LEAST_REPLICATIONS
from sim.study.replicate import Outcome, outcome_of
from sim.study.workers import finished, submit

Watch = Callable[[int, int], None]
Run = tuple[str, Experiment]
"""An experiment under one seed, and the key of the system that it is of."""


class PairedRuns:
    """`outcomes` of each system, by key, in the order of their seeds, those of all under the same seeds.

    `replications` are the experiments of each, one a seed. After Ctrl-C, `interrupted`, fewer are finished.
    """

    def __init__(self, replications: Mapping[str, Sequence[Experiment]]) -> None:
        self.interrupted = False
        self.outcomes: dict[str, list[Outcome]] = {key: [] for key in replications}
        self._runs: list[Run] = [
            (key, one)
            for same_seed in zip(*replications.values(), strict=True)
            for key, one in zip(replications, same_seed, strict=True)
        ]

    def run(self, pool: Executor | None = None, on_done: Watch | None = None) -> None:
        """Run all, in the processes of `pool` or here. Raises KeyboardInterrupt where Ctrl-C leaves too few."""
        done = 0
        try:
            for key, outcome in self._here() if pool is None else self._in(pool):
                self.outcomes[key].append(outcome)
                done += 1
                if on_done:
                    on_done(done, len(self._runs))
        except KeyboardInterrupt:
            self.interrupted = True
        self._keep_pairs()

    def _keep_pairs(self) -> None:
        """Only the seeds that all have finished, in order."""
        seeds = set.intersection(*({outcome.seed for outcome in found} for found in self.outcomes.values()))
        for key, found in self.outcomes.items():
            whole = [outcome for outcome in found if outcome.seed in seeds]
            self.outcomes[key] = sorted(whole, key=lambda outcome: outcome.seed)
        if len(seeds) < LEAST_REPLICATIONS:
            raise KeyboardInterrupt

    def _here(self) -> Iterator[tuple[str, Outcome]]:
        for key, experiment in self._runs:
            outcome = _outcome(key, experiment)
            if outcome.summary["sim"]["interrupted"]:
                raise KeyboardInterrupt
            yield key, outcome

    def _in(self, pool: Executor) -> Iterator[tuple[str, Outcome]]:
        """As they are finished."""
        futures = {submit(pool, _outcome, key, experiment): key for key, experiment in self._runs}
        for future in finished(futures):
            yield futures[future], future.result()


def _outcome(key: str, experiment: Experiment) -> Outcome:
    try:
        return outcome_of(experiment)
    except InputError as error:
        raise InputError(f"{error} (in {key} with seed {experiment.seed})") from None
