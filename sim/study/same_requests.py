"""Do two experiments serve the same requests? Pairing them seed by seed helps as far as they do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.specs.workload import IndependentLengths, Lengths, WorkloadSpec
from sim.workload.source import build_workload
from sim.workload.workload import Workload

IN_WORDS = {
    "arrival_s": "arrival times",
    "prompt_tokens": "prompt lengths",
    "output_tokens": "answer lengths",
    "turn": "turns",
    "service_s": "service times",
}
"""What makes requests the same; priorities, tenants and what a cache knows of them are how they are treated."""


def refuse_strangers(first: Experiment, other: Experiment, name: str, first_name: str) -> None:
    """Refuse to pair experiments that draw nothing alike: neither the way requests arrive nor the way lengths are."""
    one, two = first.workload, other.workload
    if one.trace and two.trace and one.trace.path == two.trace.path:
        return
    generated = not (one.trace or two.trace)
    if generated and (_arrivals(one) == _arrivals(two) or not _lengths(one.lengths).isdisjoint(_lengths(two.lengths))):
        return
    raise InputError(
        f"{name}: shares no requests with {first_name}: it has {_traffic(two)}, {first_name} has {_traffic(one)}, so "
        "there is nothing to pair; give both the same workload section, or look at each by itself with "
        "servesim run --replications"
    )


def differing_requests(first: Experiment, other: Experiment) -> str | None:
    """In which of its requests `other` differs from `first` under the seed of each, in words; None if in none."""
    one, two = build_workload(first), build_workload(other)
    parts = [f"{len(two):,} requests, not {len(one):,}"] if len(one) != len(two) else []
    parts += [f"{what} differ in {share:.1%} of the requests" for what, share in _shares(one, two) if share]
    return ", ".join(parts) or None


def _arrivals(workload: WorkloadSpec) -> str:
    return "a trace" if workload.arrivals is None else workload.arrivals.process


def _lengths(lengths: Lengths | None) -> set[str]:
    """Names of the random numbers drawn: two of one name come from the same stream in the same way."""
    match lengths:
        case None:
            return set()
        case IndependentLengths():
            return {f"{lengths.prompt.distribution} prompts", f"{lengths.output.distribution} answers"}
        case of_both:
            return {of_both.distribution}


def _traffic(workload: WorkloadSpec) -> str:
    if workload.trace is not None:
        return f"the trace {workload.trace.path}"
    return f"{_arrivals(workload)} arrivals with lengths of {' and '.join(sorted(_lengths(workload.lengths)))}"


def _shares(one: Workload, two: Workload) -> Iterator[tuple[str, float]]:
    """The share of the requests that both have in which something differs."""
    common = min(len(one), len(two))
    heads = one.table.iloc[:common], two.table.iloc[:common]
    for column, what in IN_WORDS.items():
        yield what, _share(*(head.get(column) for head in heads))
    pauses = [
        workload.think_s if workload.turn_taking is None else workload.turn_taking.pause_s for workload in (one, two)
    ]
    yield "pauses", _share(*(None if pause_s is None else pd.Series(pause_s[:common]) for pause_s in pauses))


def _share(one: pd.Series[float] | None, two: pd.Series[float] | None) -> float:
    if one is None or two is None:
        return float((one is None) != (two is None))
    count = min(len(one), len(two))
    same = np.isclose(one.to_numpy(float)[:count], two.to_numpy(float)[:count], rtol=0, atol=0, equal_nan=True)
    return float(1 - same.mean())
