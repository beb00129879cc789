"""Latency statistics: percentiles are numpy's linear ones, the standard deviation is the population's."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sim.specs.metric_names import METRICS, STATISTICS
from sim.stats.quantiles import repeated_quantiles

PERCENTILES = (50, 90, 95, 99)


def latency_metrics(requests: pd.DataFrame, gaps: pd.DataFrame) -> dict[str, float | None]:
    """Every `{statistic}_{metric}` in seconds; None where nothing could be measured (TPOT of single tokens)."""
    metrics: dict[str, float | None] = {}
    for metric in METRICS:
        if metric == "itl":
            values, counts = gaps["gap_s"].to_numpy(float), gaps["tokens"].to_numpy(np.int64)
        else:
            values = requests[f"{metric}_s"].dropna().to_numpy(float)
            counts = np.ones(len(values), dtype=np.int64)
        for statistic, value in _statistics(values, counts).items():
            metrics[f"{statistic}_{metric}"] = value
    return metrics


def _statistics(values: np.ndarray, counts: np.ndarray) -> dict[str, float | None]:
    """All statistics of the sample in which `values[i]` occurs `counts[i]` times."""
    if not len(values):
        return dict.fromkeys(STATISTICS)
    mean = float(np.average(values, weights=counts))
    spread = float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))
    quantiles = repeated_quantiles(values, counts, [percent / 100 for percent in PERCENTILES])
    found = {"mean": mean, "std": spread, "min": float(values.min()), "max": float(values.max())}
    found |= {f"p{percent}": float(value) for percent, value in zip(PERCENTILES, quantiles, strict=True)}
    return {statistic: found[statistic] for statistic in STATISTICS}
