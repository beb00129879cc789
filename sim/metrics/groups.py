"""Latencies of each tenant and of each priority, where there are several."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sim.metrics.latency import latency_of

GROUPED_BY = ("tenant", "priority")
GROUP_METRICS = ("ttft", "tpot", "e2e")
GROUP_STATISTICS = ("mean", "p99")


def groups(requests: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]] | None:
    """By `tenant` and `priority`, then by name: `completed` and `{mean,p99}_{ttft,tpot,e2e}` in seconds.

    Of the two only those with several values; None where neither has.
    """
    several = [key for key in GROUPED_BY if key in requests and requests[key].nunique() > 1]
    return {key: {str(name): _group(part) for name, part in requests.groupby(key)} for key in several} or None


def _group(part: pd.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = {"completed": len(part)}
    for metric in GROUP_METRICS:
        measured = latency_of(part, metric)
        found |= {f"{statistic}_{metric}": measured[statistic] for statistic in GROUP_STATISTICS}
    return found
