"""Where a run's requests come from: a workload description to requests in time order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.errors import InputError
from sim.specs.cost import PerRequestCost
from sim.specs.engine import EngineSpec
from sim.specs.experiment import Experiment
from sim.specs.request import Request
from sim.specs.workload import DiurnalArrivals, PiecewiseArrivals
from sim.streams import stream
from sim.workload.arrivals import draw_arrivals
from sim.workload.lengths import draw_durations, draw_lengths
from sim.workload.traces import read_trace

CLOCK_RESOLUTION_S = 1e-6


@dataclass(frozen=True)
class Workload:
    """All requests of a run as columns, in arrival order; arrays of equal length, seconds and tokens."""

    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    priority: NDArray[np.int64]
    service_s: NDArray[np.float64] | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.arrival_s)

    def __iter__(self) -> Iterator[Request]:
        services = [None] * len(self) if self.service_s is None else self.service_s.tolist()
        columns = (self.arrival_s, self.prompt_tokens, self.output_tokens, self.priority)
        rows = zip(*(column.tolist() for column in columns), services, strict=True)
        for index, (arrival_s, prompt, output, priority, service_s) in enumerate(rows):
            yield Request(index, arrival_s, prompt, output, priority, service_s)


def build_workload(experiment: Experiment) -> Workload:
    """The requests an experiment describes. Raises InputError for one that could never be served."""
    workload = _from_trace(experiment) if experiment.workload.trace else _generated(experiment)
    last_s = workload.arrival_s[-1]
    if not np.spacing(last_s) < CLOCK_RESOLUTION_S:
        knob = "trace.time_scale: lower it" if experiment.workload.trace else "arrivals.rate: raise it"
        if isinstance(experiment.workload.arrivals, (PiecewiseArrivals, DiurnalArrivals)):
            knob = "arrivals: raise the rate"
        raise InputError(f"workload.{knob}; arrivals up to {last_s:.3g} s are too far out for a clock of microseconds")
    return workload


def _generated(experiment: Experiment) -> Workload:
    spec, seed, engine = experiment.workload, experiment.seed, experiment.engine
    assert spec.arrivals is not None
    assert spec.lengths is not None
    assert spec.num_requests is not None
    count = spec.num_requests
    prompts, outputs, redrawn = draw_lengths(spec.lengths, count, engine, seed)
    limit = engine.longest_sequence_tokens
    note = f"{redrawn} of {count} length pairs exceeded {limit} tokens and were drawn again, until they fitted"
    return Workload(
        arrival_s=draw_arrivals(spec.arrivals, count, stream(seed, "arrivals")),
        prompt_tokens=prompts,
        output_tokens=outputs,
        priority=_priorities(spec.priorities, count, stream(seed, "priorities")),
        service_s=_services(experiment, count),
        notes=(note,) if redrawn else (),
    )


def _from_trace(experiment: Experiment) -> Workload:
    spec = experiment.workload
    assert spec.trace is not None
    trace = read_trace(spec.trace, experiment.seed)
    rows = _head(trace.table, spec.num_requests, spec.trace.path)
    outputs, cut = _fit_trace_lengths(rows, experiment.engine, spec.trace.path)
    notes = [*trace.notes]
    if trace.block_tokens is not None:
        notes.append(
            "the trace tells which prompts share a prefix; prefix caching is not modelled, so that is not used"
        )
    if cut:
        notes.append(f"{cut} of {len(rows)} outputs were cut where prompt plus output reached max_model_len")
    return Workload(
        arrival_s=rows["arrival_s"].to_numpy(),
        prompt_tokens=rows["prompt_tokens"].to_numpy(),
        output_tokens=outputs,
        priority=rows["priority"].to_numpy(),
        service_s=_services(experiment, len(rows)),
        notes=tuple(notes),
    )


def _head(rows: pd.DataFrame, count: int | None, path: str) -> pd.DataFrame:
    """The first `count` rows, all if None."""
    if count is not None and count > len(rows):
        raise InputError(
            f"workload.num_requests: got {count}, but {path} holds {len(rows)}; "
            "lower it or drop the line to use the whole trace"
        )
    return rows.iloc[:count]


def _fit_trace_lengths(rows: pd.DataFrame, engine: EngineSpec, path: str) -> tuple[NDArray[np.int64], int]:
    """Outputs cut at the model length, and how many were; a prompt or sequence that cannot be served is refused."""
    prompts, outputs = rows["prompt_tokens"].to_numpy(), rows["output_tokens"].to_numpy()
    length, holds = engine.resolved_max_model_len, engine.usable_blocks * engine.block_size
    too_long = np.flatnonzero(prompts >= length)
    if len(too_long):
        row = too_long[0]
        raise InputError(
            f"{path}, line {rows.index[row]}: a prompt of {prompts[row]} tokens leaves no room for output "
            f"below engine.max_model_len {length}; raise max_model_len above {prompts.max()} or remove such rows"
        )
    fitted = np.minimum(outputs, length - prompts)
    too_big = np.flatnonzero(prompts + fitted > holds)
    if len(too_big):
        row = too_big[0]
        raise InputError(
            f"{path}, line {rows.index[row]}: {prompts[row]} prompt and {fitted[row]} output tokens exceed all "
            f"KV memory ({holds} tokens); raise engine.num_gpu_blocks or gpu_memory_utilization, or remove such rows"
        )
    return fitted, int((fitted < outputs).sum())


def _priorities(shares: dict[int, float] | None, count: int, random: np.random.Generator) -> NDArray[np.int64]:
    if shares is None:
        return np.zeros(count, dtype=np.int64)
    weights = np.array(list(shares.values()))
    return random.choice(np.array(list(shares)), size=count, p=weights / weights.sum())


def _services(experiment: Experiment, count: int) -> NDArray[np.float64] | None:
    if not isinstance(experiment.cost, PerRequestCost):
        return None
    return draw_durations(experiment.cost.service_s, count, stream(experiment.seed, "services"))
