"""Recordings of real schedulers: reading them, and what their configuration means in ours."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.errors import InputError, did_you_mean
from sim.specs import catalogue
from sim.specs.engine import ALIASES, GATE_ALIAS, EngineSpec
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
    header, steps, end = lines[0], lines[1:-1], lines[-1]
    if header.get("kind") != "header" or end.get("kind") != "end":
        raise InputError(f"{path}: must start with a header line and close with an end line; it may be cut short")
    if not header.get("requests") or not steps:
        raise InputError(f"{path}: holds no requests or no steps; give the recording of a schedule")
    try:
        described = header["requests"]
        return Recording(
            path=path,
            engine=_engine_of(header, path),
            requests=_requests(described),
            names=[item["id"] for item in described],
            arrival_steps=[_count(item, "arrival_step", least=0) for item in described],
            steps=[step for step in steps if step["kind"] == "step" and _count(step, "step", least=0) >= 0],
            totals=end,
            prefills_first=header["engine"] == SARATHI,
        )
    except KeyError as error:
        raise InputError(f"{path}: the recording has no {error}; see the schema in its index.json") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path}: config, requests or steps are malformed ({error}); see its index.json") from None


def _requests(described: list[Record]) -> list[Request]:
    """With the texts that prompts share: those of a group begin alike, a continuation with all of another's tokens."""
    requests: list[Request] = []
    numbers = {item["id"]: number for number, item in enumerate(described)}
    for number, item in enumerate(described):
        shared: tuple[tuple[Hashable, int], ...] = ()
        if item.get("prefix_len"):
            shared = ((("group", item["prefix_group"]), item["prefix_len"]),)
        if "continues" in item:
            before = requests[numbers[item["continues"]]]
            own = before.prompt_tokens + before.output_tokens - sum(tokens for _, tokens in before.shared_text)
            shared = (*before.shared_text, (("request", before.request_id), own))
        prompt_tokens = _count(item, "prompt_len")
        requests.append(
            Request(number, 0.0, prompt_tokens, _count(item, "output_len"), item.get("priority", 0), shared_text=shared)
        )
    return requests


def _count(item: Record, key: str, least: int = 1) -> int:
    """A whole number of a recording."""
    value = item[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{key} is {value!r}, must be a whole number >= {least}")
    return value


def _read_lines(path: Path) -> list[Record]:
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            lines = [json.loads(line) for line in file if line.strip()]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
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
    return validate(EngineSpec, base | values, f"{path}: config")


def _vllm_v1(config: Record, path: Path) -> tuple[str, Record]:
    for key in ("num_speculative_tokens", "num_lookahead_tokens"):
        if config.get(key):
            raise InputError(f"{path}: {key} {config[key]} is not modelled yet; replay recordings without speculation")
    if config["num_gpu_blocks"] is None:
        raise InputError(f"{path}: config.num_gpu_blocks is null, must be a number; a recording has no GPU to ask")
    gate = "whole_prompt" if config[GATE_ALIAS] else "first_chunk"
    dropped = {GATE_ALIAS, "num_speculative_tokens", "num_lookahead_tokens"}
    values = {ALIASES.get(key, key): value for key, value in config.items() if key not in dropped}
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
