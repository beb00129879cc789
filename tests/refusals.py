"""What a message of refusal must be: one line that names field, value, what is allowed and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

import sim
from sim.errors import InputError, ServesimError

REMEDIES = (
    "set ",
    "drop",
    "raise",
    "lower",
    "choose",
    "use ",
    "keep ",
    "correct",
    "add it",
    "known:",
    "here it is",
    "give ",
    "write ",
    "such as ",
    "relative to ",
)
"""A message says with one of these what to do."""


def refused(read: Callable[..., Any], *arguments: Any, error: type[ServesimError] = InputError, code: int = 2) -> str:
    """The message with which `read` refuses its arguments."""
    with pytest.raises(error) as caught:
        read(*arguments)
    message = str(caught.value)
    assert caught.value.exit_code == code
    assert "\n" not in message
    assert any(remedy in message for remedy in REMEDIES), f"no remedy in: {message}"
    return message


def refused_engine(preset: str, **values: Any) -> str:
    """The message with which engine values are refused."""
    return refused(experiment_with, preset, values)


def experiment_with(
    preset: str, values: dict[str, Any] | None = None, accelerator: str = "a100-80gb-sxm", **workload: Any
) -> sim.Experiment:
    """A preset with these values under a little traffic; memory is the accelerator's."""
    lengths = {"prompt": {"distribution": "uniform", "low": 20, "high": 200}, "output": fixed(30)}
    traffic = {"arrivals": {"process": "poisson", "rate": 8}, "lengths": lengths, "num_requests": 40}
    return sim.experiment_from(
        {
            "model": "llama-3.1-8b",
            "accelerator": accelerator,
            "engine": {"preset": preset, "max_model_len": 2048, **(values or {})},
            "workload": traffic | workload,
        }
    )


def fixed(tokens: int) -> dict[str, Any]:
    return {"distribution": "fixed", "value": tokens}


def all_in(message: str, fragments: Iterable[str]) -> None:
    missing = [fragment for fragment in fragments if fragment not in message]
    assert not missing, f"{missing} not in: {message}"
