"""KV blocks that remember what they hold: the paged pool with vLLM V1's prefix cache, without work a block.

What requests store is a tree of *runs*: a `Run` is a stretch of blocks of one text, reached from what stands before it,
so that the path from the root spells a prompt. Each physical `Copy` of a run is held by requests or free, and the free
ones queue up to be evicted, least recently used first. As in vLLM

* a full block can be found as soon as it is scheduled, that of an output as soon as the output is known (of a request's
  own text only what others may look for is stored before it leaves: `own_texts.py`);
* a lookup takes the longest prefix, of several copies the oldest, and never the last known token;
* a leaving request's blocks queue up last block first, so that a prompt is evicted from its end; those without a hash
  (not full) are used again first;
* free blocks that can still be found count as free.

A run is only split where prompts part, or where one of them is found half evicted.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple


class Run:
    """`blocks` blocks of the text `key`, after what its `parent` spells; `copies` oldest first."""

    __slots__ = ("blocks", "children", "copies", "key", "parent")

    def __init__(self, key: Hashable, blocks: int, parent: Run | None) -> None:
        self.key = key
        self.blocks = blocks
        self.parent = parent
        self.children: dict[Hashable, Run] = {}
        self.copies: list[Copy] = []


class Copy:
    """The blocks of a run: the first `alive` of them, the others having been evicted.

    `holders` requests use it; without any it stands in the eviction queue between `before` and `after`. When its run is
    split, `rest` is the copy of the part cut off.
    """

    __slots__ = ("after", "alive", "before", "holders", "rest", "run")

    def __init__(self, run: Run, alive: int, holders: int) -> None:
        self.run = run
        self.alive = alive
        self.holders = holders
        self.rest: Copy | None = None
        self.before: Copy = self
        self.after: Copy = self


class Held(NamedTuple):
    """A stretch of blocks that a request holds: `copy`, and its `rest` and so on where it has been split since."""

    copy: Copy
    blocks: int

    def parts(self) -> list[Copy]:
        """The copies it consists of now, in order of the text."""
        copy, blocks = self
        if copy.run.blocks == blocks:
            return [copy]
        parts = []
        while True:
            parts.append(copy)
            blocks -= copy.run.blocks
            if not blocks:
                return parts
            copy = _rest(copy)


class Found(NamedTuple):
    """A stretch of a copy that a lookup found: from `start` to `end`, in blocks of its run."""

    copy: Copy
    start: int
    end: int


class Hit(NamedTuple):
    """What a lookup found: `blocks` in all, of which `idle_blocks` are held by nobody."""

    found: list[Found]
    blocks: int
    idle_blocks: int


class PrefixCache:
    """The tree of runs and the queue of free copies. Numbers are blocks."""

    def __init__(self) -> None:
        self._root = Run(None, 0, None)
        self._queue = Copy(self._root, 0, 0)  # a ring: `after` it the next to be evicted, `before` it the last

    # ---- lookup -----------------------------------------------------------------------------------------------------

    def may_have(self, text: Sequence[tuple[Hashable, int]]) -> bool:
        """Whether anything that is stored begins like `text`."""
        return text[0][0] in self._root.children

    def find(self, text: Iterable[tuple[Hashable, int]], most: int) -> Hit:
        """The longest stored prefix of `text`, pairs of (key, blocks), of at most `most` blocks."""
        found: list[Found] = []
        run, blocks = self._root, 0
        for key, wanted in text:
            wanted = min(wanted, most - blocks)
            while wanted > 0:
                child = run.children.get(key)
                if child is None:
                    return _hit(found, blocks)
                run, here = child, min(wanted, child.blocks)
                got = _oldest_copies(run, here, found)
                blocks, wanted = blocks + got, wanted - got
                if got < run.blocks:
                    return _hit(found, blocks)
        return _hit(found, blocks)

    def hold(self, hit: Hit) -> list[Held]:
        """Take what was found; it must not have changed since."""
        held = []
        for copy, start, end in hit.found:
            while start >= copy.run.blocks:  # it was split for a find before
                start, end, copy = start - copy.run.blocks, end - copy.run.blocks, _rest(copy)
            if end < copy.run.blocks:
                self._split(copy.run, end)
            if start:
                self._split(copy.run, start)
                copy = _rest(copy)
            if not copy.holders:
                self._unlink(copy)
            copy.holders += 1
            held.append(Held(copy, end - start))
        return held

    # ---- storing ----------------------------------------------------------------------------------------------------

    def store(self, held: Sequence[Held], text: Iterable[tuple[Hashable, int]]) -> list[Held]:
        """A holder of `held` has more blocks: `text`, which goes on where that ends. Returns all it holds now."""
        held = list(held)
        run = held[-1].parts()[-1].run if held else self._root
        for key, blocks in text:
            while blocks:
                child = run.children.get(key)
                if child is None:
                    child = run.children[key] = Run(key, blocks, run)
                elif child.blocks > blocks:
                    self._split(child, blocks)
                run, stored = child, child.blocks
                copy = Copy(run, stored, 1)
                run.copies.append(copy)
                held.append(Held(copy, stored))
                blocks -= stored
        return held

    def let_go(self, held: Sequence[Held]) -> int:
        """A request no longer holds this; what nobody holds any more queues up, last block first. Returns how much."""
        freed = 0
        for entry in reversed(held):
            for copy in reversed(entry.parts()):
                copy.holders -= 1
                if not copy.holders:
                    self._link(copy, self._queue)
                    freed += copy.alive
        return freed

    def evict(self, blocks: int) -> None:
        """Forget the `blocks` free ones that were used least recently."""
        while blocks:
            copy = self._queue.after
            gone = min(blocks, copy.alive)
            copy.alive -= gone
            blocks -= gone
            if not copy.alive:
                self._unlink(copy)
                copy.run.copies.remove(copy)
                _prune(copy.run)

    # ---- runs and copies --------------------------------------------------------------------------------------------

    def _split(self, run: Run, at: int) -> None:
        """Cut `run` after `at` blocks: it keeps its first part, the rest becomes its child."""
        rest = Run(run.key, run.blocks - at, run)
        rest.children, run.children = run.children, {run.key: rest}
        for child in rest.children.values():
            child.parent = rest
        run.blocks = at
        for copy in run.copies:
            cut = Copy(rest, max(copy.alive - at, 0), copy.holders)
            copy.alive = min(copy.alive, at)
            if cut.alive:
                rest.copies.append(cut)
                cut.rest, copy.rest = copy.rest, cut
                if not copy.holders:
                    self._link(cut, copy)
        if not rest.copies:
            _prune(rest)

    def _link(self, copy: Copy, after: Copy) -> None:
        """Into the queue, to be evicted just before `after`."""
        before = after.before
        copy.before, copy.after = before, after
        before.after = after.before = copy

    def _unlink(self, copy: Copy) -> None:
        copy.before.after, copy.after.before = copy.after, copy.before


def _rest(copy: Copy) -> Copy:
    """The copy of the part that was cut off."""
    assert copy.rest is not None
    return copy.rest


def _oldest_copies(run: Run, blocks: int, found: list[Found]) -> int:
    """Add where to find the first `blocks` of a run, each in its oldest copy; returns how many there are."""
    got = 0
    while got < blocks:
        copy = next((copy for copy in run.copies if copy.alive > got), None)
        if copy is None:
            break
        found.append(Found(copy, got, min(copy.alive, blocks)))
        got = found[-1].end
    return got


NOTHING_FOUND = Hit([], 0, 0)


def _hit(found: list[Found], blocks: int) -> Hit:
    if not found:
        return NOTHING_FOUND
    return Hit(found, blocks, sum(end - start for copy, start, end in found if not copy.holders))


def _prune(run: Run) -> None:
    """Remove runs that hold nothing and lead nowhere."""
    while not run.copies and not run.children and run.parent is not None:
        del run.parent.children[run.key]
        run = run.parent
