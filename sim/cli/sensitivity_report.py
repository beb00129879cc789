"""Elasticities as a person reads them in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from sim.cli.compare_report import plus_minus
from sim.cli.format import empty_table, seconds
from sim.stats.interval import Interval
from sim.study.compare_words import spoken
from sim.study.sensitivity.result import Found, Measure, Sensitivity


def print_sensitivity(console: Console, found: Sensitivity) -> None:
    """A table, a row an input, those first that matter most for the first metric; then what each metric is."""
    first = next(iter(found.elasticities))
    shown = empty_table(
        f"{found.experiment.name}: % of change per % of change of an input",
        ["input"],
        ["value", *(spoken(name) for name in found.elasticities)],
    )
    for one in found.ranked(first):
        cells = (_cell(by_input[one.key]) for by_input in found.elasticities.values())
        shown.add_row(escape(one.label), f"{one.value:.6g}", *cells)
    console.print(shown)
    console.print(
        f"Each input lower and higher by {100 * found.step:g} %, {len(found.seeds)} replications paired by seed; ± and "
        f"\\[low, high] are {100 * found.level:g} % intervals, and what lies within ± of 0 may be nothing.",
        highlight=False,
    )
    for measure in found.measures:
        console.print(escape(_sentence(measure)), highlight=False)
    for name, by_input in found.elasticities.items():
        reasons: dict[str, list[str]] = {}
        for key, elasticity in by_input.items():
            if isinstance(elasticity, str):
                reasons.setdefault(elasticity, []).append(key)
        for why, keys in reasons.items():
            console.print(escape(f"{spoken(name)}, no elasticity to {', '.join(keys)}: {why}"), highlight=False)


def _cell(found: Found) -> str:
    return plus_minus(found, "+") if isinstance(found, Interval) else "-"


def _sentence(measure: Measure) -> str:
    """`P99 TTFT 0.42 s [0.40, 0.44] from sampling, [0.33, 0.58] with the cost model's own error`."""
    name, value, wider = spoken(measure.name), measure.value, measure.with_model_error
    if not isinstance(value, Interval):
        return f"{name}: no interval, {value}"
    told = f"{name} {seconds(value.value)} s {_range(value)} from sampling"
    if not isinstance(wider, Interval):
        return f"{told}; with the cost model's own error: {wider}"
    return f"{told}, {_range(wider)} with the cost model's own error"


def _range(interval: Interval) -> str:
    return f"[{interval.low:.3g}, {interval.high:.3g}]"
