"""`vllm bench serve --save-result --save-detailed`: one flat JSON object, statistics in ms, arrays in seconds."""

from __future__ import annotations

from typing import Any

import pandas as pd


def vllm(summary: dict[str, Any], requests: pd.DataFrame) -> dict[str, Any]:
    """The summary's own top level is vLLM's; added are its label, its endpoint and the arrays, a value a request.

    A statistic of nothing is 0 there, not null. `itls` is left out, for gaps are not kept by request; so are texts,
    which nobody generated.
    """
    totals = {key: value for key, value in summary.items() if key != "sim"}
    measured = {key: 0.0 if value is None and key.endswith("_ms") else value for key, value in totals.items()}
    return {
        "endpoint_type": "servesim",
        "label": summary["sim"]["name"],
        **measured,
        "input_lens": requests["prompt_tokens"].tolist(),
        "output_lens": requests["output_tokens"].tolist(),
        "ttfts": requests["ttft_s"].tolist(),
        "latencies": requests["e2e_s"].tolist(),
        "start_times": requests["arrival_s"].tolist(),
        "errors": [""] * len(requests),
    }
