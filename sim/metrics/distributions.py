"""What requests are like and how each was served: a distribution of each quantity, a value a request.

The latencies under SLO names are in `sim.metrics.latency`; here are lengths, the phases of a request and its own speed.
"""

from __future__ import annotations

import pandas as pd

from sim.metrics.latency import measured, statistics

PERCENTILES = (1, 5, 50, 90, 95, 99)
"""Both ends: more is worse of a time, less is worse of a speed, whose "worst of 95 %" is p5."""

QUANTITIES = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "output_tokens",
    "prefill_s": "prefill_s",
    "decode_s": "decode_s",
    "tps_per_user": "tps_per_user",
}
"""Our name in the summary, and the column it is the distribution of."""


def distributions(requests: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """`mean std min max p1 p5 p50 p90 p95 p99` of every quantity, in the unit of its column."""
    return {name: statistics(measured(requests[column]), PERCENTILES) for name, column in QUANTITIES.items()}
