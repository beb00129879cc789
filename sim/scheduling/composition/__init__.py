"""Composition: who runs in an iteration. One file a rule, one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sim.scheduling.composition.alternate import Alternate
from sim.scheduling.composition.decodes_first import DecodesFirst
from sim.scheduling.composition.mixed import Mixed
from sim.scheduling.composition.prefill_first import PrefillFirst
from sim.scheduling.composition.prefill_until_full import PrefillUntilFull
from sim.scheduling.composition.rounds import Rounds
from sim.scheduling.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.scheduling.core import SchedulerCore


class Composition(Protocol):
    """Forms the iterations of one core; what it remembers between them is its own."""

    @property
    def looks_further(self) -> bool:
        """Whether one who comes now might start although others wait."""
        ...

    def form(self, plan: Plan) -> None:
        """Decide who runs and write it into `plan`, which is empty."""
        ...

    def alike(self, plan: Plan) -> int:
        """How many times in a row a plan of decodes alone comes out the same, as far as this rule can tell."""
        ...

    def repeated(self, more: int) -> None:
        """The plan decided last was executed `more` times beyond the first."""
        ...

    def settle(self, plan: Plan) -> None:
        """An iteration has run: note in its plan what only its outcome tells."""
        ...

    def rested(self) -> None:
        """Nobody was there for a while."""
        ...


COMPOSITIONS: dict[str, Callable[[SchedulerCore], Composition]] = {
    "alternate": Alternate,
    "decodes_first": DecodesFirst,
    "mixed": Mixed,
    "prefill_first": PrefillFirst,
    "prefill_until_full": PrefillUntilFull,
    "rounds": Rounds,
}
