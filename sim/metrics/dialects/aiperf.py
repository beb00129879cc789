"""AIPerf's `profile_export_aiperf.json`, the shape of GenAI-Perf: an object a metric, `{unit, avg, p1, …, std}`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
Metric = dict[str, Any]


def aiperf(summary: dict[str, Any], requests: pd.DataFrame) -> dict[str, Any]:
    """Every distribution is over requests; a metric that no request has is left out, as AIPerf leaves it out.

    `inter_token_latency` is each request's mean gap, our TPOT, so its average weighs requests and not tokens;
    `output_token_throughput_per_user` is one over it, so TTFT does not count. `inter_chunk_latency` and
    `time_to_second_token` are left out, for gaps are not kept by request.
    """
    gap_s = requests["tpot_s"].where(requests["tpot_s"] > 0)
    samples = {
        "time_to_first_token": ("ms", requests["ttft_s"] * 1e3),
        "inter_token_latency": ("ms", requests["tpot_s"] * 1e3),
        "request_latency": ("ms", requests["e2e_s"] * 1e3),
        "output_token_throughput_per_user": ("tokens/sec/user", 1 / gap_s),
        "input_sequence_length": ("tokens", requests["prompt_tokens"]),
        "output_sequence_length": ("tokens", requests["output_tokens"]),
    }
    distributions = {name: _distribution(unit, values.dropna()) for name, (unit, values) in samples.items()}
    numbers = {name: {"unit": unit, "avg": value} for name, (unit, value) in _numbers(summary).items()}
    measured = {name: metric for name, metric in (distributions | numbers).items() if metric["avg"] is not None}
    return {"schema_version": "1.4", **measured}


def _distribution(unit: str, values: pd.Series[float]) -> Metric:
    if values.empty:
        return {"unit": unit, "avg": None}
    percentiles = zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True)
    return {
        "unit": unit,
        "avg": float(values.mean()),
        **{f"p{percent}": float(value) for percent, value in percentiles},
        "min": float(values.min()),
        "max": float(values.max()),
        "std": float(values.std(ddof=0)),
        "count": len(values),
        "sum": float(values.sum()),
    }


def _numbers(summary: dict[str, Any]) -> dict[str, tuple[str, float | None]]:
    """Metrics of the run as a whole: name, unit, value."""
    ours = summary["sim"]
    good_share = ours["slo"] and ours["slo"]["good_request_fraction"]
    return {
        "request_throughput": ("requests/sec", summary["request_throughput"]),
        "output_token_throughput": ("tokens/sec", summary["output_throughput"]),
        "total_token_throughput": ("tokens/sec", summary["total_token_throughput"]),
        "effective_concurrency": ("requests", ours["throughput"]["mean_concurrent_requests"]),
        "goodput": ("requests/sec", summary["request_goodput"]),
        "good_request_count": ("requests", None if good_share is None else round(good_share * summary["completed"])),
        "good_request_fraction": ("ratio", good_share),
        "request_count": ("requests", summary["completed"]),
        "error_request_count": ("requests", summary["failed"]),
        "benchmark_duration": ("sec", summary["duration"]),
    }
