"""The plain engine behind a front end that refuses requests at a limit and whose clients lose patience."""

from __future__ import annotations

import math

from oracles.plain_engine import TIE_S, PlainEngine
from oracles.plain_scheduler import PlainRequest

from sim.cost.batch import CostModel
from sim.specs.engine import EngineSpec
from sim.workload.workload import Workload


class PlainAdmission(PlainEngine):
    """`refused` are ids, `left_s` says when those left who were never scheduled; `states` are the others.

    `unread` are those among them who left before the engine had read of them.
    """

    def __init__(self, engine: EngineSpec, cost: CostModel, workload: Workload) -> None:
        super().__init__(engine, cost, workload)
        self.most = engine.max_concurrent_requests or math.inf
        table = workload.table
        self.patience_s = table["patience_s"].tolist() if "patience_s" in table else [math.inf] * len(table)
        self.refused: list[int] = []
        self.left_s: dict[int, float] = {}
        self.unread: set[int] = set()

    def synchronously(self, now_s: float) -> float:
        self.read(now_s, now_s)
        nobody_is_left = not self.scheduler.running and not self.scheduler.waiting
        return now_s if nobody_is_left else super().synchronously(now_s)

    def read(self, now_s: float, reading_since_s: float) -> None:
        """One after the other: whoever comes finds those there who have neither their answer nor left by then."""
        while self.traffic.coming and self.traffic.coming[0][0] <= now_s + TIE_S:
            request = self.traffic.take()
            self.lose(request.arrival_s)
            if sum(not state.finish_s <= request.arrival_s + TIE_S for state in self.states) >= self.most:
                self.refused.append(request.request_id)
                continue
            self.states.append(self.scheduler.enqueue(request))
            self.states[-1].queued_s = max(reading_since_s, request.arrival_s)
        self.lose(now_s)

    def lose(self, now_s: float) -> None:
        """Whoever has lost patience by now leaves."""
        for state in list(self.scheduler.waiting):
            if not state.preemptions and self.deadline_s(state) <= now_s + TIE_S:
                self.scheduler.waiting.remove(state)
                self.states.remove(state)
                self.left_s[state.request.request_id] = self.deadline_s(state)
                if self.deadline_s(state) <= state.queued_s:
                    self.unread.add(state.request.request_id)

    def deadline_s(self, state: PlainRequest) -> float:
        return state.request.arrival_s + self.patience_s[state.request.request_id]
