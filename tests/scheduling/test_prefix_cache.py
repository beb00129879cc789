"""The prefix cache of runs finds, block for block, what a pool that keeps every single block finds."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.plain_blocks import Holder, PlainBlocks

from sim.scheduling.block_pool import CachingBlockPool
from sim.scheduling.state import RequestState
from sim.scheduling.text import cut, own_text_of, text_of
from sim.specs.request import Request

BLOCK = 4
OWN_TOKENS = 60


def hashes_of(request: Request) -> list[tuple[Hashable, ...]]:
    """The chained hash of every block of a request's text, token by token."""
    tokens: list[Hashable] = []
    for key, count in request.shared_text:
        tokens += [(key, position) for position in range(count)]
    own_text = request.own_text or ("request", request.request_id)
    tokens += [(own_text, position) for position in range(OWN_TOKENS)]
    return [tuple(tokens[:end]) for end in range(BLOCK, len(tokens) + 1, BLOCK)]


class Twin:
    """One request in both pools."""

    def __init__(self, request: Request) -> None:
        self.state = RequestState(request, request.request_id, 1)
        self.state.text = text_of(request.shared_text, own_text_of(request), BLOCK)
        self.state.shared_blocks = sum(tokens for _, tokens in request.shared_text) // BLOCK
        self.holder = Holder(hashes_of(request))
        self.shared_tokens = sum(tokens for _, tokens in request.shared_text)
        self.tokens = 0

    def start(self, fast: CachingBlockPool, plain: PlainBlocks, known: int, tokens: int) -> bool:
        """Look up, and begin with `tokens` more if they fit."""
        self.state.known_tokens = known
        hit, found = fast.find(self.state), plain.find(self.holder, (known - 1) // BLOCK)
        assert hit.blocks == len(found)
        assert hit.idle_blocks == sum(not block.users for block in found)
        new = -(-(hit.blocks * BLOCK + tokens) // BLOCK) - hit.blocks
        if new + hit.idle_blocks > fast.free_blocks:
            return False
        fast.hold(self.state, hit)
        plain.hold(self.holder, found)
        self.tokens = hit.blocks * BLOCK
        self.grow(fast, plain, tokens)
        return True

    def grow(self, fast: CachingBlockPool, plain: PlainBlocks, tokens: int) -> bool:
        new = -(-(self.tokens + tokens) // BLOCK) - -(-self.tokens // BLOCK)
        if new > fast.free_blocks:
            return False
        fast.allocate(new)
        plain.take(self.holder, new)
        self.tokens += tokens
        fast.store(self.state, self.tokens // BLOCK)
        plain.publish(self.holder, min(self.tokens, self.shared_tokens) // BLOCK)
        return True

    def leave(self, fast: CachingBlockPool, plain: PlainBlocks) -> None:
        plain.publish(self.holder, self.tokens // BLOCK)
        plain.release(self.holder)
        fast.release(self.state, -(-self.tokens // BLOCK), self.tokens // BLOCK)
        self.tokens = 0


@st.composite
def texts(draw: st.DrawFn, names: str) -> tuple[tuple[Hashable, int], ...]:
    return tuple(draw(st.lists(st.tuples(st.sampled_from(names), st.integers(1, 14)), max_size=3)))


OWN_TEXTS = st.sampled_from([None, None, None, "c", "d"])
"""Most requests have a text that nobody else has; turns of a conversation go on with the same one."""

ACTIONS = st.lists(st.tuples(st.sampled_from("aaagggl"), st.integers(0, 30), st.integers(1, 13)), max_size=60)


@settings(max_examples=1500)
@given(st.integers(6, 30), st.lists(st.tuples(texts("ab"), OWN_TEXTS), min_size=4, max_size=12), ACTIONS)
def test_runs_find_what_single_blocks_find(count, spoken, actions):
    fast, plain = CachingBlockPool(count, BLOCK), PlainBlocks(count)
    requests = [
        Request(number, 0.0, 1, 1, shared_text=shared, own_text=own) for number, (shared, own) in enumerate(spoken)
    ]
    waiting = [Twin(request) for request in requests]
    running: list[Twin] = []
    for action, which, tokens in actions:
        if action == "a" and waiting:
            twin = waiting[which % len(waiting)]
            known = twin.shared_tokens + 1 + which % 9
            if twin.start(fast, plain, known, tokens):
                waiting.remove(twin)
                running.append(twin)
        elif running and action == "g":
            twin = running[which % len(running)]
            if twin.tokens + tokens <= twin.shared_tokens + OWN_TOKENS - BLOCK:
                twin.grow(fast, plain, tokens)
        elif running:
            twin = running.pop(which % len(running))
            twin.leave(fast, plain)
            waiting.append(twin)  # it comes back and may find its own blocks
        assert fast.free_blocks == len(plain.free)
        users = {id(block): block for twin in running for block in twin.holder.blocks}
        assert fast.used_blocks == len(users)
        assert fast.saved_blocks == sum(len(twin.holder.blocks) for twin in running) - len(users)
    for twin in running:
        twin.leave(fast, plain)
    assert fast.free_blocks == count


def test_a_text_is_cut_into_blocks_that_are_keyed_by_all_they_hold():
    text = text_of((("a", 9), ("b", 2), ("c", 6)), ("request", 7), BLOCK)
    own = ("request", 7)
    assert text[:3] == [("a", 2), ((("a", 1), ("b", 2), ("c", 1)), 1), ("c", 1)]
    assert text[3] == ((("c", 1), (own, 3)), 1)
    assert text[4][0] == own
    assert list(cut(text, 1, 5)) == [("a", 1), (text[1][0], 1), ("c", 1), (text[3][0], 1)]


# ---- conversations --------------------------------------------------------------------------------------------------


def turns(lengths: list[tuple[int, int]], prefix: int, in_pieces: bool) -> list[Request]:
    """The turns of a conversation of messages and answers behind a prefix.

    A turn's text is that of its conversation or, `in_pieces`, made of the own texts of the turns before it.
    """
    shared: tuple[tuple[Hashable, int], ...] = (("prefix", prefix),) if prefix else ()
    requests: list[Request] = []
    said = prefix
    for number, (message, answer) in enumerate(lengths):
        own = None if in_pieces else "conversation"
        requests.append(Request(number, 0.0, said + message, answer, shared_text=shared, own_text=own))
        said += message + answer
        if in_pieces:
            shared = (*shared, (("request", number), message + answer))
    return requests


MESSAGES = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=2, max_size=4)


@settings(max_examples=500)
@given(MESSAGES, st.integers(0, 11), st.booleans())
def test_a_turn_finds_all_full_blocks_that_were_computed_before_it(lengths, prefix, in_pieces):
    """The last token of an answer is never computed: of p + o tokens, floor((p + o - 1) / block) blocks are there."""
    fast, plain = CachingBlockPool(100, BLOCK), PlainBlocks(100)
    computed = 0
    for request in turns(lengths, prefix, in_pieces):
        twin = Twin(request)
        assert fast.find(with_known(twin.state, request.prompt_tokens)).blocks == computed // BLOCK
        assert twin.start(fast, plain, request.prompt_tokens, request.prompt_tokens - computed // BLOCK * BLOCK)
        assert twin.grow(fast, plain, request.output_tokens - 1)
        computed = twin.tokens
        assert computed == request.prompt_tokens + request.output_tokens - 1
        twin.leave(fast, plain)


def with_known(state: RequestState, tokens: int) -> RequestState:
    state.known_tokens = tokens
    return state


def test_another_conversation_finds_the_prefix_only():
    fast, plain = CachingBlockPool(100, BLOCK), PlainBlocks(100)
    first, _ = turns([(6, 7), (3, 2)], 9, in_pieces=False)
    twin = Twin(first)
    twin.start(fast, plain, first.prompt_tokens, first.prompt_tokens)
    twin.leave(fast, plain)
    other = Twin(first._replace(request_id=5, own_text="another conversation"))
    other.start(fast, plain, first.prompt_tokens, 1)
    assert other.tokens == 9 // BLOCK * BLOCK + 1
