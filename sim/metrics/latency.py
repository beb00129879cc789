"""Latency statistics: percentiles are numpy's linear ones, the standard deviation is the population's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sim.specs.metric_names import METRICS
from sim.stats.quantiles import repeated_quantiles

PERCENTILES = (50, 90, 95, 99)


def latency_metrics(requests: pd.DataFrame, gaps: pd.DataFrame) -> dict[str, float | None]:
    """Every `{statistic}_{metric}` in seconds; None where nothing could be measured (TPOT of single tokens)."""
    metrics: dict[str, float | None] = {}
    for metric in METRICS:
        if metric == "itl":
            values, counts = gaps["gap_s"].to_numpy(float), gaps["tokens"].to_numpy(np.int64)
            found = statistics(values, counts, PERCENTILES)
        else:
            found = latency_of(requests, metric)
        metrics |= {f"{statistic}_{metric}": value for statistic, value in found.items()}
    return metrics


def latency_of(requests: pd.DataFrame, metric: str) -> dict[str, float | None]:
    """`mean std min max p50 p90 p95 p99` of a metric that every request has, in seconds."""
    values = requests[f"{metric}_s"].dropna().to_numpy(float)
    return statistics(values, np.ones(len(values), dtype=np.int64), PERCENTILES)


def statistics(values: np.ndarray, counts: np.ndarray, percentiles: Sequence[int]) -> dict[str, float | None]:
    """`mean std min max p…` of the sample in which `values[i]` occurs `counts[i]` times; None of an empty one."""
    if not len(values):
        return dict.fromkeys(("mean", "std", "min", "max", *(f"p{percent}" for percent in percentiles)))
    mean = float(np.average(values, weights=counts))
    spread = float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))
    quantiles = repeated_quantiles(values, counts, [percent / 100 for percent in percentiles])
    found: dict[str, float | None] = {
        "mean": mean,
        "std": spread,
        "min": float(values.min()),
        "max": float(values.max()),
    }
    return found | {f"p{percent}": float(value) for percent, value in zip(percentiles, quantiles, strict=True)}
