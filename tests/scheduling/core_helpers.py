"""Engines, requests and a driver for tests that call the scheduler core directly."""

from __future__ import annotations

from itertools import count
from typing import Any

from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Outcome, Plan
from sim.scheduling.state import RequestState
from sim.specs import catalogue
from sim.specs.engine import EngineSpec
from sim.specs.request import Request
from sim.specs.validation import validate


def make_engine(preset: str = "vllm-v1", **overrides: Any) -> EngineSpec:
    """The catalogue's preset with plenty of everything (4 tokens a block), and `overrides` on top."""
    entry = catalogue.entry("engines", preset, "engine.preset")
    plenty = {
        "max_num_seqs": 64,
        "max_num_batched_tokens": None if "max_num_batched_tokens" in entry.get("without", {}) else 1000,
        "max_model_len": 100,
        "block_size": 4,
        "num_gpu_blocks": 1000,
    }
    base = {"preset": preset, "preset_version": entry["version"]}
    return validate(EngineSpec, base | entry["values"] | plenty | overrides)


class Driver:
    """A core and the names of its requests: tests speak of "A" and "B"."""

    def __init__(self, engine: EngineSpec) -> None:
        self.core = SchedulerCore(engine)
        self._names: dict[int, str] = {}
        self._ids = count()

    def enqueue(self, name: str, prompt: int, output: int = 10, **fields: Any) -> RequestState:
        request = Request(next(self._ids), 0.0, prompt, output, **fields)
        self._names[request.request_id] = name
        return self.core.enqueue(request)

    def step(self) -> tuple[Plan, Outcome]:
        """One call of `schedule` and its outcome."""
        plan = self.core.schedule()
        return plan, self.core.apply(plan)

    def names(self, states: Any) -> str:
        return "".join(self._names[state.request.request_id] for state in states)

    def tokens(self, plan: Plan) -> dict[str, int]:
        """Tokens by request, in the order in which the plan runs them."""
        return {self._names[part.state.request.request_id]: part.tokens for part in plan.scheduled}

    @property
    def running(self) -> str:
        return self.names(self.core.running)

    @property
    def waiting(self) -> str:
        return self.names(self.core.waiting)
