"""Precision that is asked for: `p99_ttft:5%` wants an interval whose half-width is within 5 % of its value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.errors import InputError, did_you_mean
from sim.specs.experiment import Experiment
from sim.specs.metric_names import bounds_requests, metric_of
from sim.stats.interval import Refused
from sim.stats.needed import batch_size_for_quantile
from sim.stats.sequential import progress
from sim.study.across_runs import Sample, percent_of, remedy
from sim.study.replicate import PER_REQUEST, STUDIED
from sim.study.start_up import changes_over_time

EXAMPLE = "such as p99_ttft:5% or mean_e2e:2%,output_throughput:1%"


@dataclass(frozen=True)
class Target:
    """A metric, and the share of its value that the half-width may be."""

    name: str
    share: float


@dataclass(frozen=True)
class Aim:
    """A target after some replications. `reached` is the share so far, None where there is no interval.

    `more` replications are to run before the next look, 0 where it is met; `needed` in all would do, if that can be
    told. `hopeless` is the reason why no number of replications would.
    """

    target: Target
    reached: float | None
    more: int
    needed: int | None
    hopeless: str | None = None

    @property
    def met(self) -> bool:
        """Whether the interval is narrow enough."""
        return not self.more and self.hopeless is None


def parse_targets(text: str) -> tuple[Target, ...]:
    """Targets from `p99_ttft:5%,mean_e2e:2%`."""
    targets = tuple(_parse(part.strip()) for part in text.split(","))
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise InputError(f"--until '{text}': names a metric twice; drop one")
    return targets


def _parse(text: str) -> Target:
    name, colon, wanted = text.partition(":")
    if not colon:
        raise InputError(f"--until '{text}': must be METRIC:PERCENT, several separated by commas, {EXAMPLE}")
    if name not in STUDIED:
        raise InputError(f"--until '{text}': unknown metric '{name}'; {did_you_mean(name, STUDIED)}")
    number, sign, rest = wanted.strip().partition("%")
    try:
        percent = float(number)
    except ValueError:
        percent = 0.0
    if not 0 < percent < 100 or not sign or rest:
        raise InputError(f"--until '{text}': got '{wanted}', must be a percentage above 0% and below 100%, {EXAMPLE}")
    return Target(name, percent / 100)


def check_targets(experiment: Experiment, targets: Sequence[Target]) -> None:
    """Refuse targets that no number of replications of this experiment would meet."""
    for target in targets:
        _check_goodput(experiment, target)
        percent, requests = percent_of(target.name), experiment.workload.num_requests
        if percent is None or metric_of(target.name) not in PER_REQUEST or requests is None:
            continue
        if changes_over_time(experiment.workload) is not None:
            continue
        least = batch_size_for_quantile(percent / 100)
        if requests < least:
            raise InputError(
                f"--until '{target.name}': a P{percent} takes {least:,} requests in each replication, beside those of "
                f"its start-up, and workload.num_requests is {requests:,}; raise it, such as --set "
                f"workload.num_requests={least + least // 5}, or aim at a lower percentile or the mean"
            )


def _check_goodput(experiment: Experiment, target: Target) -> None:
    if target.name == "request_goodput" and not any(bounds_requests(name) for name in experiment.slo):
        raise InputError(
            "--until 'request_goodput': without an SLO there is no goodput; give one, such as --set slo.p99_ttft=0.5"
        )


def aim_at(target: Target, sample: Sample, level: float) -> Aim:
    """How far the replications so far are from a target."""
    if target.name not in sample.values:
        return Aim(target, None, 0, None, f"there is no {target.name} in these runs")
    interval = sample.interval(target.name, level)
    values = [value for value in sample.values[target.name] if value is not None]
    if isinstance(interval, Refused):
        percent = percent_of(target.name)
        too_short = percent is not None and interval.have < batch_size_for_quantile(percent / 100)
        return Aim(target, None, 0 if too_short else len(values), None, remedy(interval) if too_short else None)
    reached = interval.relative_half_width
    if reached <= target.share:
        return Aim(target, reached, 0, None)
    planned = progress(values, target.share, level)
    more = max(1, planned.more)
    return Aim(target, reached, more, planned.needed and max(planned.needed, len(values) + more))
