"""SGLang's `bench_serving --output-file --output-details`: a JSON line a run, statistics in ms, arrays in seconds."""

from __future__ import annotations

from typing import Any

import pandas as pd

STATISTICS = {"mean": "mean", "median": "p50", "std": "std", "p90": "p90", "p95": "p95", "p99": "p99"}
METRICS = {"e2e_latency": "e2e", "ttft": "ttft", "tpot": "tpot", "itl": "itl"}
"""SGLang's words, and ours."""

SAME = (
    "backend", "request_rate", "max_concurrency", "duration", "completed", "total_input_tokens", "total_output_tokens",
    "request_throughput", "output_throughput", "max_output_tokens_per_s", "max_concurrent_requests",
)  # fmt: skip


def sglang(summary: dict[str, Any], requests: pd.DataFrame) -> dict[str, Any]:
    """Definitions are vLLM's; `concurrency` is the sum of E2E over the duration. A statistic of nothing is 0.

    `itls` is left out, for gaps are not kept by request, and so are the re-tokenised counts: tokens are exact here.
    """
    ours = summary["sim"]
    statistics = {
        f"{theirs}_{metric}_ms": (ours["metrics"][f"{statistic}_{name}"] or 0.0) * 1e3
        for metric, name in METRICS.items()
        for theirs, statistic in STATISTICS.items()
    }
    return {
        "tag": ours["name"],
        **{key: summary[key] for key in SAME},
        "input_throughput": ours["throughput"]["input_throughput"],
        "total_throughput": summary["total_token_throughput"],
        **statistics,
        "concurrency": ours["throughput"]["mean_concurrent_requests"],
        "accept_length": summary.get("spec_decode_acceptance_length"),
        "input_lens": requests["prompt_tokens"].tolist(),
        "output_lens": requests["output_tokens"].tolist(),
        "ttfts": requests["ttft_s"].tolist(),
        "errors": [""] * len(requests),
    }
