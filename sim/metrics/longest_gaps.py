"""The longest time between two successive tokens of each request."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.metrics.runs import FloatArray, IntArray
from sim.serving.columns import ANYBODY
from sim.serving.front_end import TIE_S
from sim.serving.simulation import RunLog
from sim.stats.range_maximum import range_maxima

BoolArray = NDArray[np.bool_]


def longest_gaps_s(log: RunLog, requests: IntArray) -> FloatArray:
    """Seconds, of finished requests by their ids; NaN of those with a single token.

    A request decodes in every iteration from its first token to its last, but for those that its late tokens waited
    through, which are shorter than the wait and so make no difference.
    """
    recorder = log.recorder
    runs, late, times = recorder.iterations.arrays(), recorder.gaps.arrays(), recorder.requests.arrays()
    late_s = np.zeros(len(times["finish_s"]))
    own = late["request_id"] != ANYBODY
    np.maximum.at(late_s, late["request_id"][own], late["gap_s"][own])
    if not own.all():
        late_s = np.maximum(late_s, _longest_shared_s(late, own, times, requests))
    output_tokens = times["output_tokens"][requests]
    begins = np.searchsorted(runs["start_s"], times["first_token_s"][requests])
    if log.core.engine.release == "batch_end":  # held after its last token; no token is late in such a batch
        passed = np.cumsum(runs["iterations"], dtype=np.int64) - runs["iterations"]
        ends = np.searchsorted(passed, np.append(passed, 0)[begins] + output_tokens - 1)
    else:
        ends = np.searchsorted(runs["start_s"], times["finish_s"][requests])
    last_step_s = runs["first_step_s"] + (runs["iterations"] - 1) * runs["step_increment_s"]
    longest_s = range_maxima(np.maximum(runs["first_step_s"], last_step_s), begins, ends)
    return np.where(output_tokens > 1, np.maximum(longest_s, late_s[requests]), np.nan)


def _longest_shared_s(late: Any, own: BoolArray, times: Any, requests: IntArray) -> FloatArray:
    """The longest gap that each request shared with all who decoded then, by request id.

    It had part in those that lie between two gaps of its own, or before the first or after the last.
    """
    shared_s, shared_end_s = late["gap_s"][~own], late["end_s"][~own]
    finished = ~np.isnan(times["finish_s"])
    own = own & finished[late["request_id"]]
    of, end_s = late["request_id"][own], late["end_s"][own]
    whose = np.concatenate([requests, of])
    begins_s = np.concatenate([times["first_token_s"][requests], end_s])
    ends_s = np.concatenate([times["finish_s"][requests], end_s - late["gap_s"][own]])
    begin, end = np.lexsort((begins_s, whose)), np.lexsort((ends_s, whose))
    first = np.searchsorted(shared_end_s - shared_s, begins_s[begin] - TIE_S)
    last = np.searchsorted(shared_end_s, ends_s[end] + TIE_S)
    longest_s = np.zeros(len(finished))
    np.maximum.at(longest_s, whose[begin], range_maxima(shared_s, first, np.maximum(first, last)))
    return longest_s
