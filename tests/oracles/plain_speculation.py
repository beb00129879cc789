"""Drafts as the plain scheduler knows them: how many there are, what they take, and how many turn out right.

The rules are those of vLLM V1 0.33.0: vllm/v1/core/sched/scheduler.py and async_scheduler.py, for what a kind of draft
takes vllm/config/vllm.py (`num_lookahead_tokens`) and vllm/config/speculative.py (`max_num_new_slots_for_drafting`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sim.specs.engine import EngineSpec
from sim.specs.request import Request
from sim.workload.acceptance import Acceptance

Count = Callable[[int, int, int], int]
"""(request, how many times before, at most so many) -> drafts."""


def no_draft_is_right(request: int, before: int, most: int) -> int:
    """What becomes of drafts unless it is said."""
    return 0


@dataclass(frozen=True)
class PlainSpeculation:
    """`tokens` drafts are asked for whenever a request sampled; 0 for an engine that does not speculate.

    Blocks are kept for `lookahead_tokens` beyond those of an iteration, and every request in it takes `draft_slots` of
    the token budget besides its own: a draft model writes keys and values ahead, and is given a row more a request.
    `accepted` says how many of the drafts that are verified turn out right.
    """

    tokens: int = 0
    lookahead_tokens: int = 0
    draft_slots: int = 0
    accepted: Count = no_draft_is_right

    def pads(self, running: Sequence[bool], found_tokens: int, longest: int) -> bool:
        """Whether who starts with one token, after so many found, is made as long as those who verify drafts.

        `running` says of those who run already whether they are in their prompts: only beside others who are not, or
        after something found. vLLM runs a batch whose requests are all of one length in one CUDA graph.
        """
        beside = len(running) > 0 or found_tokens > 0
        return self.tokens > 0 and beside and not any(running) and found_tokens + 1 + self.tokens < longest


NO_SPECULATION = PlainSpeculation()


def speculation_of(engine: EngineSpec, accepted: Count = no_draft_is_right) -> PlainSpeculation:
    """What an engine asks for; how many drafts are right it does not know."""
    return PlainSpeculation(engine.num_speculative_tokens, engine.num_lookahead_tokens, engine.draft_slots, accepted)


def drawn(acceptance: Acceptance, requests: Iterable[Request]) -> Count:
    """The accepted drafts of a run: of each request the counts of its rounds, one after another."""
    counts = {request.request_id: acceptance.of(request) for request in requests}
    return lambda request, before, most: min(counts[request][before], most)


def scripted(cycles: Mapping[int, Sequence[int]]) -> Count:
    """The accepted drafts of a recording: a cycle of counts for each request, of which a verification takes the next.

    There can be no more than there were drafts to verify.
    """
    return lambda request, before, most: min(cycles[request][before % len(cycles[request])], most)
