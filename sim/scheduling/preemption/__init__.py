"""Preemption: what becomes of a request that must give up its blocks. One file a way, one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.scheduling.plan import Plan
from sim.scheduling.preemption import recompute, swap
from sim.scheduling.state import RequestState

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore

Preemption = Callable[["SchedulerCore", Plan, RequestState, int], None]
"""(core, plan, victim, tokens it was granted in this call, which will not run)"""

PREEMPTIONS: dict[str, Preemption] = {"recompute": recompute.preempt, "swap": swap.preempt}
