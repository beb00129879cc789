"""A driver for tests that call the scheduler core directly, and what its counters say of one request."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import Any, NamedTuple

from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Plan
from sim.scheduling.schedule_log import Record, decision_record, outcome_record
from sim.scheduling.state import RequestState
from sim.specs.engine import EngineSpec
from sim.specs.request import Request

NOTHING: Record = {"step": -1, "scheduled": []}
"""What was decided before the first call."""


class Step(NamedTuple):
    """A call of `schedule` and the outcome applied after it, by the names of requests, in the order in which they run.

    `tokens`, `how` and `new_blocks` are what each that runs was given; `emitted` and `finished` what came of it or,
    under asynchronous scheduling, of the call before.
    """

    plan: Plan
    tokens: dict[str, int]
    how: dict[str, str]
    new_blocks: dict[str, int]
    preempted: str
    emitted: str
    finished: str

    @property
    def blocked_by(self) -> str | None:
        return self.plan.blocked_by


class Driver:
    """A core and the names of its requests: tests speak of "A" and "B"."""

    def __init__(self, engine: EngineSpec) -> None:
        self.core = SchedulerCore(engine)
        self._names: dict[int, str] = {}
        self._ids = count()
        self._to_apply: deque[tuple[Plan, Record]] = deque([(Plan(), NOTHING)] if engine.async_scheduling else [])

    def enqueue(self, name: str, prompt: int, output: int = 10, **fields: Any) -> RequestState:
        request = Request(next(self._ids), 0.0, prompt, output, **fields)
        self._names[request.request_id] = name
        return self.core.enqueue(request)

    def step(self) -> Step:
        """Decide an iteration, and apply it or the one before."""
        plan = self.core.schedule()
        decision = decision_record(0, [], plan, self.core)
        self._to_apply.append((plan, decision))
        executed, its_decision = self._to_apply.popleft()
        outcome = outcome_record(its_decision, executed, self.core.apply(executed), self.core)
        given = {self._names[part["id"]]: part for part in decision["scheduled"]}
        return Step(
            plan,
            tokens={name: part["tokens"] for name, part in given.items()},
            how={name: part["how"] for name, part in given.items()},
            new_blocks={name: part["new_blocks"] for name, part in given.items()},
            preempted=self.names(plan.preempted),
            emitted=self._named(outcome["emitted"]),
            finished=self._named(outcome["finished"]),
        )

    def names(self, states: Iterable[RequestState]) -> str:
        return self._named(state.request.request_id for state in states)

    def _named(self, request_ids: Iterable[int]) -> str:
        return "".join(self._names[request_id] for request_id in request_ids)

    @property
    def running(self) -> str:
        return self.names(self.core.running)

    @property
    def waiting(self) -> str:
        return self.names(self.core.waiting)

    @property
    def free_blocks(self) -> int:
        return self.core.pool.free_blocks

    def held_blocks(self, state: RequestState) -> int:
        return self.core.blocks_held(state, computed_tokens(self.core, state))


def computed_tokens(core: SchedulerCore, state: RequestState) -> int:
    """Tokens of a request that are in the cache; the decode group counts for its members."""
    return core.decodes.computed_tokens(state) if state.decoding else state.computed_tokens


def emitted_tokens(core: SchedulerCore, state: RequestState) -> int:
    """Outputs of a request, those of the iteration under way included."""
    return core.decodes.emitted_tokens(state) if state.decoding else state.emitted_tokens


def answer_tokens(state: RequestState) -> int:
    """Outputs after which the model stops."""
    return state.final_tokens - state.request.prompt_tokens
