"""Where a run's requests come from: a workload description to requests in time order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError
from sim.specs.cost import PerRequestCost
from sim.specs.engine import EngineSpec
from sim.specs.experiment import Experiment
from sim.specs.request import Request
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
    trace = read_trace(spec.trace)
    if spec.num_requests is not None:
        if spec.num_requests > len(trace):
            raise InputError(
                f"workload.num_requests: got {spec.num_requests}, but {spec.trace.path} holds {len(trace)}; "
                "lower it or drop the line to use the whole trace"
            )
        trace = trace.iloc[: spec.num_requests]
    prompts, outputs = trace["prompt_tokens"].to_numpy(), trace["output_tokens"].to_numpy()
    outputs, cut = _fit_trace_lengths(prompts, outputs, experiment.engine, spec.trace.path)
    note = f"{cut} of {len(trace)} outputs were cut where prompt plus output reached max_model_len, as an engine does"
    return Workload(
        arrival_s=trace["arrival_s"].to_numpy(),
        prompt_tokens=prompts,
        output_tokens=outputs,
        priority=trace["priority"].to_numpy(),
        service_s=_services(experiment, len(trace)),
        notes=(note,) if cut else (),
    )


def _fit_trace_lengths(
    prompts: NDArray[np.int64], outputs: NDArray[np.int64], engine: EngineSpec, path: str
) -> tuple[NDArray[np.int64], int]:
    """Outputs cut at the model length, and how many were; a prompt or sequence that cannot be served is refused."""
    length, holds = engine.resolved_max_model_len, engine.usable_blocks * engine.block_size
    too_long = np.flatnonzero(prompts >= length)
    if len(too_long):
        raise InputError(
            f"{path}, line {too_long[0] + 2}: a prompt of {prompts[too_long[0]]} tokens leaves no room for output "
            f"below engine.max_model_len {length}; raise max_model_len above {prompts.max()} or remove such rows"
        )
    fitted = np.minimum(outputs, length - prompts)
    too_big = np.flatnonzero(prompts + fitted > holds)
    if len(too_big):
        row = too_big[0]
        raise InputError(
            f"{path}, line {row + 2}: {prompts[row]} prompt and {fitted[row]} output tokens exceed all KV memory "
            f"({holds} tokens); raise engine.num_gpu_blocks or gpu_memory_utilization, or remove such rows"
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
