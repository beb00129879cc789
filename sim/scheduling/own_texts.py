"""Who in the engine goes on with whose text: only then is what a request says worth storing before it leaves."""

from __future__ import annotations

from collections.abc import Hashable

from sim.scheduling.state import RequestState
from sim.scheduling.text import ENDLESS, own_text_of


class OwnTexts:
    """The requests in the engine by their own text.

    `overheard` are those whose own text others in the engine go on with, or have too. What goes on with a text comes
    after it.
    """

    def __init__(self) -> None:
        self._speakers: dict[Hashable, list[RequestState]] = {}
        self.overheard: set[RequestState] = set()

    def join(self, state: RequestState) -> None:
        """A request comes. From now on others may look for all blocks of those whom it goes on with."""
        for key, _ in state.request.shared_text:
            if key in self._speakers:
                self._overhear(self._speakers[key])
        speakers = self._speakers.setdefault(own_text_of(state.request), [])
        speakers.append(state)
        if len(speakers) > 1:
            self._overhear(speakers)

    def leave(self, state: RequestState) -> None:
        """A request goes."""
        key = own_text_of(state.request)
        speakers = self._speakers[key]
        speakers.remove(state)
        if not speakers:
            del self._speakers[key]
        self.overheard.discard(state)

    def _overhear(self, speakers: list[RequestState]) -> None:
        self.overheard.update(speakers)
        for state in speakers:
            state.shared_blocks = ENDLESS
