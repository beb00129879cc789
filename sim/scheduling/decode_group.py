"""The decoding requests as sums: what an iteration costs and when the next thing happens, without looking at anyone.

Every iteration in which the group runs is a *tick*: each member computes one token and emits one. So a member's tokens
are its tokens at joining plus the ticks since, and all that can happen to the group is known ahead:

    finish wheel   tick -> members that emit their last token in it
    growth wheel   tick modulo block size -> how many members need a new block in it
    offsets        tokens less ticks, which never change -> how many members have so many
"""

from __future__ import annotations

from heapq import heappop, heappush

from sim.scheduling.state import RequestState


class DecodeGroup:
    """`count` members with `context_tokens` tokens computed in all, after `ticks` ticks.

    `block_size` 0 means that members never need a block (reserved memory).
    """

    def __init__(self, block_size: int) -> None:
        self.count = 0
        self.context_tokens = 0
        self.ticks = 0
        self.grows = block_size > 0
        self._lap = max(block_size, 1)
        self._growing = [0] * self._lap
        self._finishing: dict[int, list[RequestState]] = {}
        self._finish_ticks: list[int] = []
        self._with_offset: dict[int, int] = {}
        self._largest_offsets: list[int] = []

    def computed_tokens(self, state: RequestState) -> int:
        """Tokens of a member that are computed."""
        return state.offset_tokens + self.ticks

    def emitted_tokens(self, state: RequestState) -> int:
        """Outputs of a member, that of the latest tick included."""
        return state.offset_tokens + self.ticks - state.request.prompt_tokens + 1

    def join(self, state: RequestState) -> None:
        """A request that has just computed all it knows, and emits with it, decodes from the next tick on."""
        tokens, ticks = state.computed_tokens, self.ticks
        state.decoding = True
        self._place(state, tokens - ticks, ticks + state.final_tokens - state.known_tokens - 1)
        self.count += 1
        self.context_tokens += tokens

    def leave(self, state: RequestState) -> None:
        """A member goes before its last token; its own counters are right again."""
        self._displace(state)
        self._take_stock(state)

    def pause(self, state: RequestState) -> None:
        """A member will not run in the next tick: everything comes one tick later for it."""
        self._displace(state)
        self._place(state, state.offset_tokens - 1, state.finish_tick + 1)
        self.context_tokens -= 1

    def tick(self, iterations: int = 1) -> list[RequestState]:
        """Count `iterations` ticks, of which only the last may be somebody's last; they leave and are returned."""
        self.ticks += iterations
        self.context_tokens += iterations * self.count
        if not self._finish_ticks or self._finish_ticks[0] > self.ticks:
            return []
        heappop(self._finish_ticks)
        finishing = self._finishing.pop(self.ticks, [])
        for state in finishing:
            self._forget(state.offset_tokens)
            self._take_stock(state)
        return finishing

    def ticks_to_finish(self) -> int:
        """After how many ticks the next member is done; the group must not be empty."""
        while self._finish_ticks[0] not in self._finishing:
            heappop(self._finish_ticks)
        return self._finish_ticks[0] - self.ticks

    def longest_tokens(self) -> int:
        """Tokens of the member with most; the group must not be empty."""
        largest = self._largest_offsets
        while not self._with_offset.get(-largest[0]):
            self._with_offset.pop(-heappop(largest), None)
        return self.ticks - largest[0]

    def blocks_in_next_tick(self) -> int:
        """Members that need a new block in the next tick."""
        return self._growing[self.ticks % self._lap] if self.grows else 0

    def ticks_with(self, blocks: int, ticks: int) -> int:
        """How many of the next `ticks` ticks `blocks` blocks suffice for."""
        if not self.grows or blocks >= self.count * (ticks // self._lap + 1):
            return ticks
        laps, blocks = divmod(blocks, self.count)
        fitting = laps * self._lap
        for grown in self.next_lap():
            blocks -= grown
            if blocks < 0 or fitting >= ticks:
                break
            fitting += 1
        return min(fitting, ticks)

    def next_lap(self) -> list[int]:
        """New blocks in each of the next ticks, until the wheel has turned once; from then on it repeats itself."""
        now = self.ticks % self._lap
        return self._growing[now:] + self._growing[:now]

    def growth(self, ticks: int) -> tuple[int, list[int]]:
        """New blocks in the next `ticks` ticks together, and by tick: every member takes one a lap of the wheel."""
        if not self.grows:
            return 0, []
        laps, rest = divmod(ticks, self._lap)
        lap = self.next_lap()
        return laps * self.count + sum(lap[:rest]), lap

    def _place(self, state: RequestState, offset_tokens: int, finish_tick: int) -> None:
        """Onto both wheels. A member with c tokens needs a block for the next one when c is a multiple of the size."""
        state.offset_tokens, state.finish_tick = offset_tokens, finish_tick
        self._growing[-offset_tokens % self._lap] += 1
        alike = self._with_offset.get(offset_tokens, 0)
        self._with_offset[offset_tokens] = alike + 1
        if not alike:
            heappush(self._largest_offsets, -offset_tokens)
        others = self._finishing.get(finish_tick)
        if others is None:
            self._finishing[finish_tick] = [state]
            heappush(self._finish_ticks, finish_tick)
        else:
            others.append(state)

    def _displace(self, state: RequestState) -> None:
        self._forget(state.offset_tokens)
        others = self._finishing[state.finish_tick]
        others.remove(state)
        if not others:
            del self._finishing[state.finish_tick]

    def _forget(self, offset_tokens: int) -> None:
        """A member with this offset leaves the growth wheel."""
        self._growing[-offset_tokens % self._lap] -= 1
        self._with_offset[offset_tokens] -= 1

    def _take_stock(self, state: RequestState) -> None:
        """Give a leaving member its counters back."""
        state.computed_tokens = state.offset_tokens + self.ticks
        state.known_tokens = state.computed_tokens + 1
        state.decoding = False
        self.count -= 1
        self.context_tokens -= state.computed_tokens
