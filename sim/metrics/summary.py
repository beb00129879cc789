"""The numbers of a run: vLLM's benchmark keys at top level, ours (seconds, shares, reasons) under `sim`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd

from sim.metrics.closed_loop import closed_loop
from sim.metrics.distributions import distributions
from sim.metrics.drafts import spec_decode
from sim.metrics.engine_use import batch_use, kv_use, step_time_use
from sim.metrics.finished_run import FinishedRun
from sim.metrics.groups import groups
from sim.metrics.latency import PERCENTILES, latency_metrics
from sim.metrics.ratio import ratio
from sim.metrics.stability import stability
from sim.metrics.throughput import max_output_tokens_per_s, peak_in_system, throughput
from sim.metrics.utilisation import cost, utilisation
from sim.serving.simulation import RunLog
from sim.specs.experiment import Experiment
from sim.specs.metric_names import bounds_requests, metric_of
from sim.specs.workload import AllAtOnce, Arrivals, ClosedLoop, GammaArrivals, PoissonArrivals

VLLM_METRICS = {"ttft": "ttft", "tpot": "tpot", "itl": "itl", "e2el": "e2e"}
"""vLLM's metric names, and ours."""


def summarise(run: FinishedRun) -> dict[str, Any]:
    """The content of `summary.json`, but for the audit, which is added when it has passed."""
    experiment, log, requests, duration_s = run.experiment, run.log, run.requests, run.duration_s
    metrics = latency_metrics(requests, run.gaps.sample)
    attained, totals = _good_requests(requests, experiment.slo), log.recorder.totals
    drafts = experiment.engine.num_speculative_tokens
    return {
        **_vllm_header(experiment, log, requests, duration_s),
        "request_goodput": None if attained is None else ratio(int(attained.sum()), duration_s),
        "max_output_tokens_per_s": max_output_tokens_per_s(requests, run.gaps, log.recorder.start_s),
        "max_concurrent_requests": peak_in_system(requests),
        **_vllm_latencies(metrics),
        **(spec_decode(totals.rounds, drafts) if drafts else {}),
        "sim": {
            "name": experiment.name,
            "seed": experiment.seed,
            "interrupted": log.interrupted,
            "metrics": metrics,
            "groups": groups(requests),
            "requests": distributions(requests),
            "throughput": throughput(requests, log.recorder.unserved.arrays()["arrival_s"], duration_s),
            "failed": {"refused": totals.refused, "abandoned": totals.abandoned},
            "slo": _slo_report(metrics, experiment.slo, attained, totals.lost),
            "stability": stability(requests, experiment.workload),
            "closed_loop": closed_loop(run.workload, requests),
            "batch": batch_use(run),
            "kv_cache": kv_use(run),
            "step_time": step_time_use(run.spent, run.busy_s),
            "utilisation": utilisation(experiment, run.spent, run.busy_s, duration_s),
            "cost": cost(experiment, int(requests["output_tokens"].sum()), duration_s),
            "notes": [*experiment.notes, *run.workload.notes],
            "performance": _performance(run),
        },
    }


def _vllm_header(experiment: Experiment, log: RunLog, requests: pd.DataFrame, duration_s: float) -> dict[str, Any]:
    prompt_tokens, output_tokens = int(requests["prompt_tokens"].sum()), int(requests["output_tokens"].sum())
    arrivals, totals = experiment.workload.arrivals, log.recorder.totals
    return {
        "date": datetime.now(UTC).strftime("%Y%m%d-%H%M%S"),
        "backend": "servesim",
        "model_id": experiment.model.name,
        "tokenizer_id": experiment.model.name,
        "num_prompts": totals.arrivals + totals.refused,
        "request_rate": "inf" if isinstance(arrivals, AllAtOnce | ClosedLoop) else experiment.workload.offered_rate,
        "burstiness": _burstiness(arrivals),
        "max_concurrency": arrivals.users if isinstance(arrivals, ClosedLoop) else None,
        "duration": duration_s,
        "completed": len(requests),
        "failed": totals.lost,
        "total_input_tokens": prompt_tokens,
        "total_output_tokens": output_tokens,
        "request_throughput": ratio(len(requests), duration_s),
        "output_throughput": ratio(output_tokens, duration_s),
        "total_token_throughput": ratio(prompt_tokens + output_tokens, duration_s),
    }


def _burstiness(arrivals: Arrivals | None) -> float | None:
    """vLLM's word for the shape of gamma gaps: 1 is Poisson, less is burstier; None for other arrivals."""
    match arrivals:
        case PoissonArrivals():
            return 1.0
        case GammaArrivals():
            return 1 / arrivals.cv**2
    return None


def _vllm_latencies(metrics: dict[str, float | None]) -> dict[str, float | None]:
    """`mean_ttft_ms`, `median_ttft_ms`, `p99_e2el_ms` …: milliseconds under vLLM's names."""
    statistics = {"mean": "mean", "median": "p50", "std": "std"} | {f"p{p}": f"p{p}" for p in PERCENTILES}
    found = {}
    for their_metric, metric in VLLM_METRICS.items():
        for theirs, ours in statistics.items():
            value = metrics[f"{ours}_{metric}"]
            found[f"{theirs}_{their_metric}_ms"] = None if value is None else value * 1e3
    return found


def _good_requests(requests: pd.DataFrame, slo: dict[str, float]) -> pd.Series[bool] | None:
    """Which requests keep every SLO's limit as their own; TPOT of one token is 0.

    A limit on ITL, on a minimum or on a standard deviation says nothing of a single request and is left out.
    """
    bounds = {(metric_of(name), limit) for name, limit in slo.items() if bounds_requests(name)}
    if not bounds:
        return None
    good = pd.Series(True, index=requests.index)
    for metric, limit in bounds:
        good &= requests[f"{metric}_s"].fillna(0.0) <= limit
    return good


def _slo_report(
    metrics: dict[str, float | None], slo: dict[str, float], attained: pd.Series[bool] | None, lost: int
) -> dict[str, Any] | None:
    """Limits and values are of answered requests; of the `lost` ones none is good."""
    if not slo:
        return None
    values = {name: metrics[name] for name in slo}
    met = {name: value is None or value <= slo[name] for name, value in values.items()}
    share = None if attained is None else ratio(int(attained.sum()), len(attained) + lost)
    return {"met": all(met.values()), "limits": dict(slo), "values": values, "good_request_fraction": share}


def _performance(run: FinishedRun) -> dict[str, float | None]:
    spent = run.log.performance
    return {
        "cpu_s": spent.cpu_s,
        "wall_s": spent.wall_s,
        "requests_per_cpu_s": ratio(len(run.requests), spent.cpu_s),
        "engine_iterations": int(run.runs["iterations"].sum()),
        "simpy_events": spent.simpy_events,
        "peak_memory_bytes": spent.peak_memory_bytes,
    }
