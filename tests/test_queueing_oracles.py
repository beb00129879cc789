"""Every exact value of tests/data/oracles.json is held by a test of a test_queueing file, or listed with the reason.

Their gates are in `oracles/gates.py`, what is listed in `oracles/cases.py`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import pytest
from oracles import table
from oracles.cases import DEEP, EVERYDAY, NOT_EXPRESSIBLE, NOT_MEASURABLE, SEVERAL_ENGINES, all_cases, missing
from oracles.gates import MISSES


@pytest.fixture(scope="module", autouse=True)
def _every_test_has_said_what_it_holds() -> None:
    for path in sorted(Path(__file__).parent.glob("test_queueing_*.py")):
        import_module(path.stem)


def test_the_file_has_the_cases_it_is_known_for() -> None:
    assert len(all_cases()) == 126
    assert len({case.model for case in all_cases().values()}) == 39


def test_no_value_is_missing() -> None:
    assert missing() == []


def test_what_is_listed_exists_and_is_not_held() -> None:
    for listed in NOT_EXPRESSIBLE.keys() | NOT_MEASURABLE.keys():
        case_id, name = listed.split(" ")
        assert name in all_cases()[case_id].expected, listed
        assert name not in EVERYDAY[case_id] | DEEP[case_id], f"{listed} is held: take it off the list"


def test_cases_of_several_engines_are_known_by_id() -> None:
    """Of these only the router's own values are not held at all."""
    of_several = {case.id for case in all_cases().values() if case.model in SEVERAL_ENGINES}
    assert of_several == {f"{model}-{number}" for model in SEVERAL_ENGINES for number in (1, 2, 3)}
    own = {listed.split(" ")[0] for listed in NOT_EXPRESSIBLE if listed.endswith(" E2E")}
    assert own == {f"{model}-{number}" for model in ("JSQ-2-replicas", "power-of-two-choices") for number in (1, 2, 3)}


def test_every_case_has_some_value_in_the_everyday_suite_or_is_listed_as_deep() -> None:
    only_deep = {case_id for case_id in all_cases() if not EVERYDAY[case_id]}
    assert only_deep == ONLY_DEEP


ONLY_DEEP = {
    "JSQ-2-replicas-2", "JSQ-2-replicas-3", "M/G/1-PS-1", "M/G/1-PS-2", "M/G/1-PS-3", "M/G/1-lognormal-2",
    "SRPT-SJF-M/M/1-2", "SRPT-SJF-M/M/1-3", "affine-step-PS-2", "affine-step-PS-3", "power-of-two-choices-2",
    "power-of-two-choices-3", "priority-nonpreemptive-Cobham-1", "priority-nonpreemptive-Cobham-2",
    "priority-nonpreemptive-Cobham-3", "random-split-2", "random-split-3",
}  # fmt: skip
"""Cases whose intervals take too long a run for every day."""


def test_the_table_has_every_value_and_says_what_does_not_agree(tmp_path: Path) -> None:
    found = table.Finding("M/D/1-1", "Wq", 0.05, 0.06, 0.001, "a gate", False, table.PROGRAM, "a test")
    (tmp_path / "found.jsonl").write_text(json.dumps(asdict(found)) + "\n", encoding="utf-8")
    text = table.write([tmp_path / "found.jsonl"])
    assert "| M/D/1-1 | Wq | 0.05 | 0.06 | 0.001 | a gate | program | **DOES NOT AGREE** |" in text
    assert "0 findings agree, 1 do not" in text
    assert all(text.count(f"| {case} |") >= len(case.expected) for case in all_cases().values())
    assert text.count("not held: ") == len(NOT_EXPRESSIBLE) + len(NOT_MEASURABLE)


def test_misses_are_as_few_as_chance_makes_them() -> None:
    assert len(MISSES) <= 4
