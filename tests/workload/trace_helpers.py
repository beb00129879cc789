"""Writing a trace file, reading it, and what the refusal of one says."""

from __future__ import annotations

import gzip
import json

import pytest

from sim.config import experiment_from
from sim.errors import InputError
from sim.specs.workload import TraceSpec
from sim.workload.source import build_workload
from sim.workload.traces import read_trace

MOONCAKE_ROWS = [
    {"timestamp": 2000, "input_length": 512, "output_length": 5, "hash_ids": [0]},
    {"timestamp": 3500, "input_length": 513, "output_length": 6, "hash_ids": [0, 1]},
    {"timestamp": 4000, "input_length": 1, "output_length": 7, "hash_ids": [2]},
]
BAILIAN_ROWS = [
    {"chat_id": 7, "parent_chat_id": -1, "timestamp": 61.25, "input_length": 33, "output_length": 5, "type": "text",
     "turn": 1, "hash_ids": [1, 2, 3]},
    {"chat_id": 8, "parent_chat_id": 7, "timestamp": 62.75, "input_length": 16, "output_length": 6, "type": "text",
     "turn": 2, "hash_ids": [1]},
]  # fmt: skip
BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
PLAIN_ROW = {"arrival_s": 0.5, "prompt_tokens": 3, "output_tokens": 4}


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(folder, name, content):
    path = folder / name
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") and isinstance(content, str) else data)
    return path


def read_whole(path, seed=0, **spec):
    return read_trace(TraceSpec(path=str(path), **({"format": "csv"} | spec)), seed)


def read(path, **spec):
    """The table alone."""
    return read_whole(path, **spec).table


def refusal(path, **spec):
    """The one-line message that refuses the trace; it names the file."""
    with pytest.raises(InputError) as caught:
        read(path, **spec)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def all_in(message, fragments):
    missing = [fragment for fragment in fragments if fragment not in message]
    assert not missing, f"{missing} not in: {message}"


def workload(path, num_requests=None, engine=None, **trace):
    section = {"trace": {"path": str(path), "format": "csv"} | trace}
    if num_requests is not None:
        section["num_requests"] = num_requests
    config = {
        "model": "llama-3.1-8b",
        "accelerator": "a100-80gb-sxm",
        "engine": {"max_model_len": 8192} | (engine or {}),
        "workload": section,
    }
    return build_workload(experiment_from(config))
