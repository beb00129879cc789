"""How much more traffic does one GPU carry with continuous batching, and with a paged KV cache?

Capacity is the highest arrival rate at which P99 E2E stays within twice its unloaded value (and the queue is stable),
found by bisection on one seed. Run from the repository's root:

    .venv/bin/python experiments/static_vs_continuous/run.py [--requests N]
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import sim

CONFIG = Path(__file__).with_name("config.yaml")
POLICIES = {
    "static": ["engine.preset=static"],
    "continuous, reserved memory": ["engine.preset=vllm-v1", "engine.kv_allocation=reserved"],
    "continuous, paged memory": ["engine.preset=vllm-v1", "engine.kv_allocation=paged"],
}
UNLOADED_RATE, LOWEST_RATE, HIGHEST_RATE, PRECISION = 0.002, 0.05, 20.0, 1.03
Metrics = dict[str, Any]


class Capacity(NamedTuple):
    """The highest rate within the bound, and the summary's `sim` part of the run at that rate."""

    unloaded_p99_e2e_s: float
    rate: float
    at_capacity: Metrics


def find_capacity(settings: list[str], requests: int) -> Capacity:
    """Bisect the rate (in logarithm) until bracketed within PRECISION."""
    unloaded = _simulate(settings, UNLOADED_RATE, requests)["metrics"]["p99_e2e"]
    low, high, best = LOWEST_RATE, HIGHEST_RATE, _simulate(settings, LOWEST_RATE, requests)
    while high / low > PRECISION:
        rate = (low * high) ** 0.5
        run = _simulate(settings, rate, requests)
        if run["metrics"]["p99_e2e"] <= 2 * unloaded and run["stability"]["verdict"] != "unstable":
            low, best = rate, run
        else:
            high = rate
    return Capacity(unloaded, low, best)


def _simulate(settings: list[str], rate: float, requests: int) -> Metrics:
    overrides = [*settings, f"workload.arrivals.rate={rate!r}", f"workload.num_requests={requests}"]
    metrics: Metrics = sim.run(sim.load_experiment(CONFIG, overrides)).summary["sim"]
    return metrics


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1500, help="requests a run")
    requests = parser.parse_args().requests
    with ProcessPoolExecutor() as pool:
        found = dict(zip(POLICIES, pool.map(find_capacity, POLICIES.values(), [requests] * len(POLICIES)), strict=True))
    print(f"{'policy':30} {'unloaded P99 E2E':>17} {'capacity':>11} {'running':>8} {'idle':>6} {'KV wasted':>10}")
    for name, (unloaded_s, rate, run) in found.items():
        wasted = run["kv_cache"]["reserved_waste_fraction"] + run["kv_cache"]["internal_waste_fraction"]
        idle, running = run["batch"]["idle_slot_fraction"], run["batch"]["mean_running"]
        print(f"{name:30} {unloaded_s:15.2f} s {rate:7.2f} r/s {running:8.1f} {idle:6.0%} {wasted:10.0%}")
    static, reserved, paged = (capacity.rate for capacity in found.values())
    print(f"continuous over static: {reserved / static:.1f} x, both reserved")
    print(f"paged over reserved: {paged / reserved:.1f} x, both continuous")


if __name__ == "__main__":
    main()
