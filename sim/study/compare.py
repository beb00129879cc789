"""Experiments compared under common random numbers: replication i of every one has the same seed.

Arrivals, lengths and all else that is random are drawn from streams named by purpose (`sim.streams`), so the same seed
means the same requests, and what they do to all systems alike cancels in the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import combinations

from sim.errors import InputError, did_you_mean
from sim.specs.experiment import Experiment
from sim.specs.metric_names import bounds_requests
from sim.stats.holm import holm, paired_p_value
from sim.stats.interval import Interval, Refused
from sim.stats.paired import Comparison, Verdict, compare_all
from sim.stats.replications import LEAST_REPLICATIONS, mean_interval
from sim.study.across_runs import Sample, Values, instability, verdicts_of
from sim.study.compared import Compared, Difference, Metric, System
from sim.study.paired_runs import PairedRuns
from sim.study.replicate import STUDIED
from sim.study.replicate import replications as under_seeds
from sim.study.replicated import COUNT, LEVEL, check_level
from sim.study.same_requests import differing_requests, refuse_strangers
from sim.study.start_up import StartUp, common_start_up

SAME_WITHIN = 0.02
"""Relative differences of up to this are called none."""

GOODPUT = "request_goodput"
DEFAULT_METRICS = (
    "p50_ttft", "p99_ttft", "p50_tpot", "p99_tpot", "p99_itl", "p99_e2e", "request_throughput", GOODPUT,
)  # fmt: skip
"""What is compared where nobody says what; goodput where all have the same SLO."""

Watch = Callable[[int, int], None]
"""Hears how many runs are finished, and of how many."""


def compare(
    experiments: Sequence[Experiment],
    replications: int = COUNT,
    level: float = LEVEL,
    metrics: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    same_within: float = SAME_WITHIN,
    pool: Executor | None = None,
    on_done: Watch | None = None,
) -> Compared:
    """Compare every experiment with the first, each run under the first one's seed and the next ones.

    The runs take place in the processes of `pool`, or here. `labels` are names for people, those of the experiments if
    not given. Ctrl-C ends it early: the result then holds the replications that all have finished. Raises InputError
    where there is nothing to compare, KeyboardInterrupt where fewer than three replications are finished.
    """
    named = dict(zip(keys(len(experiments)), labels or [one.name for one in experiments], strict=True))
    keyed = dict(zip(named, experiments, strict=True))
    return run_comparison(plan_comparison(keyed, named, replications, level, metrics, same_within), pool, on_done)


@dataclass(frozen=True)
class Plan:
    """What to compare, found to be comparable. Dictionaries are by key: A is what B, C … are compared with."""

    experiments: Mapping[str, Experiment]
    labels: Mapping[str, str]
    count: int
    level: float
    metrics: tuple[str, ...]
    same_within: float
    notes: tuple[str, ...]


def keys(count: int) -> list[str]:
    """A, B, C … Z, A1, B1 …: what experiments are called in tables and sentences."""
    return [chr(ord("A") + index % 26) + str(index // 26 or "") for index in range(count)]


def plan_comparison(
    experiments: Mapping[str, Experiment],
    labels: Mapping[str, str],
    count: int,
    level: float,
    metrics: Sequence[str] | None,
    same_within: float = SAME_WITHIN,
) -> Plan:
    """Check everything before anything runs. Raises InputError."""
    check_pairs(count)
    check_level(level)
    check_same_within(same_within)
    names = {key: f"{key} ({label})" for key, label in labels.items()}
    if len(experiments) < 2:
        got = f"got one config ({', '.join(labels.values())})" if experiments else "got no config"
        raise InputError(f"compare: {got}, must be two or more; add one, or --vary KEY=VALUE,VALUE")
    _refuse_twins(experiments, names)
    first_key, first = next(iter(experiments.items()))
    seeded = {key: one.model_copy(update={"seed": first.seed}) for key, one in experiments.items()}
    for key, one in seeded.items():
        refuse_strangers(first, one, names[key], names[first_key])
    under_seeds(first, count)  # refuses what no seed changes
    chosen, why_not = _chosen_metrics(metrics, experiments)
    notes = (*_other_seeds(experiments, names), *why_not, *_different_requests(seeded))
    return Plan(seeded, dict(labels), count, level, chosen, same_within, notes)


def _other_seeds(experiments: Mapping[str, Experiment], names: Mapping[str, str]) -> Iterator[str]:
    first = next(iter(experiments.values()))
    for key, one in experiments.items():
        if one.seed != first.seed:
            yield f"{names[key]} has seed {one.seed}, but is run under those of A, from {first.seed} on"


def check_pairs(count: int, name: str = "replications") -> None:
    """Refuse fewer replications than an interval takes."""
    if count < LEAST_REPLICATIONS:
        least = f"must be at least {LEAST_REPLICATIONS}, for an interval"
        raise InputError(f"{name}: got {count}, {least}; {COUNT} are a good number")


def check_same_within(share: float, name: str = "same_within") -> None:
    """Refuse what is no share below 1."""
    if not 0 <= share < 1:
        raise InputError(f"{name}: got {share:g}, must be at least 0 and below 1, such as 0.02 for 2 %")


def check_metrics(metrics: Sequence[str], name: str = "metrics") -> None:
    """Refuse what is no metric, or none at all."""
    if not metrics:
        raise InputError(f"{name}: got none, must name at least one, such as p99_ttft; known: {', '.join(STUDIED)}")
    for metric in metrics:
        if metric not in STUDIED:
            raise InputError(f"{name}: unknown metric '{metric}'; {did_you_mean(metric, STUDIED)}")


def _refuse_twins(experiments: Mapping[str, Experiment], names: Mapping[str, str]) -> None:
    what = {key: _without(one.resolved(), "name", "seed", "slo") for key, one in experiments.items()}
    for one, other in combinations(experiments, 2):
        if what[one] == what[other]:
            raise InputError(
                f"{names[other]}: is the same experiment as {names[one]}, but for name, seed and slo, so they cannot "
                "differ; change a value of one, or drop it"
            )


def _without(values: Mapping[str, object], *left_out: str) -> dict[str, object]:
    return {key: value for key, value in values.items() if key not in left_out}


def _chosen_metrics(
    metrics: Sequence[str] | None, experiments: Mapping[str, Experiment]
) -> tuple[tuple[str, ...], list[str]]:
    """The metrics to compare, and a note on what is left out."""
    no_goodput = _no_goodput(list(experiments.values()))
    if metrics is None:
        left_out = no_goodput and any(one.slo for one in experiments.values())
        chosen = tuple(name for name in DEFAULT_METRICS if name != GOODPUT or not no_goodput)
        return chosen, [f"goodput is not compared: {no_goodput}"] if left_out else []
    check_metrics(metrics)
    if GOODPUT in metrics and no_goodput:
        raise InputError(f"metrics: {GOODPUT} cannot be compared: {no_goodput}")
    return tuple(dict.fromkeys(metrics)), []


def _no_goodput(experiments: Sequence[Experiment]) -> str | None:
    """Why there is no goodput to compare, and the remedy."""
    if any(one.slo != experiments[0].slo for one in experiments):
        return "not all have the same slo; give one to all, such as --set slo.p99_ttft=0.5"
    if not any(bounds_requests(name) for name in experiments[0].slo):
        return "there is no slo that bounds a request; give one, such as --set slo.p99_ttft=0.5"
    return None


def _different_requests(seeded: Mapping[str, Experiment]) -> list[str]:
    """A note on those that do not serve the same requests as the first, one for all that differ alike."""
    (_, first), *others = seeded.items()
    alike: dict[str, list[str]] = {}
    for key, other in others:
        if difference := differing_requests(first, other):
            alike.setdefault(difference, []).append(key)
    return [
        f"other requests than A's are served by {', '.join(found)}: {difference}; "
        "the more of them differ, the less pairing helps"
        for difference, found in alike.items()
    ]


# ---- from runs to differences ----------------------------------------------------------------------------------------


def run_comparison(plan: Plan, pool: Executor | None = None, on_done: Watch | None = None) -> Compared:
    """Run everything, leave start-up out alike of all, and compare. Raises as `compare`."""
    runs = PairedRuns({key: under_seeds(one, plan.count) for key, one in plan.experiments.items()})
    runs.run(pool, on_done)
    begun = common_start_up([one.workload for one in plan.experiments.values()], list(runs.outcomes.values()))
    systems = tuple(
        System(key, plan.labels[key], experiment, tuple(runs.outcomes[key]), instability(runs.outcomes[key]))
        for key, experiment in plan.experiments.items()
    )
    samples = {system.key: Sample(system.outcomes, begun.requests, begun.cool_down).values for system in systems}
    unstable = {system.key for system in systems if system.unstable}
    metrics = tuple(_metric(name, samples, unstable, plan) for name in plan.metrics)
    notes = (*plan.notes, *_notes_on_runs(systems, begun))
    return Compared(systems, metrics, plan.level, plan.same_within, plan.count, begun, runs.interrupted, notes)


def _notes_on_runs(systems: Sequence[System], begun: StartUp) -> Iterator[str]:
    for system in systems:
        lost, sent = (sum(one.summary[key] for one in system.outcomes) for key in ("failed", "num_prompts"))
        if lost:
            yield f"{system.key} loses {lost / sent:.1%} of its requests, which have no latency; compare goodput"
        verdicts = verdicts_of(system.outcomes)
        if system.unstable:
            yield f"{system.key} has no intervals: {system.unstable}"
        elif "unstable" in verdicts:
            yield (
                f"the queue of {system.key} looks unstable in {verdicts['unstable']} of {len(system.outcomes)} "
                "replications: the load is close to what it carries; raise workload.num_requests to be sure"
            )
    if begun.endless:
        yield f"whole runs are compared, both ends included: {begun.endless}"


def _metric(name: str, samples: Mapping[str, Mapping[str, Values]], unstable: set[str], plan: Plan) -> Metric:
    """A metric of every system and its differences from the first; reasons in place of what there is not."""
    values = {key: sample.get(name, ()) for key, sample in samples.items()}
    why_not = {key: why for key in values if (why := _why_not(key, values[key], unstable))}
    intervals: dict[str, Interval | str] = {
        key: why_not[key] if key in why_not else _interval(_known(values[key]), plan.level) for key in values
    }
    first, *others = values
    reasons = {key: why_not.get(first) or why_not.get(key) for key in others}
    pairs = {key: _known(values[key]) for key in others if not reasons[key]}
    found = _differences(_known(values[first]), pairs, plan)
    means = {key: sum(known) / len(known) if (known := _known(values[key])) else None for key in values}
    return Metric(name, means, intervals, {key: found[key] if key in found else str(reasons[key]) for key in others})


def _why_not(key: str, values: Values, unstable: set[str]) -> str | None:
    if key in unstable:
        return f"the queue of {key} is unstable"
    if not values:
        return f"{key} does not have it"
    if None in values:
        return f"{key} has it in {len(_known(values))} of {len(values)} runs only"
    return None


def _interval(values: Sequence[float], level: float) -> Interval | str:
    found = mean_interval(values, level)
    return found if isinstance(found, Interval) else str(found)


def _known(values: Values) -> list[float]:
    return [value for value in values if value is not None]


def _differences(
    first: Sequence[float], others: Mapping[str, Sequence[float]], plan: Plan
) -> dict[str, Difference | str]:
    corrected = holm({key: paired_p_value(first, values) for key, values in others.items()})
    found = compare_all(first, others, plan.level, plan.same_within)
    return {
        key: str(one)
        if isinstance(one, Refused)
        else Difference(one, corrected[key], _verdict(one, corrected[key], plan))
        for key, one in found.items()
    }


def _verdict(found: Comparison, p_value: float, plan: Plan) -> Verdict:
    """That of the interval; where it holds for several at once and cannot tell, Holm's test may."""
    if found.verdict != "unknown" or p_value >= 1 - plan.level:
        return found.verdict
    return "higher" if found.difference.value > 0 else "lower"
