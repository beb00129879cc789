"""Sums over runs of iterations: how long they took, what they were spent on, and each iteration by itself.

`runs` is the table of `sim.serving.columns.ITERATION_COLUMNS`, as a mapping of names to arrays or a DataFrame.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.cost import cost_model
from sim.cost.batch import COUNTED, Batch, Bound
from sim.scheduling.plan import BLOCKERS
from sim.specs.experiment import Experiment
from sim.stats.series import counting

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ROWS_AT_ONCE = 8192
"""Arrays of this length stay in the processor's cache; whole columns take longer, and much memory for all between."""


def durations_s(runs: Any) -> FloatArray:
    """Seconds of each run: an arithmetic series."""
    k, first_s, increment_s = _floats(runs, "iterations", "first_step_s", "step_increment_s")
    seconds: FloatArray = k * first_s + k * (k - 1) / 2 * increment_s
    return seconds


def weighted_sum(weights: Any, amounts: Any) -> float:
    """The dot product; numpy's own starts threads, which costs more than it saves for columns of this length."""
    return float((weights * amounts).sum())


def token_seconds(runs: Any, seconds: FloatArray) -> float:
    """Stored tokens times seconds: those of the first iteration, and one more a decode with each one after."""
    k, first_s, increment_s = _floats(runs, "iterations", "first_step_s", "step_increment_s")
    later_s = first_s * (k * (k - 1) / 2) + increment_s * ((k - 1) * k * (2 * k - 1) / 6)
    return weighted_sum(runs["kv_stored_tokens"], seconds) + weighted_sum(asked_for_decodes(runs), later_s)


class Iterations(NamedTuple):
    """Every single iteration, in time order: its duration and its end."""

    step_s: FloatArray
    end_s: FloatArray


def each_iteration(runs: Any) -> Iterations:
    """Runs unrolled."""
    count = np.asarray(runs["iterations"], np.int64)
    run, before = np.repeat(np.arange(len(count)), count), counting(count)
    columns = _floats(runs, "start_s", "first_step_s", "step_increment_s")
    start_s, first_s, increment_s = (column[run] for column in columns)
    end_s = start_s + (before + 1) * first_s + before * (before + 1) / 2 * increment_s
    return Iterations(first_s + before * increment_s, end_s)


def asked_for_decodes(runs: Any) -> IntArray:
    """Decodes of each iteration of a run, without the finished members of a static batch."""
    decodes, padding = _counts(runs, "decode_requests", "padding_requests")
    return decodes - padding


def asked_for_prompt_tokens(runs: Any) -> IntArray:
    """New tokens of the prompts in each iteration, without what pads them to the longest."""
    tokens, padding, of_decodes = _counts(runs, "prefill_tokens", "padding_tokens", "padding_requests")
    return tokens - (padding - of_decodes)


def executed_tokens(runs: Any) -> IntArray:
    """Tokens of each iteration, padding included."""
    decodes, prompts = _counts(runs, "decode_requests", "prefill_tokens")
    return decodes + prompts


class Spent(NamedTuple):
    """Busy seconds by operation group and resource; FLOPs and bytes of memory traffic on one GPU."""

    seconds: dict[str, dict[Bound, float]]
    flops: float
    memory_bytes: float


def spent(experiment: Experiment, runs: Any) -> Spent:
    """What the iterations were spent on, by the cost model's own account of the batches.

    Within a run all of it grows linearly, so that its middle iteration stands for all. A plan that only preempts was
    not executed.
    """
    model, flops, memory_bytes = cost_model(experiment), 0.0, 0.0
    seconds: dict[str, dict[Bound, float]] = defaultdict(lambda: defaultdict(float))
    for begin in range(0, len(runs["iterations"]), ROWS_AT_ONCE):
        some = {name: column[begin : begin + ROWS_AT_ONCE] for name, column in runs.items()}
        count = np.where(executed_tokens(some) > 0, some["iterations"], 0.0)
        for time in model.explain(_middle_batch(some)):
            for bound, each in time.seconds.items():
                seconds[time.group][bound] += weighted_sum(count, each)
            flops += weighted_sum(count, time.flops)
            memory_bytes += weighted_sum(count, time.memory_bytes)
    measured = {group: {bound: each for bound, each in parts.items() if each > 0} for group, parts in seconds.items()}
    return Spent({group: parts for group, parts in measured.items() if parts}, flops, memory_bytes)


def _middle_batch(runs: Any) -> Batch:
    """Arrays: the batch of each run's middle iteration, where contexts have grown half way."""
    grown = asked_for_decodes(runs) * ((np.asarray(runs["iterations"]) - 1) / 2)
    columns = {name: np.asarray(runs[name], float) for name in COUNTED}
    columns["decode_context_tokens"] = columns["decode_context_tokens"] + grown
    columns["service_s"] = np.asarray(runs["first_step_s"])
    more = ("draft_tokens", "draft_pairs", "swapped_blocks")
    columns |= {name: np.asarray(runs[name], float) for name in more if name in runs}
    return Batch(**columns)  # type: ignore[arg-type]


def blocked_s(runs: Any, seconds: FloatArray) -> dict[str, float]:
    """Busy seconds in which the head of the queue could not start, by what kept it."""
    by_code = np.bincount(runs["blocked_by"], weights=seconds, minlength=len(BLOCKERS))
    return {why: float(by_code[code]) for why, code in BLOCKERS.items() if why and by_code[code] > 0}


def _floats(runs: Any, *names: str) -> list[FloatArray]:
    return [np.asarray(runs[name], np.float64) for name in names]


def _counts(runs: Any, *names: str) -> list[IntArray]:
    return [np.asarray(runs[name], np.int64) for name in names]
