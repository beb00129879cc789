"""A limit on the requests in the system: beyond it the front end answers "too many requests" (HTTP 429) at once.

It is TGI's `max_concurrent_requests`. With c seats and a limit of K, K - c requests may wait.
"""

from __future__ import annotations

from heapq import heappop, heappush


class ConcurrencyLimit:
    """Counts who is in the system. Departures may be reported late, and in any order."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._present = 0
        self._left_s: list[float] = []

    def on_leaving(self, left_s: float) -> None:
        """Somebody who was let in leaves at that time."""
        heappush(self._left_s, left_s)

    def lets_in(self, now_s: float) -> bool:
        """Whether there is room for a request that comes now, who then has a place; arrivals are asked in order."""
        while self._left_s and self._left_s[0] <= now_s:
            heappop(self._left_s)
            self._present -= 1
        if self._present >= self._most:
            return False
        self._present += 1
        return True
