"""An engine written as plainly as it can be: the independent answer that the fast one must equal.

One iteration after the other: no simpy, no runs of iterations, no sums that are carried along. It adds the clock to
`plain_scheduler.py`, and the traffic to that.
"""

from __future__ import annotations

import math
from bisect import insort
from itertools import groupby
from typing import Any

from oracles.plain_scheduler import Iteration, PlainRequest, PlainScheduler, blocks_of, seats_of
from oracles.plain_speculation import Count, no_draft_is_right, speculation_of

from sim.cost.batch import CostModel, total_s
from sim.specs.engine import EngineSpec
from sim.specs.request import Request
from sim.workload.workload import Workload

TIE_S = 1e-9
"""What arrives at most this long after a boundary counts as there: sums of step times round."""


class PlainTraffic:
    """Who will send what, and when.

    `coming` are times, ascending, each with the requests of which the first is sent then: one by the clock, the turns
    of a conversation that are left, or all that are left in a closed loop, where whoever comes sends the next one.
    """

    def __init__(self, workload: Workload) -> None:
        self.coming: list[tuple[float, list[Request]]] = []
        self.requests = list(workload)
        self.pauses_s: list[float] = []
        self.talks: list[list[Request]] = []
        self.turn_taking = workload.turn_taking
        if self.turn_taking is not None:
            talks = [list(turns) for _, turns in groupby(self.requests, lambda request: request.session_id)]
            users = len(talks) if self.turn_taking.users is None else self.turn_taking.users
            self.talk_of = {talk[0].session_id: talk for talk in talks}
            self.talks = talks[users:]
            for talk in talks[:users]:
                by_the_clock = self.turn_taking.users is None
                self.expect(talk[0].arrival_s if by_the_clock else self.pause_s(talk[0]), talk)
        elif workload.users is None or workload.think_s is None:
            for request in self.requests:
                self.expect(request.arrival_s, [request])
        else:
            pauses_s = [float(pause_s) for pause_s in workload.think_s]
            self.pauses_s = pauses_s[workload.users :]
            for pause_s in pauses_s[: workload.users]:
                self.expect(pause_s, self.requests)

    def expect(self, arrival_s: float, requests: list[Request]) -> None:
        insort(self.coming, (arrival_s, requests), key=lambda item: item[0])

    def pause_s(self, request: Request) -> float:
        """How long somebody thinks before he sends a turn."""
        assert self.turn_taking is not None
        return float(self.turn_taking.pause_s[request.request_id])

    def take(self) -> Request:
        """The next request to come."""
        arrival_s, requests = self.coming.pop(0)
        return requests.pop(0)._replace(arrival_s=arrival_s)

    def on_answer(self, answered: Request, now_s: float) -> None:
        """Whoever is answered starts to think, if there is something left to send."""
        if self.pauses_s:
            self.expect(now_s + self.pauses_s.pop(0), self.requests)
        elif self.turn_taking is not None:
            talk = self.talk_of[answered.session_id]
            if not talk and self.talks:
                talk = self.talks.pop(0)
            if talk:
                self.expect(now_s + self.pause_s(talk[0]), talk)


class PlainEngine:
    """Serves a workload, by the rules of vLLM V1 or those of another plain `scheduler`.

    `states` are its requests, at the end by number; `log` the iterations as they ran. `accepted` says how many drafts
    are right, of an engine that has any.
    """

    def __init__(
        self,
        engine: EngineSpec,
        cost: CostModel,
        workload: Workload,
        scheduler: Any = None,
        accepted: Count = no_draft_is_right,
    ) -> None:
        self.engine, self.cost, self.workload = engine, cost, workload
        speculation = speculation_of(engine, accepted)
        self.scheduler = scheduler or PlainScheduler(engine, cost.query_tile_tokens, speculation)
        self.traffic = PlainTraffic(workload)
        self.states: list[PlainRequest] = []
        self.log: list[Iteration] = []

    def serve(self) -> None:
        """Until everybody has an answer."""
        now_s = 0.0
        while self.traffic.coming or self.scheduler.is_unfinished():
            if not self.scheduler.running and not self.scheduler.is_away():
                idle_since_s, now_s = now_s, self.when_a_batch_starts(now_s)
                if not self.scheduler.waiting and now_s > idle_since_s + TIE_S:
                    self.scheduler.rest()
                self.read(now_s, idle_since_s)
            now_s = self.asynchronously(now_s) if self.engine.async_scheduling else self.synchronously(now_s)
        self.states.sort(key=lambda state: state.request.request_id)

    def synchronously(self, now_s: float) -> float:
        """One iteration, decided when it starts; returns when it ended."""
        self.read(now_s, now_s)
        iteration = self.scheduler.schedule()
        assert not iteration.is_empty, "nothing can run"
        self.start(iteration, now_s)
        self.finish(iteration)
        return iteration.end_s

    def asynchronously(self, now_s: float) -> float:
        """Iterations that follow each other, each decided when the one before it starts; returns when they ended."""
        self.read(now_s, now_s)
        iteration = self.scheduler.schedule()
        while not iteration.is_empty:
            self.start(iteration, now_s)
            self.read(now_s, now_s)
            following = self.scheduler.schedule()
            self.finish(iteration)
            iteration, now_s = following, iteration.end_s
        return now_s

    def read(self, now_s: float, reading_since_s: float) -> None:
        """The requests that have come by now are queued; an idle engine has read all along, a busy one does it now."""
        while self.traffic.coming and self.traffic.coming[0][0] <= now_s + TIE_S:
            request = self.traffic.take()
            self.states.append(self.scheduler.enqueue(request))
            self.states[-1].queued_s = max(reading_since_s, request.arrival_s)

    def start(self, iteration: Iteration, now_s: float) -> None:
        """Its execution begins; an iteration that only preempts takes no time."""
        scheduler = self.scheduler
        iteration.present = sum(state.computed_tokens > 0 for state in scheduler.running)
        iteration.used_blocks = self.engine.usable_blocks - len(scheduler.pool.free)
        iteration.stored_tokens = scheduler.stored_tokens()
        copied = [getattr(iteration, f"swapped_{way}_blocks", 0) for way in ("in", "out")]
        iteration.batch = iteration.batch._replace(swapped_blocks=sum(copied))
        iteration.start_s = now_s
        iteration.end_s = now_s + (total_s(self.cost.explain(iteration.batch)) if iteration.parts else 0.0)
        for part in iteration.parts:
            if part.how == "new":
                part.state.scheduled_s = max(now_s, part.state.request.arrival_s)
        self.log.append(iteration)

    def finish(self, iteration: Iteration) -> None:
        """Its time has passed; whoever is answered may send something again."""
        self.scheduler.apply(iteration, iteration.end_s)
        for state in iteration.finished:
            self.traffic.on_answer(state.request, iteration.end_s)

    def when_a_batch_starts(self, now_s: float) -> float:
        """An idle engine waits for a request; a static one also until its batch is full or has waited long enough."""
        engine = self.engine
        members_s = [state.request.arrival_s for state in self.scheduler.waiting]
        members_s += [arrival_s for arrival_s, _ in self.traffic.coming]
        if engine.formation_timeout_s == 0:
            return max(now_s, min(members_s))
        seats = seats_of(engine)
        if engine.kv_allocation == "reserved":
            seats = min(seats, engine.usable_blocks // blocks_of(engine.resolved_max_model_len, engine))
        if len(members_s) >= seats:
            full_s = sorted(members_s)[seats - 1]
        else:
            full_s = max(members_s) if math.isinf(engine.formation_timeout_s) else math.inf
        return max(now_s, min(full_s, min(members_s) + engine.formation_timeout_s))
