"""Reading a recording: its engine and requests as ours, its steps as they stand."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from sim.errors import InputError, did_you_mean
from sim.specs.engine import EngineSpec
from sim.specs.presets import engine_from_arguments
from sim.specs.request import Request
from sim.study.recordings.fastgen import FASTGEN
from sim.study.recordings.framework import Framework, Record
from sim.study.recordings.sarathi import SARATHI
from sim.study.recordings.sglang import SGLANG
from sim.study.recordings.vllm_v0 import VLLM_V0
from sim.study.recordings.vllm_v1 import VLLM_V1


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
    framework: Framework


def read_recording(path: Path) -> Recording:
    """The recording at `path` (JSON lines, plain or .gz). Raises InputError when it is malformed or not replayable."""
    lines = read_lines(path)
    header, steps, end = lines[0], lines[1:-1], lines[-1]
    if header.get("kind") != "header" or end.get("kind") != "end":
        raise InputError(f"{path}: must start with a header line and close with an end line; it may be cut short")
    if not header.get("requests") or not steps:
        raise InputError(f"{path}: holds no requests or no steps; give the recording of a schedule")
    try:
        described, framework = header["requests"], _framework_of(header)
        return Recording(
            path=path,
            engine=_engine_of(framework, header["config"]),
            requests=_requests(described),
            names=[item["id"] for item in described],
            arrival_steps=[_count(item, "arrival_step", least=0) for item in described],
            steps=[step for step in steps if step["kind"] == "step" and _count(step, "step", least=0) >= 0],
            totals=end,
            framework=framework,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except KeyError as error:
        raise InputError(f"{path}: the recording has no {error}; see the schema in its index.json") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path}: config, requests or steps are malformed ({error}); see its index.json") from None


FRAMEWORKS = {
    "vllm 0.33.0": VLLM_V1,
    "vllm 0.5.5": VLLM_V0,
    "sarathi-serve research code": SARATHI,
    "sglang": SGLANG,
    "deepspeed-mii": FASTGEN,
}
"""By the engine that a header names, with its version where versions differ."""


def _framework_of(header: Record) -> Framework:
    engine, version = str(header["engine"]), str(header["engine_version"])
    for key in (engine, f"{engine} {version}"):
        if key in FRAMEWORKS:
            return FRAMEWORKS[key]
    name = f"{engine} {version}"
    raise InputError(f"recorded from '{name}', which has no preset yet; {did_you_mean(name, FRAMEWORKS)}")


def _engine_of(framework: Framework, config: Record) -> EngineSpec:
    """The engine that a header describes; of what it leaves out, as its preset has it."""
    preset, arguments = framework.engine(config)
    engine = engine_from_arguments(preset, arguments, "config")
    if engine.num_gpu_blocks is None:
        raise InputError("config.num_gpu_blocks is null, must be a number; a recording has no GPU to ask")
    return engine


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
            Request(
                number,
                0.0,
                prompt_tokens,
                _count(item, "output_len"),
                item.get("priority", 0),
                max_new_tokens=item.get("max_new_tokens"),
                accept=tuple(item["accept"]) if item.get("accept") else None,
                shared_text=shared,
            )
        )
    return requests


def _count(item: Record, key: str, least: int = 1) -> int:
    """A whole number of a recording."""
    value = item[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{key} is {value!r}, must be a whole number >= {least}")
    return value


def read_lines(path: Path) -> list[Record]:
    """JSON lines, plain or .gz. Raises InputError when they are not."""
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
