"""Which requests of a run are measured."""

from __future__ import annotations

import math

START_UP_SHARE, RUNNING_DRY_SHARE = 0.1, 0.05
"""Of the requests, by arrival: left out while the engine fills, and at the end, where nobody arrives behind them."""
MEASURED_SHARE = 1 - START_UP_SHARE - RUNNING_DRY_SHARE
BEYOND_TAIL, LEAST_REQUESTS = 100, 4000
"""A run measures so many requests beyond the percentile, and so many at least."""


def window_of(requests: int) -> slice:
    """Those in the middle, of so many in order of arrival."""
    begin = math.floor(START_UP_SHARE * requests)
    return slice(begin, max(requests - math.floor(RUNNING_DRY_SHARE * requests), begin + 1))


def requests_for(measured: int) -> int:
    """How many requests a run needs for so many of them to be measured."""
    return math.ceil(measured / MEASURED_SHARE)


def least_requests(tail: float) -> int:
    """Requests that a run must measure for a statistic with such a tail."""
    return max(LEAST_REQUESTS, math.ceil(round(BEYOND_TAIL / tail, 6)))
