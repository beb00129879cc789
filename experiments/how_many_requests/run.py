"""How many requests does a benchmark need before its P99 TTFT is worth quoting?

Long runs are cut into benchmarks of n requests in a row, each in traffic that goes on before and after it, and the P99s
of the benchmarks are compared with that of all requests together. Writes result.csv and spread.png. Run from the
repository's root:

    .venv/bin/python experiments/how_many_requests/run.py [--requests N] [--runs K] [--out DIR]
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter
from numpy.typing import NDArray

import sim
from sim import plots

HERE = Path(__file__).parent
LOADS = 0.5, 0.8, 0.9
LENGTHS = 100, 300, 1000, 3000, 10_000, 30_000
"""Requests of a benchmark."""
PERCENTS = 50, 99
WORTH_QUOTING = 0.10
"""19 of 20 benchmarks come within this share of the truth."""
LEFT_OUT = 2500
"""Requests at either end of a run: start-up, and those that lack company."""

FloatArray = NDArray[np.float64]


def saturation() -> float:
    """Requests per second that are served when all come at once."""
    flood = ["workload.arrivals={process: all_at_once}", "workload.num_requests=5000"]
    rate: float = sim.run(sim.load_experiment(HERE / "config.yaml", flood)).summary["request_throughput"]
    return rate


def steady_ttft_s(rate: float, requests: int, seed: int) -> FloatArray:
    """Of the requests between the two ends of a run, in order of arrival."""
    overrides = [
        f"workload.arrivals.rate={rate!r}",
        f"workload.num_requests={requests + 2 * LEFT_OUT}",
        f"seed={seed}",
    ]
    table = sim.run(sim.load_experiment(HERE / "config.yaml", overrides)).requests
    return table["ttft_s"].to_numpy()[LEFT_OUT:-LEFT_OUT]


def spreads(load: float, runs: list[FloatArray]) -> list[dict[str, float]]:
    """A row a percentile and benchmark length: the truth, and between what the middle 95 % of the benchmarks lie."""
    rows = []
    for percent in PERCENTS:
        truth = float(np.percentile(np.concatenate(runs), percent))
        for length in LENGTHS:
            benchmarks = np.concatenate([_benchmarks(run, length) for run in runs])
            if len(benchmarks) < 20:
                continue
            errors = np.percentile(benchmarks, percent, axis=1) / truth - 1
            low, high = np.percentile(errors, [2.5, 97.5])
            rows.append(
                {
                    "load": load, "percentile": percent, "requests": length, "benchmarks": len(benchmarks),
                    "truth_s": round(truth, 4), "low": round(low, 3), "high": round(high, 3),
                }
            )  # fmt: skip
    return rows


def enough(rows: pd.DataFrame) -> float:
    """About how many requests make benchmarks worth quoting, by the 1/√n law from the longest that are not."""
    width = np.maximum(-rows["low"], rows["high"]).to_numpy()
    requests = rows["requests"].to_numpy()
    last = np.flatnonzero(width > WORTH_QUOTING).max(initial=-1)
    if last < 0:
        return float(requests[0])
    return float(requests[last] * (width[last] / WORTH_QUOTING) ** 2)


def _rounded(requests: float) -> float:
    """To the one digit that it is worth."""
    return float(f"{requests:.0e}")


def _benchmarks(run: FloatArray, length: int) -> FloatArray:
    """A row a benchmark."""
    count = len(run) // length
    return run[: count * length].reshape(count, length)


# ---- picture ---------------------------------------------------------------------------------------------------------


def spread_figure(table: pd.DataFrame) -> Figure:
    """A panel a load: how far off the middle 95 % of benchmarks are, against their length."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, (load, part) in zip(figure.subplots(1, len(LOADS), sharey=True), table.groupby("load"), strict=True):
        _draw(axes, part)
        axes.set_title(f"{load:.0%} load", loc="left", color=plots.INK)
    figure.axes[0].set_ylabel("benchmark's percentile against the truth")
    figure.axes[0].legend(title="middle 95 % of benchmarks", loc="upper right", edgecolor="none")
    return figure


def _draw(axes: Axes, part: pd.DataFrame) -> None:
    for (percent, rows), colour in zip(part.groupby("percentile"), plots.SERIES, strict=False):
        axes.fill_between(rows["requests"], rows["low"], rows["high"], color=colour, alpha=0.25, linewidth=0)
        axes.plot(rows["requests"], rows["low"], color=colour, marker="o", markersize=3.5, label=f"P{percent} TTFT")
        axes.plot(rows["requests"], rows["high"], color=colour, marker="o", markersize=3.5)
    for share in (-WORTH_QUOTING, WORTH_QUOTING):
        axes.axhline(share, color=plots.INK, linestyle="--", linewidth=1)
    axes.set(xscale="log", ylim=(-0.8, 1.2), xlabel="requests of the benchmark")
    axes.xaxis.set_ticks(part["requests"].unique())
    axes.xaxis.set_ticks([], minor=True)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.tick_params(axis="x", labelrotation=30)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.25)


# ---- one command -----------------------------------------------------------------------------------------------------


def main() -> None:
    """Simulate, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=60_000, help="of each run, both ends left out")
    parser.add_argument("--runs", type=int, default=10, help="of each load")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    most, rows = saturation(), []
    with ProcessPoolExecutor() as pool:
        futures = {
            load: [pool.submit(steady_ttft_s, load * most, options.requests, 1 + seed) for seed in range(options.runs)]
            for load in LOADS
        }
        for load, runs in futures.items():
            rows += spreads(load, [run.result() for run in runs])
    table = pd.DataFrame(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "result.csv", index=False)
    plots.save(spread_figure(table), options.out / "spread.png")
    print(table.to_string(index=False))
    print(f"{most:.2f} requests/s saturate it; within {WORTH_QUOTING:.0%} in 19 of 20 benchmarks takes")
    if table["requests"].max() < max(LENGTHS):
        print(f"  (extrapolated from benchmarks of {table['requests'].max():,} requests: only a full run tells)")
    for (load, percent), part in table.groupby(["load", "percentile"]):
        print(f"  at {load:.0%} load for P{percent} TTFT about {_rounded(enough(part)):,.0f} requests")


if __name__ == "__main__":
    main()
