"""The queueing oracles of tests/data/oracles.json, and which test holds the program to which of their values.

`@holds("M/D/1", "Wq E2E")` runs a test for every case of a model and says which exact values it checks; the case it
gets shows only those. What no test can check stands in `NOT_EXPRESSIBLE` and `NOT_MEASURABLE`, with the reason, and
test_queueing_oracles.py finds that nothing is missing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ORACLES = Path(__file__).parent.parent / "data" / "oracles.json"


@dataclass(frozen=True)
class Case:
    """One oracle: a queueing model, its parameters, and exact values, in seconds where they are times."""

    id: str
    model: str
    params: dict[str, Any]
    expected: dict[str, Any]

    def __str__(self) -> str:
        return self.id

    def only(self, names: Collection[str]) -> Case:
        """The same case with only some of its values, which must be there."""
        return replace(self, expected={name: self.expected[name] for name in names})


@cache
def all_cases() -> dict[str, Case]:
    """Every case by id."""
    cases = json.loads(ORACLES.read_text(encoding="utf-8"))["cases"]
    return {case["id"]: Case(*(case[key] for key in ("id", "model", "params", "expected"))) for case in cases}


def cases_of(model: str) -> list[Case]:
    """All cases of a model, in the order of their numbers."""
    found = [case for case in all_cases().values() if case.model == model]
    assert found, model
    return sorted(found, key=lambda case: int(case.id.rsplit("-", 1)[1]))


# ---- what is not held ------------------------------------------------------------------------------------------------

ROUTER = "needs a router that looks at the queues of several engines when a request comes"
RUNNING_ON = "needs a scheduler that takes the seat from a running request when a shorter one comes"
MIXED = "needs a scheduler that runs prompts in steps of their own; decodes are in every step of ours"
NOT_EXPRESSIBLE: dict[str, str] = {
    "JSQ-2-replicas-1 E2E": ROUTER,
    "JSQ-2-replicas-2 E2E": ROUTER,
    "JSQ-2-replicas-3 E2E": ROUTER,
    "power-of-two-choices-1 E2E": ROUTER,
    "power-of-two-choices-2 E2E": ROUTER,
    "power-of-two-choices-3 E2E": ROUTER,
    "SRPT-SJF-M/M/1-1 E2E_SRPT": RUNNING_ON,
    "SRPT-SJF-M/M/1-2 E2E_SRPT": RUNNING_ON,
    "SRPT-SJF-M/M/1-3 E2E_SRPT": RUNNING_ON,
    "decode-stall-bound-1 max_gap_exclusive": MIXED,
    "decode-stall-bound-2 max_gap_exclusive": MIXED,
    "decode-stall-bound-3 max_gap_exclusive": MIXED,
}
"""What one engine, or several that know nothing of each other, cannot be yet, and why."""

BY_SEATS = "seats of one engine that do not slow each other down stand for the servers"
IN_PIECES = "each engine is a run of its own, sent its share or the answers of the engine before it"
SEVERAL_ENGINES: dict[str, str] = {
    "M/M/c": BY_SEATS,
    "M/D/c": BY_SEATS,
    "random-split": IN_PIECES,
    "JSQ-2-replicas": f"what joining the shortest queue is compared with: {BY_SEATS}; {IN_PIECES}",
    "power-of-two-choices": f"what it is compared with: {IN_PIECES}",
    "tandem-Jackson": IN_PIECES,
    "prefill-only-TTFT-DistServe": f"for the pipeline of two {IN_PIECES}",
    "static-timeout-ample-servers": "an engine that is done within a microsecond stands for ample ones",
}
"""Models of several engines, which no one run expresses yet, and what their tests make of one engine meanwhile."""

AT_ONE_HALF = "exactly half of all requests wait, so that a sample's median is 0 or not by chance; P_wait is held"
NOT_MEASURABLE: dict[str, str] = {
    "M/D/1-1 Wq_p50": AT_ONE_HALF,
    "M/M/1-1 Wq_p50": AT_ONE_HALF,
    "M/G/inf-2 P0": "4e-18: never idle in any run",
    "affine-step-PS-3 P0": "2e-8: hardly ever idle in any run",
    "constant-step-infinite-batch-1 TPOT": "an answer of one token has no time per further token",
}
"""What no run shows, and why."""


# ---- what is held ---------------------------------------------------------------------------------------------------

EVERYDAY: dict[str, set[str]] = defaultdict(set)
DEEP: dict[str, set[str]] = defaultdict(set)
"""Values that tests hold, by case: those of the everyday suite, and those that only `pytest -m deep` holds."""


def holds(
    model: str, values: str, *, deep: bool | Collection[int] = (), only: Collection[int] = ()
) -> pytest.MarkDecorator:
    """Run a test for the cases of `model` (`only` those numbers), each with the `values` that the test holds.

    `values` are names with blanks between them; those that some cases lack are left out there. Cases in `deep`, or all
    if it is true, run only when deep tests are asked for.
    """
    parameters = []
    for number, case in enumerate(cases_of(model), start=1):
        if only and number not in only:
            continue
        is_deep = deep if isinstance(deep, bool) else number in deep
        names = [name for name in values.split() if name in case.expected and f"{case} {name}" not in NOT_MEASURABLE]
        if not names:
            continue
        (DEEP if is_deep else EVERYDAY)[case.id] |= set(names)
        marks = [pytest.mark.deep] if is_deep else []
        parameters.append(pytest.param(case.only(names), id=case.id, marks=marks))
    return pytest.mark.parametrize("case", parameters)


def missing() -> list[str]:
    """Every value of every case that is neither held nor listed."""
    listed = NOT_EXPRESSIBLE.keys() | NOT_MEASURABLE.keys()
    return [
        f"{case} {name}"
        for case in all_cases().values()
        for name in case.expected.keys() - EVERYDAY[case.id] - DEEP[case.id]
        if f"{case} {name}" not in listed
    ]
