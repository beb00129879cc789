"""The one grammar of metric names: `{statistic}_{metric}`, such as `p99_ttft` (seconds)."""

from __future__ import annotations

STATISTICS = ("mean", "std", "min", "max", "p50", "p90", "p95", "p99")
METRICS = ("ttft", "tpot", "itl", "max_itl", "e2e", "queue")
METRIC_NAMES = tuple(f"{statistic}_{metric}" for metric in METRICS for statistic in STATISTICS)


def bounds_requests(name: str) -> bool:
    """Whether a limit on this metric is one for each request: for means, percentiles and maxima of all but ITL."""
    statistic, _, metric = name.partition("_")
    return metric != "itl" and statistic not in ("min", "std")


def metric_of(name: str) -> str:
    """The metric a name speaks of: `ttft` for `p99_ttft`."""
    return name.partition("_")[2]
