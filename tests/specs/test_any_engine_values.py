"""Whatever an engine section says, on whichever preset: it is refused in one line, or served to the end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import fixed
from unfit_values import UNFIT

import sim
from sim.errors import ServesimError
from sim.specs import catalogue
from sim.specs.engine import EngineSpec
from sim.specs.preset_file import preset_of

SECONDS = 60
"""Far more than any of these runs takes."""

NUMBERS = st.sampled_from([1, 2, 3, 7, 15, 16, 17, 64, 100, 256, 512, 1000, 10**6, 10**9, 10**15, 10**16])
SHARES = st.sampled_from([0.0, 1e-9, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0, 1e9])
KEYS = [key for key in EngineSpec.model_fields if key not in ("preset", "preset_version", "own_rules", "speculation")]
SCARCE = ["max_num_batched_tokens", "max_num_seqs", "num_gpu_blocks", "block_size", "max_model_len", "watermark"]


def values_of(key: str) -> st.SearchStrategy[Any]:
    """Mostly what the key may be by its type, sometimes anything."""
    annotation = EngineSpec.model_fields[key].annotation if key in KEYS else None
    choices = [choice for choice in get_args(annotation) if isinstance(choice, str)]
    likely = st.sampled_from(choices) if choices else st.booleans() if annotation is bool else NUMBERS | SHARES
    return st.integers(0, 9).flatmap(lambda dice: UNFIT if dice == 0 else likely)


@st.composite
def engines(draw: st.DrawFn) -> dict[str, Any]:
    """A preset with little memory, and up to five keys, its own arguments among them, with values of any kind."""
    name = draw(st.sampled_from(catalogue.names("engines")))
    preset = preset_of(name)
    keys = draw(st.lists(st.sampled_from([*KEYS, *preset.argument_names, *SCARCE]), max_size=5, unique=True))
    tokens = draw(st.sampled_from([480, 800, 8000]))
    memory = {"max_model_len": 480, "num_gpu_blocks": tokens // preset.values["block_size"]}
    return {"preset": name, **memory} | {key: draw(values_of(key)) for key in keys}


@st.composite
def workloads(draw: st.DrawFn) -> dict[str, Any]:
    lengths = draw(st.sampled_from([(fixed(1), fixed(1)), (fixed(400), fixed(70)), (fixed(90), fixed(60))]))
    arrivals = draw(st.sampled_from([{"process": "all_at_once"}, {"process": "closed_loop", "users": 7}]))
    limit = draw(st.sampled_from([{}, {}, {"max_new_tokens": 10**6}]))
    return {"lengths": dict(zip(("prompt", "output"), lengths, strict=True)), "arrivals": arrivals, **limit}


@contextmanager
def not_endless() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError("this run does not end")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("examples", [200, pytest.param(5000, marks=pytest.mark.deep)])
def test_it_is_refused_in_one_line_or_served_to_the_end(examples):
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(engine=engines(), workload=workloads())
    def serve(engine: dict[str, Any], workload: dict[str, Any]) -> None:
        case = {"engine": engine, "workload": workload | {"num_requests": 25}}
        message = outcome({"model": "qwen3-0.6b", "accelerator": "rtx-4090", **case})
        assert len(message.splitlines()) == 1

    serve()


def outcome(config: dict[str, Any]) -> str:
    """What became of an experiment, in words; whatever is no message for users comes out of here as it is."""
    try:
        with not_endless():
            result = sim.run(sim.experiment_from(config))
    except ServesimError as refusal:
        return str(refusal) if refusal.exit_code == 2 else ""
    return f"{result.summary['sim']['audit']['laws_checked']} laws hold"
