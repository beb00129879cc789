"""Release of members: when a finished request leaves with its seat and blocks, and its answer is returned."""

from __future__ import annotations

from collections.abc import Callable

from sim.scheduling.release import batch_end, on_finish
from sim.scheduling.state import RequestState

Release = Callable[[list[RequestState], bool], list[RequestState]]
"""(those who are done and still here, whether anybody else is) -> those who leave now, all or none"""

RELEASES: dict[str, Release] = {
    "on_finish": on_finish.leaving,
    "batch_end": batch_end.leaving,
    "next_call": on_finish.leaving,
}
"""`next_call`: its blocks come back when the next iteration has been decided (FastGen)."""
