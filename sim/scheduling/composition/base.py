"""What a rule of composition is asked, and what one answers that has nothing of its own to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.scheduling.plan import Plan
from sim.scheduling.state import RequestState
from sim.specs.base import UNLIMITED

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore


class Composition:
    """Forms the iterations of one core; what it remembers between them is its own."""

    def __init__(self, core: SchedulerCore) -> None:
        self._core = core

    @property
    def looks_further(self) -> bool:
        """Whether one who comes now might start although others wait."""
        return False

    def form(self, plan: Plan) -> None:
        """Decide who runs and write it into `plan`, which is empty."""
        raise NotImplementedError

    def alike(self, plan: Plan) -> int:
        """How many times in a row a plan of decodes alone comes out the same, as far as this rule can tell."""
        return UNLIMITED

    def repeated(self, more: int) -> None:
        """The plan decided last was executed `more` times beyond the first."""

    def settle(self, plan: Plan) -> None:
        """An iteration has run: note in its plan what only its outcome tells."""

    def withdrawn(self, state: RequestState) -> None:
        """Somebody in the queue is about to leave it without having run."""

    def rested(self) -> None:
        """Nobody was there for a while."""
