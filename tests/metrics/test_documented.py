"""docs/metrics.md names every number a run gives, and no number that no run gives."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from small_runs import ONE_TOKEN_EACH, experiment, run

from sim.scheduling.plan import BLOCKERS
from sim.serving.columns import DRAFT_COLUMNS, SWAP_COLUMNS
from sim.study.model_uncertainty import model_uncertainty
from sim.study.replicated import replicate

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
KEYED_BY_DATA = {
    "sim.batch.queue_blocked_by", "sim.step_time.seconds_by_group", "sim.step_time.share_by_resource",
    "sim.slo.limits", "sim.slo.values", "sim.groups.tenant", "sim.groups.priority", "sim.intervals",
    "sim.no_intervals", "sim.replications.stability", "sim.replications.until", "sim.replications.values",
    "sim.model_uncertainty.metrics",
}  # fmt: skip
"""Below these, keys are names of this run: operation groups, resources, reasons, SLOs, tenants, priorities."""

CLOSED_LOOP = {"workload.arrivals": {"process": "closed_loop", "users": 3}, "workload.num_requests": 9}
DESCRIBED = {
    "workload.priorities": {0: 1.0, 1: 1.0},
    "workload.tenants": {"one": 1.0, "other": 1.0},
    "workload.max_new_tokens": 50,
    "workload.output_predictor": {"error_cv": 0.5},
    "slo": {"p99_ttft": 0.5},
}
ACCEPTANCE = {"kind": "constant", "rate": 0.6}
DRAFTS = {"engine.speculation": {"method": "ngram", "num_speculative_tokens": 3, "acceptance": ACCEPTANCE}}
SWAPS = {"engine.preset": "vllm-v0", "engine.preemption_mode": "swap"}


def words_of(text: str) -> set[str]:
    """The names in backticks, `a_{x,y}` written out."""
    return {word for span in re.findall(r"`([^`\n]+)`", text) for word in written_out(span)}


def written_out(name: str) -> list[str]:
    parts = [part.split(",") for part in re.split(r"[{}]", name)]
    return ["".join(choice) for choice in product(*parts)]


def keys_of(summary: dict, prefix: str = "") -> set[str]:
    found = set()
    for key, value in summary.items():
        name = prefix + key
        branches = isinstance(value, dict) and name not in KEYED_BY_DATA
        found |= keys_of(value, f"{name}.") if branches else {name}
    return found


@pytest.fixture(scope="module")
def results():
    single = run(CLOSED_LOOP)
    told = {"model_uncertainty": model_uncertainty(single.experiment, 3).to_dict(single.summary)}
    single = replace(single, summary=single.summary | {"sim": single.summary["sim"] | told})
    return [
        run(DESCRIBED),
        single,
        run(ONE_TOKEN_EACH),
        run(DRAFTS),
        run(SWAPS),
        replicate(experiment(DESCRIBED), 3).result(),
    ]


@pytest.fixture(scope="module")
def documented():
    return words_of(DOCUMENT.read_text(encoding="utf-8"))


def given_keys(results) -> set[str]:
    """Keys of all runs; a section that is null in some run counts by its content in the others."""
    keys = {key for result in results for key in keys_of(result.summary)}
    return {key for key in keys if not any(other.startswith(f"{key}.") for other in keys)}


def test_names_are_written_out():
    assert written_out("a_{b,c}.{d,e}") == ["a_b.d", "a_b.e", "a_c.d", "a_c.e"]


def test_every_key_of_the_summary_is_documented(results, documented):
    assert given_keys(results) - documented == set()


def test_every_documented_key_is_given(results, documented):
    keys = given_keys(results)
    assert {word for word in documented if word.startswith("sim.")} - keys == set()
    assert {word for word in documented if re.fullmatch(r"spec_decode_\w+", word)} - keys == set()
    assert {word for word in documented if re.fullmatch(r"(mean|median|std|p\d+)_\w+_ms", word)} - keys == set()


def test_every_column_is_documented(results, documented):
    for result in results:
        assert set(result.requests) | set(result.iterations) <= documented


def test_the_columns_of_an_iteration_are_documented_in_their_order(results):
    section = DOCUMENT.read_text(encoding="utf-8").partition("\n## An iteration\n")[2].partition("\n## ")[0]
    columns = [*results[0].iterations, *DRAFT_COLUMNS, *SWAP_COLUMNS]
    assert re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE) == columns


def test_every_blocker_is_documented():
    (row,) = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `blocked_by`")]
    assert all(why in row for why in BLOCKERS if why)
