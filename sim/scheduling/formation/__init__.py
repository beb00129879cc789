"""Batch formation: when waiting requests may join. One file a rule, one line here."""

from __future__ import annotations

from collections.abc import Callable, Collection

from sim.scheduling.formation import continuous, drain_then_fill
from sim.scheduling.state import RequestState

Formation = Callable[[Collection[RequestState]], bool]

FORMATIONS: dict[str, Formation] = {
    "continuous": continuous.may_join,
    "drain_then_fill": drain_then_fill.may_join,
}
