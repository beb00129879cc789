"""What a trace is like, in numbers: how many, how fast, how bursty, how long, how alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.workload.traces.reader import Trace

WINDOWS_S = (1, 60)
LEAST_WINDOWS = 10


def trace_statistics(trace: Trace) -> dict[str, Any]:
    """JSON-ready statistics; seconds and tokens, None where the trace is too small or too even to tell.

    `mean_rate` is gaps per second of span; `gap_cv` the coefficient of variation of gaps, 1 for Poisson;
    `dispersion` the variance over the mean of the number of arrivals in windows of 1 s and 60 s, 1 for Poisson.
    """
    arrivals = trace.table["arrival_s"].to_numpy(float)
    prompts = trace.table["prompt_tokens"].to_numpy(float)
    outputs = trace.table["output_tokens"].to_numpy(float)
    span_s = float(arrivals[-1] - arrivals[0])
    return {
        "num_requests": len(arrivals),
        "span_s": span_s,
        "mean_rate": _finite((len(arrivals) - 1) / span_s) if span_s else None,
        "gap_cv": _variation(np.diff(arrivals)),
        "dispersion": {f"{window_s}s": _dispersion(arrivals, window_s) for window_s in WINDOWS_S},
        "prompt_tokens": _lengths(prompts),
        "output_tokens": _lengths(outputs),
        "length_correlation": _correlation(prompts, outputs),
        "prefix_reuse": _prefix_reuse(trace),
    }


def _variation(gaps_s: NDArray[np.float64]) -> float | None:
    with np.errstate(all="ignore"):  # gaps so short that their mean is 0 or their squares are
        return _finite(float(gaps_s.std() / gaps_s.mean())) if gaps_s.any() else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _dispersion(arrivals: NDArray[np.float64], window_s: int) -> float | None:
    """Over the whole windows from the first arrival on, if there are ten; only those with arrivals are stored."""
    since_first = arrivals - arrivals[0]
    windows = int(since_first[-1] // window_s)
    if windows < LEAST_WINDOWS:
        return None
    window = since_first // window_s
    counts = np.unique(window[window < windows], return_counts=True)[1].tolist()
    arrived, squares = sum(counts), sum(count**2 for count in counts)
    dispersion: float = (windows * squares - arrived**2) / (windows * arrived)
    return dispersion


def _lengths(tokens: NDArray[np.float64]) -> dict[str, float]:
    quantiles = {f"p{percent}": float(np.percentile(tokens, percent)) for percent in (50, 90, 99)}
    return {"mean": float(tokens.mean()), **quantiles, "max": float(tokens.max())}


def _correlation(prompts: NDArray[np.float64], outputs: NDArray[np.float64]) -> float | None:
    """Pearson's."""
    if prompts.std() == 0 or outputs.std() == 0:
        return None
    return float(np.corrcoef(prompts, outputs)[0, 1])


def _prefix_reuse(trace: Trace) -> dict[str, Any] | None:
    """How much of the prompts an endless prefix cache would already hold: the share of blocks seen before."""
    if trace.block_tokens is None:
        return None
    blocks = np.concatenate(trace.table["block_ids"].to_list())
    return {
        "block_tokens": trace.block_tokens,
        "blocks": len(blocks),
        "seen_before_fraction": 1 - len(np.unique(blocks)) / len(blocks),
    }
