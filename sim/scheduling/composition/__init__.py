"""Composition: who runs in an iteration. One file a rule, one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.scheduling.composition.alternate import Alternate
from sim.scheduling.composition.base import Composition
from sim.scheduling.composition.decodes_first import DecodesFirst
from sim.scheduling.composition.mixed import Mixed
from sim.scheduling.composition.prefill_first import PrefillFirst
from sim.scheduling.composition.prefill_until_full import PrefillUntilFull
from sim.scheduling.composition.rounds import Rounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.scheduling.core import SchedulerCore


COMPOSITIONS: dict[str, Callable[[SchedulerCore], Composition]] = {
    "alternate": Alternate,
    "decodes_first": DecodesFirst,
    "mixed": Mixed,
    "prefill_first": PrefillFirst,
    "prefill_until_full": PrefillUntilFull,
    "rounds": Rounds,
}
