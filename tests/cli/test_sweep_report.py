"""The table of a sweep in the terminal."""

from __future__ import annotations

import pandas as pd
import pytest
from rich.console import Console

from sim.cli.sweep_report import SHOWN, print_sweep

TABLE = pd.DataFrame(
    {
        "engine.order": ["fcfs", "shortest_predicted"],
        "workload.arrivals.rate": [0.25, 10],
        "verdict": ["stable", "unstable"],
        "slo_met": [True, False],
        "request_throughput": 6.4,
        "request_goodput": [6.1, 0.25],
        "p50_ttft": [41.7, 0.533],
        "p99_ttft": [78.2, 188.4],
        "p50_tpot": 0.0238,
        "p99_tpot": 0.0332,
        "p99_itl": 0.0412,
        "p50_e2e": 46.5,
        "p99_e2e": 84.7,
        "mean_running": 31.1,
        "idle_slot_fraction": 0.25,
        "kv_wasted_fraction": 0.01,
        "preemptions": [7, 1310],
    }
)
KEYS = ["engine.order", "workload.arrivals.rate"]
WIDE = 150
TTFT = (("41.7", "78.2"), ("0.533", "188"))


def printed(table: pd.DataFrame = TABLE, keys: list[str] = KEYS, width: int = 120) -> list[str]:
    console = Console(width=width)
    with console.capture() as capture:
        print_sweep(console, table, keys)
    return [line.strip() for line in capture.get().splitlines()]


def rows(lines: list[str]) -> list[list[str]]:
    """The cells below the rule."""
    (rule,) = [position for position, line in enumerate(lines) if line.startswith("──")]
    return [line.split() for line in lines[rule + 1 :] if line]


def test_the_median_stands_beside_the_p99():
    fcfs, shortest = rows(printed(width=WIDE))
    assert fcfs == [
        "fcfs", "0.25", "stable", "yes", "6.4", "6.1", "41.7", "78.2", "0.0238", "0.0332", "0.0412", "46.5", "84.7",
        "31.1", "25%", "1%", "7",
    ]  # fmt: skip
    assert shortest[6:8] == ["0.533", "188"]


def test_what_nothing_was_measured_for_is_left_out():
    found = rows(printed(TABLE.assign(p50_tpot=None, p99_tpot=None, slo_met=None), width=WIDE))
    assert [len(row) for row in found] == [len(KEYS) + len(SHOWN) - 3] * 2


@pytest.mark.parametrize("width", [80, 90, 100])
def test_a_narrow_terminal_has_fewer_columns_and_all_of_each(width):
    """Shortened numbers (`0.0…`) would be worse than none."""
    lines = printed(width=width)
    assert "…" not in "".join(lines)
    assert len(rows(lines)[0]) < len(KEYS) + len(SHOWN)
    assert all(" ".join(values) in " ".join(row) for values, row in zip(TTFT, rows(lines), strict=True))
    assert ("idle: of batch slots" in " ".join(lines)) == ("25%" in rows(lines)[0])


def test_a_table_of_an_earlier_release_is_shown_without_what_it_lacks():
    found = rows(printed(TABLE.drop(columns=["request_goodput", "p99_itl"]), width=WIDE))
    assert [len(row) for row in found] == [len(KEYS) + len(SHOWN) - 2] * 2


def test_of_many_presets_what_tells_them_apart_is_kept():
    """The longest name of a preset, at the width of a file."""
    table = TABLE.assign(**{"engine.preset": ["sarathi-simple-chunking", "static"]})
    shown = " ".join(printed(table, ["engine.preset"]))
    assert all(heading in shown for heading in ("good/s", "ITL", "waste", "pre-"))


def test_the_rest_is_pointed_to():
    assert "more in sweep.csv" in " ".join(printed())


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_run_without_an_slo_neither_meets_nor_misses_it(nothing):
    first, second = rows(printed(TABLE.assign(slo_met=pd.Series([True, nothing], dtype=object))))
    assert (first[3], second[3]) == ("yes", "-")


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_nothing_as_a_value_is_written_as_in_a_config(nothing):
    table = TABLE.assign(**{"engine.order": pd.Series([nothing, "[1, 2]"], dtype=object)})
    first, second = rows(printed(table))
    assert first[0] == "null"
    assert second[:2] == ["[1,", "2]"], "no markup"
