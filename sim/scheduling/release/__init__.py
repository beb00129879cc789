"""Release of members: when a finished request leaves with its seat and blocks, and its answer is returned."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sim.scheduling.release import batch_end, on_finish
from sim.scheduling.state import RequestState

Release = Callable[[list[RequestState], Sequence[RequestState]], list[RequestState]]
"""(those whose model stopped just now, all running) -> those who leave now"""

RELEASES: dict[str, Release] = {"on_finish": on_finish.leaving, "batch_end": batch_end.leaving}
