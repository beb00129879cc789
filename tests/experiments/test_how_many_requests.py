"""The experiment's one command runs, and what its README says is what it finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parents[2] / "experiments" / "how_many_requests"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def p99_rows(folder: Path) -> pd.DataFrame:
    """By load and number of requests: how far off the P99s are."""
    table = pd.read_csv(folder / "result.csv")
    return table[table["percentile"] == 99].set_index(["load", "requests"])


def test_a_short_run_finds_that_few_requests_are_not_enough_and_draws_it(tmp_path):
    """One test, since the run is what takes time."""
    command = [sys.executable, str(FOLDER / "run.py"), "--requests", "6000", "--runs", "2", "--out", str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = p99_rows(tmp_path)
    for load in (0.5, 0.8, 0.9):
        assert rows.loc[(load, 100), "low"] < rows.loc[(load, 300), "low"] < -0.1
    assert rows.loc[(0.9, 300), "truth_s"] > rows.loc[(0.5, 300), "truth_s"]
    assert "at 90% load for P99 TTFT about " in done.stdout
    assert (tmp_path / "spread.png").read_bytes().startswith(b"\x89PNG")


# ---- the README ------------------------------------------------------------------------------------------------------


def test_the_readme_states_the_numbers_of_the_result_beside_it():
    rows = p99_rows(FOLDER)
    for load in (0.5, 0.8, 0.9):
        cells = [f"{rows.loc[(load, 300), 'truth_s']:.2f} s"]
        for requests in (300, 1000, 10_000, 30_000):
            low, high = rows.loc[(load, requests), ["low", "high"]]
            cells.append(f"{100 * low:.0f} to +{100 * high:.0f} %".replace("-", "\N{MINUS SIGN}"))
        assert f"| {load:.0%} | {' | '.join(cells)} |".replace(f"{load:.0%}", f"{100 * load:.0f} %") in README


def test_the_readme_shows_the_picture_the_config_and_the_command():
    assert "](spread.png)" in README
    assert "](config.yaml)" in README
    assert "python experiments/how_many_requests/run.py`" in README
