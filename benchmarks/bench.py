"""How fast the simulator is: requests per CPU second of one core, cell by cell, beside what bare SimPy events cost.

    python benchmarks/bench.py [--out FILE.json] [--only TEXT] [--cost kernels|roofline]

Every cell runs in a process of its own. The load of a cell is a share of the saturation that a flood of the same
requests measures first. What is timed is the whole of `sim.run`: workload, simulation, tables, metrics and audit. The
cells of real traces need the folder of published traces: $SERVESIM_DATA, else ../shared/data beside the project.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import math
import multiprocessing
import os
import platform
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import simpy
from rich.console import Console
from rich.table import Table

import sim

FLOOR_EVENTS = 200_000
WITHOUT_CACHE = {"enable_prefix_caching": False}
ENGINES: dict[str, dict[str, Any]] = {
    "vllm-v1": {"preset": "vllm-v1", **WITHOUT_CACHE},
    "vllm-v1 caching": {"preset": "vllm-v1", "enable_prefix_caching": True},
    "vllm-v1 priority": {"preset": "vllm-v1", "scheduling_policy": "priority", **WITHOUT_CACHE},
    "orca": {"preset": "orca"},
    "static": {"preset": "static"},
    "vllm-v0": {"preset": "vllm-v0"},
    "vllm-v0-chunked": {"preset": "vllm-v0-chunked"},
    "sarathi": {"preset": "sarathi"},
    **{
        name: {"preset": name}
        for name in ("vllm-v1-chunk-gate", "sarathi-simple-chunking", "sglang", "sglang-mixed", "fastgen", "lightllm")
    },
    "vllm-v1 preempting": {"preset": "vllm-v1", "num_gpu_blocks": 1500, **WITHOUT_CACHE},
}
LENGTHS = {"64/16": 40_000, "512/128": 20_000, "512/1024": 20_000, "4096/64": 20_000, "1024/8192": 10_000}
"""Prompt/output tokens, and how many requests a cell serves."""

SCALES = 10_000, 1_000_000
"""Numbers of requests between which time and memory a request should not change."""

DATA = Path(os.environ.get("SERVESIM_DATA", Path(__file__).parents[1].parent / "shared" / "data")) / "traces"
SOURCE = str(Path(sim.__file__).parent)
MOONCAKE, AZURE = "mooncake_fast25_conversation.jsonl.gz", "azure_llm_2023_conv.csv.gz"


@dataclass(frozen=True)
class Cell:
    """One line of the table. `load` is the share of saturation; 0 stands for a flood."""

    engine: str
    lengths: str
    distribution: str
    load: float
    cost: str = "kernels"

    def __str__(self) -> str:
        load = "flood" if not self.load else f"{self.load:.0%}"
        return f"{self.engine}, {self.lengths} {self.distribution}, {load}"


@dataclass(frozen=True)
class Measured:
    """What a cell costs; `floor_events_per_request` says how many bare SimPy events take as long."""

    requests_per_cpu_s: float
    iterations_per_cpu_s: float
    simpy_events_per_request: float
    bytes_per_request: float
    simpy_floor_s_per_event: float
    floor_events_per_request: float
    preemptions_per_request: float
    simulated_requests_per_s: float
    arrival_rate: float


def cells() -> Iterator[Cell]:
    """All lengths at three loads; geometric lengths and the other engines at 80 %."""
    for lengths in LENGTHS:
        yield from (Cell("vllm-v1", lengths, "fixed", load) for load in (0.2, 0.8, 0.0))
        yield Cell("vllm-v1", lengths, "geometric", 0.8)
    for engine in ENGINES:
        if engine != "vllm-v1":
            yield from (Cell(engine, lengths, "fixed", 0.8) for lengths in ("512/128", "512/1024"))


def experiment(cell: Cell, count: int, rate: float | None) -> sim.Experiment:
    """Llama-3.1-8B on an A100; at `rate` requests per second, or all at once."""
    prompt, output = (_tokens(cell.distribution, int(tokens)) for tokens in cell.lengths.split("/"))
    limits: dict[str, Any] = {"max_num_seqs": 256, "max_model_len": 16384}
    if cell.engine.startswith("vllm-v1"):
        limits["max_num_batched_tokens"] = 2048
    arrivals = {"process": "poisson", "rate": rate} if rate else {"process": "all_at_once"}
    workload = {"arrivals": arrivals, "lengths": {"prompt": prompt, "output": output}, "num_requests": count}
    if "priority" in cell.engine:
        workload["priorities"] = {0: 1.0, 1: 3.0}
    return sim.experiment_from(
        {
            "model": "llama-3.1-8b",
            "accelerator": "a100-80gb-sxm",
            "engine": ENGINES[cell.engine] | limits,
            "cost": {"kind": cell.cost},
            "workload": workload,
            "seed": 1,
        }
    )


def _tokens(distribution: str, mean: int) -> dict[str, Any]:
    return {"distribution": distribution, ("value" if distribution == "fixed" else "mean"): mean}


def measure(cell: Cell) -> Measured:
    """Run a cell: find saturation, warm up, measure."""
    count = LENGTHS[cell.lengths]
    flood = sim.run(experiment(cell, count // 10, None)).summary["request_throughput"]
    rate = cell.load * flood or None
    sim.run(experiment(cell, count // 10, rate))
    floor_s, before_bytes = simpy_floor_s(), _peak_bytes()
    begin_s = time.process_time()
    result = sim.run(experiment(cell, count, rate))
    cpu_s = time.process_time() - begin_s
    spent = result.summary["sim"]["performance"]
    return Measured(
        requests_per_cpu_s=count / cpu_s,
        iterations_per_cpu_s=spent["engine_iterations"] / cpu_s,
        simpy_events_per_request=spent["simpy_events"] / count,
        bytes_per_request=(_peak_bytes() - before_bytes) / (count - count // 10),
        simpy_floor_s_per_event=floor_s,
        floor_events_per_request=cpu_s / count / floor_s,
        preemptions_per_request=result.summary["sim"]["kv_cache"]["preemptions"] / count,
        simulated_requests_per_s=result.summary["request_throughput"],
        arrival_rate=rate or math.inf,
    )


@dataclass(frozen=True)
class Growth:
    """How a short and a long run compare; both in the conditions of `cell`."""

    cell: str
    requests: tuple[int, int]
    requests_per_cpu_s: tuple[float, float]
    time_ratio: float
    bytes_per_extra_request: float


def growth(cell: Cell, rate: float, apply: Callable[..., Any]) -> Growth:
    """Time and memory a request at both scales, each in a process of its own."""
    (short_s, short_bytes), (long_s, long_bytes) = (apply(_at_scale, (cell, rate, count)) for count in SCALES)
    extra_bytes = (long_bytes - short_bytes) / (SCALES[1] - SCALES[0])
    return Growth(str(cell), SCALES, (1 / short_s, 1 / long_s), long_s / short_s, extra_bytes)


def _at_scale(cell: Cell, rate: float, count: int) -> tuple[float, int]:
    """CPU seconds a request, and the process's peak memory."""
    sim.run(experiment(cell, 1000, rate))
    begin_s = time.process_time()
    sim.run(experiment(cell, count, rate))
    return (time.process_time() - begin_s) / count, _peak_bytes()


def where_time_goes(cell: Cell, rate: float) -> dict[str, float]:
    """Shares of a profiled run's time by package of ours, and what lies outside of them."""
    sim.run(experiment(cell, 1000, rate))
    profile = cProfile.Profile()
    profile.runcall(sim.run, experiment(cell, LENGTHS[cell.lengths], rate))
    seconds: Counter[str] = Counter()
    for (path, _, _), (_, _, own_s, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        ours = Path(path).relative_to(SOURCE).parts[0] if path.startswith(SOURCE) else None
        seconds[ours or ("simpy" if "simpy" in path else "elsewhere")] += own_s
    return {name: own_s / seconds.total() for name, own_s in seconds.most_common()}


def mooncake() -> float:
    """Requests per CPU second of the Mooncake conversation trace at an eighth of its rate, prefix caching on."""
    limits = {"num_gpu_blocks": 24_000, "max_num_batched_tokens": 8192, "max_model_len": 131_072}
    trace = {"format": "mooncake", "path": str(DATA / MOONCAKE), "time_scale": 8.0, "jitter_s": 3.0}
    served = sim.experiment_from(
        {
            "model": "llama-3.1-8b",
            "accelerator": "a100-80gb-sxm",
            "engine": {"preset": "vllm-v1", "enable_prefix_caching": True} | limits,
            "workload": {"trace": trace},
            "seed": 1,
        }
    )
    first_ones = served.workload.model_copy(update={"num_requests": 500})
    sim.run(served.model_copy(update={"workload": first_ones}))
    begin_s = time.process_time()
    return len(sim.run(served).requests) / (time.process_time() - begin_s)


def azure() -> dict[str, float]:
    """Wall seconds of `servesim run` on the Azure conversation trace, pictures and all, and of its simulation."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "azure.yaml"  # JSON is YAML
        trace = {"format": "azure", "path": str(DATA / AZURE)}
        served = {"model": "llama-3.1-8b", "accelerator": "a100-80gb-sxm", "workload": {"trace": trace}}
        config.write_text(json.dumps(served), encoding="utf-8")
        command = [str(Path(sys.executable).with_name("servesim")), "run", str(config), "--out", f"{folder}/out"]
        begin_s = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        wall_s = time.perf_counter() - begin_s
        summary = json.loads((Path(folder) / "out" / "summary.json").read_text(encoding="utf-8"))
    return {"wall_s": wall_s, "simulation_wall_s": summary["sim"]["performance"]["wall_s"]}


def simpy_floor_s() -> float:
    """CPU seconds of one SimPy event: a process that only waits."""

    def wait(environment: simpy.Environment) -> Generator[simpy.Event, None, None]:
        for _ in range(FLOOR_EVENTS):
            yield environment.timeout(1)

    environment = simpy.Environment()
    environment.process(wait(environment))
    begin_s = time.process_time()
    environment.run()
    return (time.process_time() - begin_s) / FLOOR_EVENTS


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/bench.json"))
    parser.add_argument("--only", default="", help="only cells whose name holds this text")
    parser.add_argument("--cost", default="kernels", choices=["kernels", "roofline"], help="the cells' cost model")
    options = parser.parse_args()
    measured: dict[str, Measured] = {}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for cell in (replace(cell, cost=options.cost) for cell in cells()):
            if options.only in str(cell):
                measured[str(cell)] = pool.apply(measure, (cell,))
                print(f"{cell}: {measured[str(cell)].requests_per_cpu_s:,.0f} requests per CPU second", flush=True)
        rest = _the_rest(pool.apply) if not options.only else {}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    report = {"machine": machine, "cells": {name: asdict(value) for name, value in measured.items()}} | rest
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    Console().print(_table(measured))


def _the_rest(apply: Callable[..., Any]) -> dict[str, Any]:
    """What is no cell: growth with the number of requests, and real traces where they are."""
    cell = Cell("vllm-v1", "512/128", "fixed", 0.8)
    rate = apply(measure, (cell,)).arrival_rate
    found: dict[str, Any] = {
        "growth": asdict(growth(cell, rate, apply)),
        "profile": apply(where_time_goes, (cell, rate)),
    }
    if (DATA / MOONCAKE).exists():
        found["mooncake_requests_per_cpu_s"] = apply(mooncake)
    if (DATA / AZURE).exists():
        found["azure"] = apply(azure)
    Console().print(found)
    return found


def _table(measured: dict[str, Measured]) -> Table:
    table = Table("cell")
    for name in ("requests/CPU s", "iterations/CPU s", "events/request", "bytes/request", "= bare SimPy events"):
        table.add_column(name, justify="right")
    for name, value in measured.items():
        table.add_row(
            name,
            f"{value.requests_per_cpu_s:,.0f}",
            f"{value.iterations_per_cpu_s:,.0f}",
            f"{value.simpy_events_per_request:.2f}",
            f"{value.bytes_per_request:,.0f}",
            f"{value.floor_events_per_request:.1f}",
        )
    return table


if __name__ == "__main__":
    main()
