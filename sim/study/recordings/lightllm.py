"""LightLLM, commit fc72ffab: single decisions of its gate, one a line, each with the state it was made in."""

from __future__ import annotations

from sim.scheduling.gate.future_peak import FuturePeak, Seen
from sim.specs.presets import engine_from_arguments
from sim.study.recordings.framework import Record

KEYS = frozenset({"case", "config", "expect", "running", "waiting", "used_tokens"})


def is_decision(line: Record) -> bool:
    """Whether a line is a decision, not the header of a schedule."""
    return line.keys() >= KEYS


def decided(line: Record) -> Record:
    """What our gate decides in the recorded state, in the words of the recording."""
    arguments = dict(line["config"])
    arguments["disable_chunked_prefill"] = arguments.pop("mode") == "whole"
    gate = FuturePeak(engine_from_arguments("lightllm", arguments, f"case {line['case']}: config"))
    running, waiting = (map(_seen, line[key]) for key in ("running", "waiting"))
    decision = gate.decide(running, waiting, line["used_tokens"])
    return {
        "admitted": [request["id"] for request in line["waiting"][: decision.admitted]],
        "peak_tokens": decision.peak_tokens,
        "busy": decision.is_busy,
    }


def _seen(request: Record) -> Seen:
    keys = ("prompt_len", "produced", "kv_len", "max_new_tokens", "ignore_eos")
    return Seen(*(request[key] for key in keys))
