"""Where a run's requests come from: a workload description to requests in time order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.errors import InputError
from sim.specs.cost import PerRequestCost
from sim.specs.engine import EngineSpec
from sim.specs.experiment import Experiment
from sim.specs.workload import ClosedLoop, DiurnalArrivals, OutputPredictor, PiecewiseArrivals, WorkloadSpec
from sim.streams import stream
from sim.workload.generated import generate
from sim.workload.lengths import draw_durations, lognormal
from sim.workload.traces import read_trace
from sim.workload.workload import Workload

CLOCK_RESOLUTION_S = 1e-6


def build_workload(experiment: Experiment) -> Workload:
    """The requests an experiment describes. Raises InputError for one that could never be served."""
    workload = _from_trace(experiment) if experiment.workload.trace else generate(experiment)
    table = _predicted(workload.table, experiment)
    if isinstance(experiment.cost, PerRequestCost):
        services = stream(experiment.seed, "services")
        table["service_s"] = draw_durations(experiment.cost.service_s, len(table), services)
    if experiment.workload.patience_s is not None:
        patience = stream(experiment.seed, "patience")
        table["patience_s"] = draw_durations(experiment.workload.patience_s, len(table), patience)
    _check_clock(experiment.workload, workload)
    return replace(workload, table=table, notes=(*workload.notes, *_limit_notes(table)))


def _check_clock(spec: WorkloadSpec, workload: Workload) -> None:
    """Refuse arrivals so late that a float no longer tells microseconds apart."""
    last_s, pauses_s = _last_arrival_s(workload)
    if np.spacing(last_s + pauses_s) < CLOCK_RESOLUTION_S:
        return
    match spec.arrivals:
        case _ if pauses_s > last_s:
            knob = "conversations.think_time_s: lower it"
        case None:
            knob = "trace.time_scale: lower it"
        case ClosedLoop():
            knob = "arrivals.think_time_s: lower it"
        case PiecewiseArrivals() | DiurnalArrivals():
            knob = "arrivals: raise the rate"
        case _:
            knob = "arrivals.rate: raise it"
    last_s += pauses_s
    raise InputError(f"workload.{knob}; arrivals up to {last_s:.3g} s are too far out for a clock of microseconds")


def _last_arrival_s(workload: Workload) -> tuple[float, float]:
    """About when the last request comes if all are answered at once: when somebody starts, and pauses in between."""
    table, turn_taking = workload.table, workload.turn_taking
    if workload.users is not None and workload.think_s is not None:
        return float(workload.think_s.sum() / workload.users), 0.0
    if turn_taking is None:
        return float(table["arrival_s"].iloc[-1]), 0.0
    is_first = (table["turn"] == 1).to_numpy()
    if turn_taking.users is not None:
        starts_s, pauses_s = (turn_taking.pause_s[which].sum() / turn_taking.users for which in (is_first, ~is_first))
        return float(starts_s), float(pauses_s)
    pauses_s = pd.Series(turn_taking.pause_s).groupby(table["session_id"]).sum().max()
    return float(table["arrival_s"].max()), float(pauses_s)


def _from_trace(experiment: Experiment) -> Workload:
    """The requests of a trace, whose blocks matter only to a prefix cache."""
    spec, caches = experiment.workload, experiment.engine.enable_prefix_caching
    assert spec.trace is not None
    trace = read_trace(spec.trace, experiment.seed)
    rows = _limited(_head(trace.table, spec.num_requests, spec.trace.path), spec.max_new_tokens)
    outputs, cut = _fit_trace_lengths(rows, experiment.engine, spec.trace.path)
    notes = [*trace.notes]
    if trace.block_tokens is not None and not caches:
        notes.append("the trace tells which prompts share a prefix; engine.enable_prefix_caching is off")
    if cut:
        notes.append(f"{cut} of {len(rows)} outputs were cut where prompt plus output reached max_model_len")
    table = rows.assign(output_tokens=outputs).reset_index(drop=True)
    return Workload(table, notes=tuple(notes), block_tokens=trace.block_tokens if caches else None)


# ---- what is known of an answer before it is given ------------------------------------------------------------------


def _limited(rows: pd.DataFrame, max_new_tokens: int | None) -> pd.DataFrame:
    """A trace's requests with the limit that each sets on its answer, which ends there."""
    if max_new_tokens is not None:
        _refuse_twice("max_new_tokens", "max_new_tokens", rows)
        rows = rows.assign(max_new_tokens=max_new_tokens)
    if "max_new_tokens" not in rows:
        return rows
    return rows.assign(output_tokens=rows[["output_tokens", "max_new_tokens"]].min(axis=1))


def _limit_notes(table: pd.DataFrame) -> list[str]:
    if "max_new_tokens" not in table:
        return []
    ended = int((table["output_tokens"] == table["max_new_tokens"]).sum())
    return [f"{ended} of {len(table)} outputs end at max_new_tokens"] if ended else []


def _predicted(table: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """With predicted lengths of answers, where that is asked for."""
    predictor = experiment.workload.output_predictor
    if predictor is not None:
        _refuse_twice("output_predictor", "predicted_output_tokens", table)
        predicted = _predict(table["output_tokens"], predictor, experiment.seed)
        table = table.assign(predicted_output_tokens=predicted)
    if experiment.engine.order == "shortest_predicted" and "predicted_output_tokens" not in table:
        raise InputError(
            "workload.output_predictor: is missing, but engine.order shortest_predicted needs predicted lengths; "
            "give {error_cv: 0} for perfect ones, or a csv or jsonl trace with predicted_output_tokens"
        )
    return table


def _predict(outputs: pd.Series[int], predictor: OutputPredictor, seed: int) -> NDArray[np.int64]:
    random = stream(seed, "output_predictor")
    error = lognormal(1.0, predictor.error_cv, len(outputs), random) if predictor.error_cv else 1.0
    predicted: NDArray[np.int64] = np.maximum(np.rint(outputs.to_numpy() * error), 1).astype(np.int64)
    return predicted


def _refuse_twice(key: str, column: str, table: pd.DataFrame) -> None:
    if column in table:
        raise InputError(f"workload.{key}: the trace has its own column {column}; drop one of them")


# ---- a trace's lengths against the engine's limits ---------------------------------------------------------------


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
    length, holds = engine.resolved_max_model_len, engine.longest_sequence_tokens
    too_long = np.flatnonzero(prompts >= length)
    if len(too_long):
        row = too_long[0]
        raise InputError(
            f"{path}, line {rows.index[row]}: a prompt of {prompts[row]} tokens leaves no room for output "
            f"below engine.max_model_len {length}; raise max_model_len above {prompts.max()} or remove such rows "
            f"({len(too_long):,} of {len(rows):,})"
        )
    fitted = np.minimum(outputs, length - prompts)
    too_big = np.flatnonzero(prompts + fitted > holds)
    if len(too_big):
        row = too_big[0]
        raise InputError(
            f"{path}, line {rows.index[row]}: {prompts[row]} prompt and {fitted[row]} output tokens exceed "
            f"the KV memory of a request ({holds} tokens); raise engine.num_gpu_blocks or gpu_memory_utilization, or "
            f"remove such rows ({len(too_big):,} of {len(rows):,})"
        )
    return fitted, int((fitted < outputs).sum())
