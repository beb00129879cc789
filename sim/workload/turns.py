"""Conversations: which requests are the turns of which, and how their prompts grow."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Turns:
    """For each request, conversation by conversation: its conversation (from 0), its turn (from 1), the tokens of its
    prompt after the shared prefix, and of its answer. `ended_early` counts conversations.
    """

    conversation: IntArray
    turn: IntArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    ended_early: int


def deal(prompts: IntArray, outputs: IntArray, most_turns: IntArray, room_tokens: IntArray, count: int) -> Turns | None:
    """`count` turns of pairs of lengths, in their order: each of a conversation's adds a message and an answer to it.

    Conversation c takes up to `most_turns[c]` pairs. It ends early before one that would make it longer than
    `room_tokens[c]`; that pair is left out. Any pair fits alone. None if that leaves too few pairs, which twice `count`
    never are.
    """
    said = np.concatenate(([0], np.cumsum(prompts + outputs)))
    ends = said[1:].tolist()
    starts: list[int] = []
    held: list[int] = []
    start = ended_early = 0
    for most, room in zip(most_turns.tolist(), room_tokens.tolist(), strict=True):
        wanted = min(most, count)
        fitting = bisect_right(ends, int(said[start]) + room, lo=start) - start
        if fitting < wanted and start + fitting == len(ends):
            return None
        turns = min(wanted, fitting)
        starts.append(start)
        held.append(turns)
        ended_early += turns < wanted
        start += turns + (turns < wanted)
        count -= turns
        if not count:
            break
    return _turns(outputs, said, np.array(starts), np.array(held), ended_early)


def _turns(outputs: IntArray, said: IntArray, starts: IntArray, held: IntArray, ended_early: int) -> Turns:
    """`held[c]` turns of the pairs from `starts[c]` on; `said` are the tokens of all pairs before each."""
    conversation = np.repeat(np.arange(len(held)), held)
    turn = np.arange(len(conversation)) - (np.cumsum(held) - held)[conversation] + 1
    pair = starts[conversation] + turn - 1
    prompt_tokens = said[pair + 1] - said[starts[conversation]] - outputs[pair]
    return Turns(conversation, turn, prompt_tokens, outputs[pair], ended_early)
