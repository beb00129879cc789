"""How much each number of a config matters, and how much the cost model's own error does.

    elasticity   (M(x+) - M(x-)) / M(x)  /  ln(x+/x-)      paired: the same seeds for all three
    model error  ln M(drawn constants) - ln M(constants)    the same seeds for both

Central differences under common random numbers: what chance does to all runs of a seed alike cancels (Law, Simulation
Modeling and Analysis, 12.5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from sim.errors import InputError
from sim.specs.cost import PHYSICAL
from sim.specs.experiment import Experiment
from sim.stats.interval import Interval, Refused
from sim.stats.prediction import prediction
from sim.stats.replications import mean_interval, ratio_interval
from sim.study.across_runs import Sample, Values, instability
from sim.study.compare import check_metrics, check_pairs
from sim.study.constants import drawn
from sim.study.paired_runs import PairedRuns, Watch
from sim.study.replicate import Outcome, replications
from sim.study.replicated import COUNT, LEVEL, check_level
from sim.study.sensitivity.inputs import Input, usual_inputs, varied
from sim.study.sensitivity.result import Found, Measure, Sensitivity
from sim.study.start_up import StartUp, common_start_up

STEP = 0.05
"""Small enough for a straight line at moderate load, large enough to tell from chance."""
LEAST_STEP, MOST_STEP = 0.005, 0.5
"""Below, arrivals only slide within the iteration under way, which says nothing of what another load does."""
METRICS = ("p99_ttft", "p50_ttft", "p99_tpot", "mean_e2e")
"""What is looked at where nobody says what."""

AS_IT_IS, DRAWN, LOWER, HIGHER = "as it is", "constants drawn", "lower ", "higher "


@dataclass(frozen=True)
class Plan:
    """What to vary, found to be possible. `systems` are the replications of each experiment to run, by name."""

    experiment: Experiment
    inputs: tuple[Input, ...]
    metrics: tuple[str, ...]
    systems: Mapping[str, Sequence[Experiment]]
    count: int
    level: float
    step: float


def sensitivity(
    experiment: Experiment,
    inputs: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    step: float = STEP,
    replications: int = COUNT,
    level: float = LEVEL,
    pool: Executor | None = None,
    on_done: Watch | None = None,
) -> Sensitivity:
    """The elasticity of each of `metrics` to each of `inputs`, keys of the config such as `workload.arrivals.rate`.

    Each input is made lower and higher by the share `step`, under `replications` seeds. The runs take place in the
    processes of `pool`, or here. Ctrl-C ends it early: the result then holds the replications of which all runs are
    finished. Raises InputError for what cannot be varied or measured, KeyboardInterrupt where fewer than three
    replications are finished.
    """
    return run_sensitivity(plan_sensitivity(experiment, inputs, metrics, step, replications, level), pool, on_done)


def check_step(step: float, name: str = "step") -> None:
    """Refuse what is no small share."""
    if not LEAST_STEP <= step <= MOST_STEP:
        allowed = f"must be at least {LEAST_STEP:g} and at most {MOST_STEP:g}"
        raise InputError(f"{name}: got {step:g}, {allowed}, such as {STEP:g} for 5 %")


def plan_sensitivity(
    experiment: Experiment,
    inputs: Sequence[str] | None,
    metrics: Sequence[str] | None,
    step: float,
    count: int,
    level: float,
) -> Plan:
    """Check everything before anything runs. Raises InputError."""
    check_pairs(count)
    check_level(level)
    check_step(step)
    chosen = tuple(dict.fromkeys(METRICS if metrics is None else metrics))
    check_metrics(chosen)
    keys = dict.fromkeys(usual_inputs(experiment) if inputs is None else inputs)
    if not keys:
        raise InputError("inputs: got none, must name a number of the config, such as workload.arrivals.rate")
    found = tuple(varied(experiment, key, step) for key in keys)
    seeded = replications(experiment, count)
    systems = {AS_IT_IS: seeded}
    if experiment.cost.kind in PHYSICAL:
        systems[DRAWN] = [drawn(one) for one in seeded]
    for one in found:
        systems |= {LOWER + one.key: replications(one.lower, count), HIGHER + one.key: replications(one.higher, count)}
    return Plan(experiment, found, chosen, systems, count, level, step)


def run_sensitivity(plan: Plan, pool: Executor | None = None, on_done: Watch | None = None) -> Sensitivity:
    """Run everything, leave both ends out alike of all, and take differences. Raises as `sensitivity`."""
    runs = PairedRuns(plan.systems)
    runs.run(pool, on_done)
    begun = common_start_up([found[0].workload for found in plan.systems.values()], list(runs.outcomes.values()))
    seen = _Seen(runs.outcomes, begun, plan.level)
    return Sensitivity(
        plan.experiment,
        plan.inputs,
        tuple(Measure(name, seen.mean(name), seen.with_model_error(name)) for name in plan.metrics),
        {name: {one.key: seen.elasticity(name, one) for one in plan.inputs} for name in plan.metrics},
        plan.level,
        plan.step,
        tuple(outcome.seed for outcome in runs.outcomes[AS_IT_IS]),
        plan.count,
        begun,
        runs.interrupted,
        tuple(_notes(seen, begun)),
    )


def _notes(seen: _Seen, begun: StartUp) -> Iterator[str]:
    if seen.unstable[AS_IT_IS]:
        yield f"there are no intervals: {seen.unstable[AS_IT_IS]}"
    if begun.endless:
        yield f"whole runs are looked at, both ends included: {begun.endless}"


class _Seen:
    """What the runs of every system have shown, by system."""

    def __init__(self, outcomes: Mapping[str, Sequence[Outcome]], begun: StartUp, level: float) -> None:
        self._level = level
        self._values = {name: Sample(found, begun.requests, begun.cool_down).values for name, found in outcomes.items()}
        self.unstable = {name: instability(found) for name, found in outcomes.items()}

    def mean(self, metric: str) -> Found:
        """Of the experiment as it is."""
        why_not = self._why_not(metric, AS_IT_IS)
        return why_not or _found(mean_interval(self._of(AS_IT_IS, metric), self._level))

    def elasticity(self, metric: str, one: Input) -> Found:
        """Of a metric to an input, by the ratio of mean difference and mean (delta method)."""
        names = AS_IT_IS, LOWER + one.key, HIGHER + one.key
        why_not = self._why_not(metric, *names)
        if why_not:
            return why_not
        base, lower, higher = (self._of(name, metric) for name in names)
        if not base.sum():
            return f"{metric} is 0"
        share = np.log(one.higher_value / one.lower_value)
        return _found(ratio_interval((higher - lower) / share, base, self._level))

    def with_model_error(self, metric: str) -> Found:
        """Where the mean would lie, had the cost model the right constants: a prediction interval for a further draw.

        Student's t on logarithms, with what sampling adds in quadrature.
        """
        if DRAWN not in self._values:
            return "only physical constants have an error"
        why_not, mean = self._why_not(metric, AS_IT_IS, DRAWN), self.mean(metric)
        if why_not or not isinstance(mean, Interval):
            return why_not or str(mean)
        base, wrong = self._of(AS_IT_IS, metric), self._of(DRAWN, metric)
        if min(base.min(), wrong.min()) <= 0:
            return f"{metric} is 0 in some runs"
        count = len(base)
        off, spread = prediction(np.log(wrong / base), self._level)
        width = float(np.hypot(spread, mean.half_width / mean.value))
        middle = mean.value * float(np.exp(off))
        low, high = middle * float(np.exp(-width)), middle * float(np.exp(width))
        return Interval(mean.value, low, high, self._level, count, f"prediction interval over {count} draws")

    def _of(self, name: str, metric: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array(self._values[name][metric], dtype=np.float64)

    def _why_not(self, metric: str, *names: str) -> str | None:
        for name in names:
            values: Values = self._values[name].get(metric, ())
            if self.unstable[name]:
                return "the queue is unstable" if name == AS_IT_IS else f"with {name} the queue is unstable"
            if not values or None in values:
                return "not every run has it"
        return None


def _found(found: Interval | Refused) -> Found:
    return found if isinstance(found, Interval) else str(found)
