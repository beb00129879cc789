"""Recordings of real schedulers: reading them, and what their configuration means in ours."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.errors import InputError, did_you_mean
from sim.specs import catalogue
from sim.specs.engine import EngineSpec
from sim.specs.request import Request
from sim.specs.validation import validate

Record = dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """A header's engine and requests, the recorded steps, and the totals at the end.

    `names[i]` is the recorded id of request i, which arrives just before call `arrival_steps[i]`.
    """

    path: Path
    engine: EngineSpec
    requests: list[Request]
    names: list[str]
    arrival_steps: list[int]
    steps: list[Record]
    totals: Record
    prefills_first: bool


def read_recording(path: Path) -> Recording:
    """The recording at `path` (JSON lines, plain or .gz). Raises InputError when it is malformed or not replayable."""
    lines = _read_lines(path)
    header = lines[0]
    if header.get("kind") != "header" or lines[-1].get("kind") != "end":
        raise InputError(f"{path}: must start with a header line and close with an end line; it may be cut short")
    try:
        described = header["requests"]
        return Recording(
            path=path,
            engine=_engine_of(header, path),
            requests=[
                Request(i, 0.0, item["prompt_len"], item["output_len"], item.get("priority", 0))
                for i, item in enumerate(described)
            ],
            names=[item["id"] for item in described],
            arrival_steps=[item["arrival_step"] for item in described],
            steps=[line for line in lines[1:-1] if line["kind"] == "step"],
            totals=lines[-1],
            prefills_first=header["engine"] == SARATHI,
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: the recording has no usable {error}; see the schema in its index.json") from None


def _read_lines(path: Path) -> list[Record]:
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            lines = [json.loads(line) for line in file if line.strip()]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); give a .jsonl or .jsonl.gz recording") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON lines ({error}); give a .jsonl or .jsonl.gz recording") from None
    if not lines or not all(isinstance(line, dict) for line in lines):
        raise InputError(f"{path}: holds no records; give a recording of a schedule")
    return lines


# ---- what each engine's header means ---------------------------------------------------------------------------------

SARATHI = "sarathi-serve research code"


def _engine_of(header: Record, path: Path) -> EngineSpec:
    engine, version = str(header["engine"]), str(header["engine_version"])
    key = engine if engine == SARATHI else f"{engine} {version}"
    if key not in _HEADERS:
        raise InputError(f"{path}: recorded from '{key}', which has no preset yet; {did_you_mean(key, _HEADERS)}")
    preset, values = _HEADERS[key](header["config"], path)
    entry = catalogue.entry("engines", preset, "engine.preset")
    base = {"preset": preset, "preset_version": entry["version"], **entry["values"]}
    return validate(EngineSpec, base | values, str(path))


def _vllm_v1(config: Record, path: Path) -> tuple[str, Record]:
    for key in ("num_speculative_tokens", "num_lookahead_tokens"):
        if config.get(key):
            raise InputError(f"{path}: {key} {config[key]} is not modelled yet; replay recordings without speculation")
    gate = "whole_prompt" if config["scheduler_reserve_full_isl"] else "first_chunk"
    renamed = {"policy": "order"}
    dropped = {"scheduler_reserve_full_isl", "num_speculative_tokens", "num_lookahead_tokens"}
    values = {renamed.get(key, key): value for key, value in config.items() if key not in dropped}
    return "vllm-v1", values | {"gate": gate}


def _sarathi(config: Record, path: Path) -> tuple[str, Record]:
    scheduler = config["scheduler"]
    if scheduler not in ("static", "orca"):
        raise InputError(
            f"{path}: scheduler '{scheduler}' has no preset yet; {did_you_mean(scheduler, ['static', 'orca'])}"
        )
    values = {key: config[key] for key in ("max_num_seqs", "max_model_len", "block_size", "num_gpu_blocks")}
    if scheduler == "static":
        values |= {"pad_to_longest": False, "release": "on_finish"}
    return scheduler, values


_HEADERS: dict[str, Callable[[Record, Path], tuple[str, Record]]] = {
    "vllm 0.33.0": _vllm_v1,
    SARATHI: _sarathi,
}
