"""configs/engines.yaml in short, and what docs/engines.md says of it."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

import sim
from sim.specs import catalogue
from sim.study.sweep import Cell, axes_in, plan_sweep, sweep_table

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / "configs" / "engines.yaml"
PAGE = (REPOSITORY / "docs" / "engines.md").read_text(encoding="utf-8")
SHORT = "workload.num_requests=1200"
"""A fifth of the requests."""

RESERVED = ["static", "orca"]
PREFILL_FIRST = ["vllm-v0", "sglang", "lightllm"]
SMALL_CHUNKS = ["fastgen", "sarathi", "sarathi-simple-chunking", "vllm-v0-chunked"]
LOOKING_AHEAD = ["sglang", "sglang-mixed", "lightllm"]


def cells(folder: Path) -> list[Cell]:
    return plan_sweep(CONFIG, ["vary={}", SHORT], axes_in(CONFIG, []), folder)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    planned = cells(tmp_path_factory.mktemp("engines"))
    summaries = {cell.label: sim.run(cell.experiment).summary for cell in planned}
    return sweep_table(planned, summaries).set_index("engine.preset")


def test_every_preset_is_compared_on_the_same_memory_and_seats(tmp_path: Path) -> None:
    engines = [cell.experiment.engine for cell in cells(tmp_path)]
    assert sorted(engine.preset for engine in engines) == catalogue.names("engines")
    assert {(engine.num_gpu_blocks or 0) * engine.block_size for engine in engines} == {32768}
    assert {(engine.max_num_seqs, engine.max_model_len) for engine in engines} == {(256, 4096)}
    assert not any("hypothetical" in note for cell in cells(tmp_path) for note in cell.experiment.notes)


def test_prompts_alone_stall_decodes_and_small_chunks_do_not(table: pd.DataFrame) -> None:
    assert table.loc[PREFILL_FIRST, "p99_itl"].min() > 0.15
    assert table.loc[SMALL_CHUNKS, "p99_itl"].max() < 0.12
    assert table["p99_itl"].drop("static").idxmin() == "sarathi"


def test_reserved_memory_is_mostly_waste_and_runs_few(table: pd.DataFrame) -> None:
    paged = table.drop(RESERVED)
    assert table.loc[RESERVED, "kv_wasted_fraction"].min() > 0.6
    assert paged["kv_wasted_fraction"].max() < 0.04
    assert table.loc[RESERVED, "mean_running"].max() < 8.1 < 15 < paged["mean_running"].min()
    assert (table.loc[RESERVED, "verdict"] == "unstable").all()


def test_who_looks_ahead_or_reserves_evicts_nobody(table: pd.DataFrame) -> None:
    assert (table.loc[[*RESERVED, *LOOKING_AHEAD], "preemptions"] == 0).all()
    assert table["preemptions"].idxmax() in ("vllm-v1", "vllm-v1-chunk-gate")


def test_mixing_keeps_more_within_the_limits_than_prompts_alone(table: pd.DataFrame) -> None:
    mixed = ["sarathi", "fastgen", "vllm-v0-chunked", "vllm-v1", "vllm-v1-chunk-gate"]
    alone = [*PREFILL_FIRST, "sarathi-simple-chunking"]
    assert table.loc[mixed, "request_goodput"].min() > table.loc[alone, "request_goodput"].max()


def test_the_page_has_a_paragraph_and_a_row_a_preset() -> None:
    names = set(catalogue.names("engines"))
    assert set(re.findall(r"^\*\*`([a-z0-9-]+)`\*\*: ", PAGE, re.MULTILINE)) == names
    measured = PAGE[PAGE.index("## The same traffic") : PAGE.index("![")]
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", measured, re.MULTILINE)) == names
