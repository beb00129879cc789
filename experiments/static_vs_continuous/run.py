"""How much more traffic does one GPU carry with continuous batching, and with a paged KV cache?

Capacity is the highest arrival rate at which P99 E2E stays within twice its unloaded value (and the queue is stable),
found by bisection on one seed. Writes result.csv and capacity.png. Run from the repository's root:

    .venv/bin/python experiments/static_vs_continuous/run.py [--requests N] [--out DIR]
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

import sim
from sim import plots

HERE = Path(__file__).parent
POLICIES = {
    "static": ["engine.preset=static"],
    "continuous, reserved memory": ["engine.preset=vllm-v1", "engine.kv_allocation=reserved"],
    "continuous, paged memory": ["engine.preset=vllm-v1", "engine.kv_allocation=paged"],
}
UNLOADED_RATE, LOWEST_RATE, HIGHEST_RATE, PRECISION = 0.002, 0.05, 20.0, 1.03
BOUND = 2.0
"""P99 E2E over its unloaded value: the promise that limits the rate."""


class Capacity(NamedTuple):
    """The highest rate (requests/s) within the bound, the run at that rate, and (rate, P99 E2E in s) of all tried.

    `at_capacity` is the `sim` part of the run's summary.
    """

    unloaded_p99_e2e_s: float
    rate: float
    at_capacity: dict[str, Any]
    tried: list[tuple[float, float]]


def find_capacity(settings: list[str], requests: int) -> Capacity:
    """Bisect the rate (in logarithm) until bracketed within PRECISION."""
    unloaded = _simulate(settings, UNLOADED_RATE, requests)["metrics"]["p99_e2e"]
    low, high, best = LOWEST_RATE, HIGHEST_RATE, _simulate(settings, LOWEST_RATE, requests)
    tried = [(low, best["metrics"]["p99_e2e"])]
    while high / low > PRECISION:
        rate = (low * high) ** 0.5
        run = _simulate(settings, rate, requests)
        tried.append((rate, run["metrics"]["p99_e2e"]))
        if run["metrics"]["p99_e2e"] <= BOUND * unloaded and run["stability"]["verdict"] != "unstable":
            low, best = rate, run
        else:
            high = rate
    return Capacity(unloaded, low, best, sorted(tried))


def _simulate(settings: list[str], rate: float, requests: int) -> dict[str, Any]:
    overrides = [*settings, f"workload.arrivals.rate={rate!r}", f"workload.num_requests={requests}"]
    summary: dict[str, Any] = sim.run(sim.load_experiment(HERE / "config.yaml", overrides)).summary["sim"]
    return summary


def result_row(policy: str, found: Capacity) -> dict[str, str | float]:
    """What result.csv says of a policy: seconds, requests/s, requests, and shares as its column names tell."""
    kv, batch = found.at_capacity["kv_cache"], found.at_capacity["batch"]
    return {
        "policy": policy,
        "unloaded_p99_e2e_s": round(found.unloaded_p99_e2e_s, 2),
        "capacity_requests_per_s": round(found.rate, 2),
        "mean_running": round(batch["mean_running"], 1),
        "idle_slot_fraction": round(batch["idle_slot_fraction"], 2),
        "kv_used_fraction": round(kv["mean_used_fraction"], 2),
        "kv_wasted_fraction": round(kv["reserved_waste_fraction"] + kv["internal_waste_fraction"], 2),
    }


# ---- picture ---------------------------------------------------------------------------------------------------------


def capacity_figure(found: dict[str, Capacity], table: pd.DataFrame) -> Figure:
    """Left: P99 E2E over its unloaded value against the rate. Right: what the KV memory holds at capacity."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_slowdown(left, found)
    _draw_memory(right, table)
    return figure


def _draw_slowdown(axes: Axes, found: dict[str, Capacity]) -> None:
    for (name, capacity), colour in zip(found.items(), plots.SERIES, strict=False):
        rates, latencies_s = zip(*capacity.tried, strict=True)
        slowdowns = [latency_s / capacity.unloaded_p99_e2e_s for latency_s in latencies_s]
        axes.plot(rates, slowdowns, marker="o", markersize=3.5, color=colour, label=f"{name}: {capacity.rate:.2g}/s")
    axes.axhline(BOUND, color=plots.INK, linestyle="--", linewidth=1)
    axes.set(xscale="log", yscale="log", ylim=(0.9, 20), xlabel="arrival rate (requests per second)")
    for axis, ticks in ((axes.xaxis, (0.05, 0.1, 0.2, 0.5, 1, 2, 5)), (axes.yaxis, (1, 2, 5, 10, 20))):
        axis.set_ticks(ticks)
        axis.set_ticks([], minor=True)
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_title("P99 end-to-end time, times that of an idle server", loc="left", color=plots.INK)
    axes.grid(alpha=0.25)
    axes.legend(title="highest rate within twice", loc="upper left", edgecolor="none", alignment="left")


def _draw_memory(axes: Axes, table: pd.DataFrame) -> None:
    held, wasted = table["kv_used_fraction"], table["kv_used_fraction"] * table["kv_wasted_fraction"]
    names = [name.replace(", ", ",\n") for name in table["policy"]]
    axes.barh(names, held - wasted, color=plots.SERIES[5], label="tokens")
    axes.barh(names, wasted, left=held - wasted, color=plots.FAINT, label="held, but empty")
    for row, (share, running) in enumerate(zip(held, table["mean_running"], strict=True)):
        axes.text(share + 0.01, row, f"{running:.0f} running", va="center", color=plots.INK, fontsize=9)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.25), xticks=(0, 0.25, 0.5, 0.75, 1))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title("What the KV memory holds at that rate", loc="left", color=plots.INK)
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.1), ncols=2, frameon=False)


def main() -> None:
    """Find the three capacities; write and print the table, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1500, help="requests a run")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for result.csv and capacity.png")
    arguments = parser.parse_args()
    loads = [arguments.requests] * len(POLICIES)
    with ProcessPoolExecutor() as pool:
        found = dict(zip(POLICIES, pool.map(find_capacity, POLICIES.values(), loads), strict=True))
    table = pd.DataFrame([result_row(name, capacity) for name, capacity in found.items()])
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.out / "result.csv", index=False)
    plots.save(capacity_figure(found, table), arguments.out / "capacity.png")
    print(table.to_string(index=False))
    static, reserved, paged = (capacity.rate for capacity in found.values())
    print(f"continuous over static: {reserved / static:.1f} x, both reserved")
    print(f"paged over reserved: {paged / reserved:.1f} x, both continuous")


if __name__ == "__main__":
    main()
