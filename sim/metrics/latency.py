"""Latency statistics: percentiles are numpy's linear ones, the standard deviation is the population's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sim.metrics.runs import FloatArray
from sim.specs.metric_names import METRICS
from sim.stats.series import SeriesSample

PERCENTILES = (50, 90, 95, 99)


def latency_metrics(requests: pd.DataFrame, gaps: SeriesSample) -> dict[str, float | None]:
    """Every `{statistic}_{metric}` in seconds; None where nothing could be measured (TPOT of single tokens)."""
    metrics: dict[str, float | None] = {}
    for metric in METRICS:
        found = statistics(gaps, PERCENTILES) if metric == "itl" else latency_of(requests, metric)
        metrics |= {f"{statistic}_{metric}": value for statistic, value in found.items()}
    return metrics


def latency_of(requests: pd.DataFrame, metric: str) -> dict[str, float | None]:
    """`mean std min max p50 p90 p95 p99` of a metric that every request has, in seconds."""
    return statistics(measured(requests[f"{metric}_s"]), PERCENTILES)


def measured(column: pd.Series[float]) -> FloatArray:
    """What is not NaN."""
    values = np.asarray(column, np.float64)
    missing = np.isnan(values)
    return values[~missing] if missing.any() else values


def statistics(sample: FloatArray | SeriesSample, percentiles: Sequence[int]) -> dict[str, float | None]:
    """`mean std min max p…`; None of an empty sample."""
    names = ("mean", "std", "min", "max", *(f"p{percent}" for percent in percentiles))
    if not sample.size:
        return dict.fromkeys(names)
    levels = [percent / 100 for percent in percentiles]
    quantiles = sample.quantiles(levels) if isinstance(sample, SeriesSample) else np.quantile(sample, levels)
    values = (sample.mean(), sample.std(), sample.min(), sample.max(), *quantiles)
    return {name: float(value) for name, value in zip(names, values, strict=True)}
