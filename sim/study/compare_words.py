"""What a comparison found, in sentences: `B lowers P99 TTFT by 18 % [12, 24]; goodput unchanged within ±2 %.`"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sim.specs.metric_names import metric_of
from sim.stats.interval import Interval
from sim.stats.paired import Comparison, Verdict
from sim.study.compared import Compared, Difference, Metric, System

Told = tuple[Metric, Difference]

SPOKEN = {
    "request_throughput": "request throughput",
    "output_throughput": "output throughput",
    "request_goodput": "goodput",
}
METRICS_SPOKEN = {"max_itl": "longest ITL", "queue": "queueing time"}


def sentences(compared: Compared) -> list[str]:
    """One for each system that is compared with the first."""
    first, *others = compared.systems
    if first.unstable:
        return [f"Nothing can be compared with {first.key}, whose queue is unstable; lower the load of all."]
    return [_sentence(compared, system) for system in others]


def spoken(name: str) -> str:
    """`P99 TTFT` for `p99_ttft`."""
    if name in SPOKEN:
        return SPOKEN[name]
    statistic, metric = name.partition("_")[0], metric_of(name)
    statistic = statistic.upper() if statistic[1:].isdigit() else statistic
    return f"{statistic} {METRICS_SPOKEN.get(metric, metric.upper())}"


def percent_interval(interval: Interval, sign: str = "+") -> str:
    """`+18 % [+12, +24]`, to digits that its width is worth; `sign` as in format specifications, `-` for none."""
    value, low, high = (100 * number for number in (interval.value, interval.low, interval.high))
    half_width = 100 * interval.half_width
    digits = 0 if half_width >= 1 or (not half_width and abs(value) >= 10) else 1 if half_width >= 0.1 else 2
    value_text, low_text, high_text = (_signed(number, digits, sign) for number in (value, low, high))
    return f"{value_text} % [{low_text}, {high_text}]"


def _signed(number: float, digits: int, sign: str) -> str:
    """Without a minus before nothing."""
    rounded = round(number, digits) + 0.0
    return f"{rounded:{sign if rounded else '-'},.{digits}f}"


def _sentence(compared: Compared, system: System) -> str:
    if system.unstable:
        return f"{system.key} cannot be compared: its queue is unstable."
    found = [(metric, metric.differences[system.key]) for metric in compared.metrics]
    told = [(metric, one) for metric, one in found if isinstance(one, Difference)]
    changes = [*_changes(told, "lower", "lowers"), *_changes(told, "higher", "raises")]
    rest = [f"{spoken(metric.name)}: {one}" for metric, one in found if isinstance(one, str)]
    parts = [*changes, *_unchanged(told, compared.same_within), *rest]
    return f"{system.key}{'' if changes else ':'} {'; '.join(parts)}."


def _changes(told: Sequence[Told], verdict: Verdict, verb: str) -> Iterator[str]:
    """`lowers P99 TTFT by 18 % [12, 24] and …`, if anything is."""
    which = [(metric, one.found) for metric, one in told if one.verdict == verdict]
    if which:
        amounts = [f"{spoken(metric.name)} by {_amount(metric, one, verdict)}" for metric, one in which]
        yield f"{verb} {listed(amounts)}"


def _unchanged(told: Sequence[Told], same_within: float) -> Iterator[str]:
    """What does not differ, and what the replications cannot tell."""
    same = [spoken(metric.name) for metric, one in told if one.verdict == "same"]
    if same:
        yield f"{listed(same)} unchanged within ±{100 * same_within:g} %"
    unknown = [(metric, one.found) for metric, one in told if one.verdict == "unknown"]
    if unknown:
        amounts = [f"{spoken(metric.name)} ({_amount(metric, one, 'unknown')})" for metric, one in unknown]
        yield f"no difference shown in {listed(amounts)}"


def _amount(metric: Metric, found: Comparison, verdict: Verdict) -> str:
    """The relative difference; the absolute one from 0, and where it is surer; without a sign where a verb has it."""
    sign = "+" if verdict == "unknown" else "-"
    relative, absolute = found.relative, found.difference
    if relative is not None and (verdict == "unknown" or 0 not in relative or 0 in absolute):
        return percent_interval(turned(relative) if verdict == "lower" else relative, sign)
    shown = turned(absolute) if verdict == "lower" else absolute
    return f"{shown.value:{sign}.3g} {metric.unit} [{shown.low:{sign}.3g}, {shown.high:{sign}.3g}]"


def turned(interval: Interval) -> Interval:
    """The same seen from the other side."""
    one = interval
    return Interval(-one.value, -one.high, -one.low, one.level, one.n_effective, one.method)


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
