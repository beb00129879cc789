"""The search against brute force: a fine grid of loads, 50 replications each. About a quarter of an hour of a core."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from brute_force import brute_force

import sim

pytestmark = pytest.mark.deep

CONFIGS = Path(__file__).parents[2] / "configs"
RUN_REQUESTS = 11_765
"""Of which a search for a P99 measures 10,000."""
MOST_REQUESTS, MOST_CPU_S = 1_500_000, {"users": 100}
"""CPU seconds are 60 at most, of rates; users, whose answers bring about the next request, take longer."""


class Case(NamedTuple):
    """A config with `overrides`, its SLO, and the grid."""

    config: str
    limits: dict[str, float]
    loads: tuple[float, ...]
    overrides: tuple[str, ...] = ()


CHAT = {"p99_ttft": 0.5, "p99_tpot": 0.05}
CODE_ON_A100 = ("accelerator=a100-80gb-sxm", "engine.max_num_batched_tokens=2048")
CASES = {
    "chat-on-a100": Case("chat-on-a100", CHAT, (3.0, 3.1, 3.2, 3.3, 3.4)),
    "code": Case(
        "compare-token-budget", {"p99_ttft": 2.0, "p99_tpot": 0.2}, (4.55, 4.65, 4.75, 4.85, 4.95), CODE_ON_A100
    ),
    "chat-on-a-4090": Case("demo", {"p99_e2e": 22.0}, (3.5, 3.6, 3.7, 3.8)),
    "users": Case("chat-on-a100", CHAT, (42, 44, 46, 48), ("workload.arrivals={process: closed_loop, users: 10}",)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_search_finds_what_brute_force_finds(name: str, record_property: Any) -> None:
    case = CASES[name]
    experiment = sim.load_experiment(CONFIGS / f"{case.config}.yaml", list(case.overrides))
    began_s = time.process_time()
    answer = sim.capacity(experiment, case.limits)
    cpu_s = time.process_time() - began_s
    exact = brute_force(experiment, case.limits, case.loads, RUN_REQUESTS).capacity()
    for key, value in (("capacity", answer.value), ("brute force", exact), ("cpu_s", cpu_s)):
        record_property(key, value)
    assert answer.value == pytest.approx(exact, rel=0.03)
    assert answer.simulated_requests <= MOST_REQUESTS
    assert cpu_s <= MOST_CPU_S.get(name, 60)
