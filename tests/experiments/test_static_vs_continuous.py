"""The experiment's one command runs, and what its README says is what it finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parents[2] / "experiments" / "static_vs_continuous"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
SHORT = 300
"""Requests a run: a fifth of the study's, so that queues have less time to build up, which flatters the weakest."""


def capacities(folder: Path) -> list[float]:
    """Requests per second of static, continuous reserved and continuous paged."""
    return pd.read_csv(folder / "result.csv")["capacity_requests_per_s"].tolist()


def test_a_short_run_finds_the_stated_factors_for_the_stated_reasons_and_draws_them(tmp_path):
    """One test, since the run is what takes time."""
    command = [sys.executable, str(FOLDER / "run.py"), "--requests", str(SHORT), "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    static_rate, reserved_rate, paged_rate = capacities(tmp_path)
    assert 3 < reserved_rate / static_rate < 7
    assert 1.6 < paged_rate / reserved_rate < 2.2
    static, reserved, paged = pd.read_csv(tmp_path / "result.csv").to_dict("records")
    assert static["idle_slot_fraction"] > 0.25
    assert reserved["idle_slot_fraction"] == paged["idle_slot_fraction"] == 0
    assert min(static["kv_wasted_fraction"], reserved["kv_wasted_fraction"]) > 0.6
    assert paged["kv_wasted_fraction"] < 0.03
    assert paged["mean_running"] > 2 * reserved["mean_running"]
    assert (tmp_path / "capacity.png").read_bytes().startswith(b"\x89PNG")


# ---- the README ------------------------------------------------------------------------------------------------------


def test_the_readme_states_the_numbers_of_the_result_beside_it():
    for row in pd.read_csv(FOLDER / "result.csv").itertuples():
        assert (
            f"| {row.policy} | {row.unloaded_p99_e2e_s:.2f} s | {row.capacity_requests_per_s:.2f} req/s | "
            f"{row.mean_running:.1f} | {row.idle_slot_fraction:.0%} | {row.kv_wasted_fraction:.0%} |"
        ).replace("%", " %") in README


def test_the_readme_states_the_factors_of_the_result_beside_it():
    static, reserved, paged = capacities(FOLDER)
    assert f"carries {reserved / static:.1f} times what static batching does" in README
    assert f"Paging carries {paged / reserved:.1f} times what reserved slots do" in README


def test_the_readme_shows_the_picture_the_config_and_the_command():
    assert "](capacity.png)" in README
    assert "](config.yaml)" in README
    assert "python experiments/static_vs_continuous/run.py`" in README
