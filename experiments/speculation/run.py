"""At which load does speculative decoding stop paying?

The same requests at rising arrival rates, without drafts, with a draft model that is right at 70 % of positions, and
with drafts that are looked up in the prompt and right as often where there are any. Writes result.csv and tpot.png. Run
from the repository's root:

    .venv/bin/python experiments/speculation/run.py [--requests N] [--out DIR]
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

import sim
from sim import plots

HERE = Path(__file__).parent
RATE, DRAFTS = 0.7, 4
ACCEPTANCE = f"acceptance: {{kind: constant, rate: {RATE}}}"
WAYS = {
    "no drafts": "null",
    "draft model, 1B": f"{{method: draft_model, model: llama-3.2-1b, num_speculative_tokens: {DRAFTS}, {ACCEPTANCE}}}",
    "looked up, found in 40 %": (
        f"{{method: ngram, num_speculative_tokens: {DRAFTS}, match_share: 0.4, {ACCEPTANCE}}}"
    ),
}
RATES = (0.5, 1, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32, 36, 40)
"""Arrivals per second, up to where the engine without drafts is nearly saturated."""
UNSTABLE_STYLE: dict[str, Any] = {
    "linestyle": "none", "marker": "o", "markersize": 9, "markerfacecolor": "none", "color": plots.INK,
}  # fmt: skip


def measure(way: str, rate: float, requests: int) -> dict[str, str | float]:
    """One run: mean TPOT and TTFT (ms), requests running on average, and tokens that came of a decode."""
    overrides = [f"engine.speculation={WAYS[way]}", f"workload.arrivals.rate={rate}"]
    result = sim.run(sim.load_experiment(HERE / "config.yaml", [*overrides, f"workload.num_requests={requests}"]))
    summary, runs = result.summary["sim"], result.iterations
    decodes = (runs["decode_requests"] - runs["padding_requests"]) * runs["iterations"]
    accepted = runs["accepted_tokens"].sum() if "accepted_tokens" in runs else 0
    return {
        "way": way,
        "rate_per_s": rate,
        "mean_tpot_ms": round(1e3 * summary["metrics"]["mean_tpot"], 2),
        "mean_ttft_ms": round(1e3 * summary["metrics"]["mean_ttft"], 1),
        "mean_running": round(summary["batch"]["mean_running"], 1),
        "tokens_per_decode": round(1 + accepted / decodes.sum(), 2),
        "verdict": summary["stability"]["verdict"],
    }


def crossing(table: pd.DataFrame, way: str) -> tuple[float, float] | None:
    """Between which rates drafts begin to cost more than they save, by mean TPOT; None if they never do."""
    tpot = table.pivot_table(index="rate_per_s", columns="way", values="mean_tpot_ms")
    loses = tpot[way] > tpot["no drafts"]
    if not loses.any():
        return None
    first = int(loses.to_numpy().argmax())
    return float(tpot.index[max(first - 1, 0)]), float(tpot.index[first])


def figure_of(table: pd.DataFrame) -> Figure:
    """Mean TPOT against the rate, and how much faster than without drafts."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    tpot = table.pivot_table(index="rate_per_s", columns="way", values="mean_tpot_ms")
    for way, colour in zip(WAYS, plots.SERIES, strict=False):
        left.plot(tpot.index, tpot[way], marker="o", markersize=3.5, color=colour, label=way)
        if way != "no drafts":
            right.plot(tpot.index, tpot["no drafts"] / tpot[way], marker="o", markersize=3.5, color=colour, label=way)
    unstable = table[table["verdict"] == "unstable"]
    left.plot(unstable["rate_per_s"], unstable["mean_tpot_ms"], label="unstable queue", **UNSTABLE_STYLE)
    right.axhline(1, color=plots.INK, linestyle="--", linewidth=1)
    _dress(left, "Mean time per output token (ms)")
    left.set(yscale="log")
    left.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    left.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    _dress(right, "Times as fast as without drafts")
    left.legend(loc="upper left", edgecolor="none")
    return figure


def _dress(axes: Axes, title: str) -> None:
    axes.set(xscale="log", xlabel="arrival rate (requests per second)")
    axes.set_xticks([0.5, 1, 2, 4, 8, 16, 32])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_title(title, loc="left", color=plots.INK)
    axes.grid(alpha=0.25)


def main() -> None:
    """Run every way at every rate; write and print the table, draw the picture, say where drafts stop paying."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1500, help="requests a run")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for result.csv and tpot.png")
    arguments = parser.parse_args()
    ways, rates = zip(*product(WAYS, RATES), strict=True)
    with ProcessPoolExecutor() as pool:
        rows = list(pool.map(measure, ways, rates, [arguments.requests] * len(ways)))
    table = pd.DataFrame(rows)
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.out / "result.csv", index=False)
    plots.save(figure_of(table), arguments.out / "tpot.png")
    print(table.to_string(index=False))
    for way in list(WAYS)[1:]:
        between = crossing(table, way)
        where = "at no rate tried" if between is None else f"between {between[0]:g} and {between[1]:g} requests/s"
        print(f"{way}: stops paying {where}")


if __name__ == "__main__":
    main()
