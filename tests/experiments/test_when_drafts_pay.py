"""The experiment's one command runs, and what its README says is what it finds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).parents[2] / "experiments" / "speculation"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
WAYS = ("no drafts", "draft model, 1B", "looked up, found in 40 %")


def tpot_by_rate(folder: Path) -> pd.DataFrame:
    """Milliseconds, a column a way of drafting."""
    table = pd.read_csv(folder / "result.csv")
    return table.pivot_table(index="rate_per_s", columns="way", values="mean_tpot_ms")


def test_a_short_run_shows_where_drafts_stop_paying_and_draws_it(tmp_path):
    command = [sys.executable, str(FOLDER / "run.py"), "--requests", "600", "--out", str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "stops paying between" in done.stdout
    tpot = tpot_by_rate(tmp_path)
    assert tpot["draft model, 1B"].iloc[0] < 0.8 * tpot["no drafts"].iloc[0]
    assert tpot["draft model, 1B"].iloc[-1] > tpot["no drafts"].iloc[-1]
    tokens = pd.read_csv(tmp_path / "result.csv").groupby("way")["tokens_per_decode"].mean()
    assert tokens[list(WAYS)].tolist() == pytest.approx([1.0, 2.77, 1.71], rel=0.02)
    assert (tmp_path / "tpot.png").read_bytes().startswith(b"\x89PNG")


def test_the_readme_says_what_was_found():
    tpot = tpot_by_rate(FOLDER)
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) ms \| ([\d.]+) ms \| ([\d.]+) ms \|$", README, re.MULTILINE)
    assert len(rows) == 7
    for rate, *stated in rows:
        assert [f"{tpot.loc[float(rate), way]:.2f}" for way in WAYS] == stated
