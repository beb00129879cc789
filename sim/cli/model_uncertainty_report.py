"""How far off a run's numbers may be for the cost model's error, as a person reads it in a terminal."""

from __future__ import annotations

from typing import Any

SHOWN = ("mean_ttft", "p99_ttft", "mean_tpot", "p99_tpot", "mean_e2e")
"""Of all metrics, those of the report; the others are in summary.json."""


def model_uncertainty_fact(ours: dict[str, Any]) -> str:
    """One line of the report."""
    told = ours["model_uncertainty"]
    named = [(name, told["metrics"][name]) for name in SHOWN if name in told["metrics"]]
    ranges = ", ".join(f"{name} {each['value']:.4g} [{each['low']:.4g}, {each['high']:.4g}]" for name, each in named)
    drawn = f"{told['draws']} of {told['planned']}" if told["draws"] < told["planned"] else f"{told['draws']}"
    return f"{ranges}, at {100 * told['level']:g}%, from {drawn} draws of the cost model's constants"
