"""How fast the simulator is beside its fastest peer: requests per CPU second of one process, on the same traffic.

    make peers      or      python benchmarks/peers.py [--out FILE.json] [--only TEXT] [--repeats N]

The peer is the offline mocker of NVIDIA Dynamo (Rust, package ai-dynamo-runtime), the fastest one known. Both get the
same lengths, arrival rate, engine limits and number of KV blocks; one engine, no prefix caching. The rate is a share of
the saturation that a flood measures in ours. Step times stay each one's own. Every run has a process of its own, on one
core where the system lets us choose, and a warm-up; ours and the peer take turns, and the median counts. Ours is the
whole of `sim.run`, with its tables for each request and iteration; the peer, in its fastest mode, gives a summary only.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import bench
from rich.console import Console
from rich.table import Table

import sim

PACKAGE = "ai-dynamo-runtime"
VERSION = "1.6.1"
LOAD = 0.8
CELLS = [bench.Cell("vllm-v1", lengths, "fixed", LOAD) for lengths in ("64/16", "512/128", "512/1024", "1024/8192")]
HOW_TO_INSTALL = f"""peers.py: the peer is not installed here: package {PACKAGE}
`make peers` installs it in a virtual environment of its own and runs this script. By hand:
    python3.11 -m venv benchmarks/.venv
    benchmarks/.venv/bin/pip install -c constraints.txt -e .
    benchmarks/.venv/bin/pip install --no-deps {PACKAGE}=={VERSION}
    benchmarks/.venv/bin/python benchmarks/peers.py"""


@dataclass(frozen=True)
class Speed:
    """What one simulator does with a cell; the simulated throughput shows that it served the same traffic."""

    requests_per_cpu_s: float
    requests_per_wall_s: float
    simulated_requests_per_s: float


@dataclass(frozen=True)
class Compared:
    """A cell in both; `ratio` is ours over the peer's, in requests per CPU second."""

    arrival_rate: float
    ours: Speed
    peer: Speed
    ratio: float


def compare(cell: bench.Cell, repeats: int) -> Compared:
    """Measure a cell in turns, each time in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rate = cell.load * pool.apply(saturation, (cell,))
        turns = [(pool.apply(ours, (cell, rate)), pool.apply(peer, (cell, rate))) for _ in range(repeats)]
    our_speed, peer_speed = (_median(list(speeds)) for speeds in zip(*turns, strict=True))
    return Compared(rate, our_speed, peer_speed, our_speed.requests_per_cpu_s / peer_speed.requests_per_cpu_s)


def saturation(cell: bench.Cell) -> float:
    """Requests per second that our engine serves when flooded, as bench.py finds it."""
    return float(sim.run(bench.experiment(cell, bench.LENGTHS[cell.lengths] // 10, None)).summary["request_throughput"])


def ours(cell: bench.Cell, rate: float) -> Speed:
    """Our speed on a cell."""
    return _timed(bench.LENGTHS[cell.lengths], lambda count: _run_ours(cell, count, rate))


def peer(cell: bench.Cell, rate: float) -> Speed:
    """The peer's speed on a cell."""
    return _timed(bench.LENGTHS[cell.lengths], lambda count: _run_peer(cell, count, rate))


def _timed(count: int, run: Callable[[int], float]) -> Speed:
    """Warm up on a tenth of the requests, then time all of them; CPU time is that of all threads."""
    run(count // 10)
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    throughput = run(count)
    cpu_s, wall_s = time.process_time() - begin_cpu_s, time.perf_counter() - begin_s
    return Speed(count / cpu_s, count / wall_s, throughput)


def _run_ours(cell: bench.Cell, count: int, rate: float) -> float:
    return float(sim.run(bench.experiment(cell, count, rate)).summary["request_throughput"])


def _run_peer(cell: bench.Cell, count: int, rate: float) -> float:
    mocker = importlib.import_module("dynamo._core")
    engine = bench.experiment(cell, count, rate).engine
    limits = {
        "backend": "vllm",
        "num_gpu_blocks": engine.usable_blocks,
        "block_size": engine.block_size,
        "max_model_len": engine.max_model_len,
        "max_num_seqs": engine.max_num_seqs,
        "max_num_batched_tokens": engine.max_num_batched_tokens,
        "enable_prefix_caching": engine.enable_prefix_caching,
    }
    prompt, output = map(int, cell.lengths.split("/"))
    replay = mocker.run_mocker_synthetic_trace_replay
    options = {"request_rate": rate, "arrival_seed": 1, "capture_planner_details": False}
    summary = replay(prompt, output, count, extra_engine_args={"engine": limits}, **options).summary
    if summary["completed_requests"] != count:
        raise RuntimeError(f"the peer completed {summary['completed_requests']} of {count} requests of {cell}")
    return float(summary["request_throughput_rps"])


def _median(speeds: list[Speed]) -> Speed:
    return Speed(*map(statistics.median, zip(*(asdict(speed).values() for speed in speeds), strict=True)))


def main() -> None:
    """Compare, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/peers.json"))
    parser.add_argument("--only", default="", help="only cells whose name holds this text")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each simulator per cell")
    options = parser.parse_args()
    version = _peer_version()
    _keep_to_one_core()
    compared: dict[str, Compared] = {}
    for cell in CELLS:
        if options.only in str(cell):
            compared[str(cell)] = compare(cell, options.repeats)
            print(f"{cell}: {compared[str(cell)].ratio:.2f} times the peer's requests per CPU second", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    report = {"machine": machine, "peer": {"package": PACKAGE, "version": version}, "repeats": options.repeats}
    cells = {name: asdict(value) for name, value in compared.items()}
    options.out.write_text(json.dumps(report | {"cells": cells}, indent=2) + "\n", encoding="utf-8")
    Console().print(_table(compared, version))


def _peer_version() -> str:
    """The version of the peer; without it, say how to get it and leave."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        print(HOW_TO_INSTALL, file=sys.stderr)
        raise SystemExit(2) from None


def _keep_to_one_core() -> None:
    """So that the processes started from here find one core and start no idle threads that spin on the others."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _table(compared: dict[str, Compared], version: str) -> Table:
    table = Table("cell", title=f"requests per CPU second (wall second); peer: {PACKAGE} {version}")
    for name in ("ours", "peer", "ratio"):
        table.add_column(name, justify="right")
    for name, value in compared.items():
        speeds = (f"{one.requests_per_cpu_s:,.0f} ({one.requests_per_wall_s:,.0f})" for one in (value.ours, value.peer))
        table.add_row(name, *speeds, f"{value.ratio:.2f}")
    return table


if __name__ == "__main__":
    main()
