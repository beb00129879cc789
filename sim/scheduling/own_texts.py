"""Who in the engine goes on with whose text: only then is what a request says worth storing before it leaves."""

from __future__ import annotations

from collections.abc import Hashable

from sim.scheduling.state import RequestState
from sim.scheduling.text import own_text_of, text_of
from sim.specs.base import UNLIMITED


class OwnTexts:
    """The requests in the engine by their own text.

    `overheard` are those whose own text others in the engine go on with, or have too. What goes on with a text comes
    after it.
    """

    def __init__(self) -> None:
        self._speakers: dict[Hashable, list[RequestState]] = {}
        self.overheard: set[RequestState] = set()

    def join(self, state: RequestState, block_size: int) -> None:
        """A request comes. From now on others may look for all blocks of those whom it goes on with."""
        request = state.request
        state.own_text = own_text = own_text_of(request)
        state.text = text_of(request.shared_text, own_text, block_size)
        if request.shared_text:
            state.shared_blocks = sum(tokens for _, tokens in request.shared_text) // block_size
            for key, _ in request.shared_text:
                if key in self._speakers:
                    self._overhear(self._speakers[key])
        if own_text in self._speakers:
            self._speakers[own_text].append(state)
            self._overhear(self._speakers[own_text])
        else:
            self._speakers[own_text] = [state]

    def leave(self, state: RequestState) -> None:
        """A request goes."""
        speakers = self._speakers[state.own_text]
        if len(speakers) > 1:
            speakers.remove(state)
        else:
            del self._speakers[state.own_text]
        if self.overheard:
            self.overheard.discard(state)

    def _overhear(self, speakers: list[RequestState]) -> None:
        self.overheard.update(speakers)
        for state in speakers:
            state.shared_blocks = UNLIMITED
