"""Replay a run of a real engine, and say how far the simulation is off.

from sim.study.validate import validate_run
validate_run("folder").metrics["tpot"]["mean"].error
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sim.errors import InputError
from sim.serving.simulation import Watch
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.experiment import Experiment
from sim.specs.memory import HYPOTHETICAL
from sim.study.run import RunResult, run
from sim.study.validate.compare import (
    THROUGHPUT,
    Pair,
    compare_curves,
    compare_latencies,
    counted,
    curves,
    latencies,
    output_throughput,
    sampled,
)
from sim.study.validate.real_run import RealRun, read_real_run
from sim.study.validate.settings import experiment_of

SKIP = 1
"""The first request after the start waits for what an engine does only once; latencies leave it out."""
TICK_S = 1.0
DESCRIBED = (
    *("preset", "tensor_parallel_size", "max_num_seqs", "max_num_batched_tokens", "max_model_len", "block_size"),
    *("num_gpu_blocks", "gpu_memory_utilization", "order", "gate", "enable_prefix_caching", "enable_chunked_prefill"),
    "async_scheduling",
)


@dataclass(frozen=True)
class Validation:
    """A real run and its replay.

    `metrics` and `over_time` hold pairs by name and statistic. `requests` has a row for each request that latencies are
    of: `request_id` and every latency (seconds) as `NAME_real` and `NAME_simulated`. `curves` are requests running and
    waiting over time, `left_out` the ids of requests that only latencies leave out.
    """

    real: RealRun
    result: RunResult
    metrics: dict[str, dict[str, Pair]]
    over_time: dict[str, dict[str, Pair]]
    requests: pd.DataFrame
    curves: pd.DataFrame
    left_out: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def experiment(self) -> Experiment:
        """What was simulated."""
        return self.result.experiment

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "metrics": _plain(self.metrics),
            "over_time": _plain(self.over_time),
            "requests": {"compared": len(self.requests), "left_out": list(self.left_out)},
            "settings": settings_of(self.experiment),
            "notes": list(self.notes),
        }


def validate_run(
    directory: str | Path,
    overrides: Iterable[str] = (),
    accelerator: AcceleratorSpec | None = None,
    skip: int = SKIP,
    watch: Watch | None = None,
) -> Validation:
    """Simulate the requests of the real run in `directory` on the engine that it describes, and compare.

    `overrides` are `KEY=VALUE` as for `servesim run`; an `accelerator` replaces the one that the run names. Latencies
    leave out the first `skip` requests. Raises InputError for a folder that cannot be replayed, and KeyboardInterrupt
    where Ctrl-C ends the replay: part of the requests compares with nothing.
    """
    real = read_real_run(Path(directory))
    if not 0 <= skip < len(real.requests):
        raise InputError(
            f"--skip: got {skip}, must be at least 0 and below the {len(real.requests)} requests of {directory}; "
            "--skip 0 keeps all"
        )
    experiment, notes = experiment_of(real, overrides, accelerator)
    result = run(experiment, watch=watch)
    if result.summary["sim"]["interrupted"]:
        raise KeyboardInterrupt
    return compare(real, result, skip, notes)


def compare(real: RealRun, result: RunResult, skip: int, notes: Iterable[str]) -> Validation:
    """The run and its finished replay."""
    theirs = real.requests.reset_index(drop=True)
    ours = result.requests.rename(columns={"finish_s": "last_token_s"}).set_index("request_id", drop=False)
    _check_same_work(real, ours)
    seconds = [latencies(stamps.loc[skip:]) for stamps in (theirs, ours)]
    metrics = compare_latencies(*seconds)
    metrics[THROUGHPUT] = {"mean": Pair(output_throughput(theirs), output_throughput(ours))}
    sides = (table.add_suffix(f"_{side}") for table, side in zip(seconds, ("real", "simulated"), strict=True))
    per_request = pd.concat([theirs.loc[skip:, ["request_id"]], *sides], axis=1)
    over_time = _curves(real, result, ours)
    left_out = tuple(map(int, theirs["request_id"].iloc[:skip]))
    return Validation(
        real,
        result,
        metrics,
        compare_curves(over_time),
        per_request,
        over_time,
        left_out,
        (*_notes(left_out), *notes, *_notes_of(real, result)),
    )


def _check_same_work(real: RealRun, ours: pd.DataFrame) -> None:
    """Refuse a replay in which requests are missing, or were cut where prompt and output exceed the model length."""
    wanted = real.requests["output_tokens"].to_numpy()
    if len(ours) < len(wanted):
        raise InputError(
            f"{real.requests_path}: {len(wanted) - len(ours)} of {len(wanted)} requests were not served in the replay; "
            "drop settings that refuse requests"
        )
    cut = np.flatnonzero(ours["output_tokens"].to_numpy() != wanted)
    if len(cut):
        line = real.requests.index[cut[0]]
        total = real.requests["prompt_tokens"].loc[line] + wanted[cut[0]]
        raise InputError(
            f"{real.requests_path}, line {line}: {total} prompt and output tokens exceed max_model_len of the replay; "
            f"correct the row, or max_model_len in {real.meta_path}, or give --set engine.max_model_len=N"
        )


def _curves(real: RealRun, result: RunResult, ours: pd.DataFrame) -> pd.DataFrame:
    """As the engine logged them; else both from the stamps, for what they can tell."""
    if real.timeseries is not None:
        times = real.timeseries["t"].to_numpy()
        return curves(real.timeseries, sampled(result.iterations, ours["queued_s"].to_numpy(), times))
    theirs = real.requests
    if "scheduled_s" not in theirs:
        theirs = theirs.assign(scheduled_s=theirs["queued_s"])
        ours = ours.assign(scheduled_s=ours["queued_s"])
    end_s = max(float(stamps["last_token_s"].max()) for stamps in (theirs, ours))
    times = np.arange(0.0, end_s + TICK_S, TICK_S)
    return curves(counted(theirs, times), counted(ours, times))


def _notes(left_out: tuple[int, ...]) -> list[str]:
    if not left_out:
        return []
    which = f"request {left_out[0]}" if len(left_out) == 1 else f"the first {len(left_out)} requests"
    return [f"latencies leave out {which}, which may have waited for the engine's warm-up (--skip 0 keeps all)"]


def _notes_of(real: RealRun, result: RunResult) -> list[str]:
    """Those of the replay, but for doubts about memory that the real run had."""
    notes: list[str] = result.summary["sim"]["notes"]
    return [text for text in notes if not (real.settings.num_gpu_blocks and text.endswith(HYPOTHETICAL))]


def _plain(pairs: dict[str, dict[str, Pair]]) -> dict[str, Any]:
    return {name: {key: pair.to_dict() for key, pair in of.items()} for name, of in pairs.items()}


def settings_of(experiment: Experiment) -> dict[str, Any]:
    """What was simulated, in short."""
    return {
        "model": experiment.model.name,
        "accelerator": experiment.accelerator.name,
        "engine": {key: getattr(experiment.engine, key) for key in DESCRIBED},
        "cost": experiment.cost.model_dump(),
    }
