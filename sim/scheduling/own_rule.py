"""Rules of the user's own, from a Python file beside the experiment: `gate: my_gate.py:blocks_required`."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sim.errors import InputError
from sim.specs.engine import EngineSpec

Rule = TypeVar("Rule")


def rule(engine: EngineSpec, axis: str, known: Mapping[str, Rule]) -> Rule:
    """What an engine has on an axis: its own rule if it has one, else one of those that are known."""
    reference = engine.own_rules.get(axis)  # type: ignore[call-overload]
    return known[getattr(engine, axis)] if reference is None else _loaded(reference, f"engine.{axis}")


@cache
def _loaded(reference: str, field: str) -> Any:
    """The object that `FILE.py:NAME` names. Raises InputError where there is none."""
    file, _, name = reference.rpartition(":")
    spec = importlib.util.spec_from_file_location(f"servesim_rule_{Path(file).stem}", file)
    if spec is None or spec.loader is None:
        raise InputError(f"{field}: '{reference}' is not a Python file; give FILE.py:NAME")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file raises is said, not shown as a defect of ours
        raise InputError(f"{field}: {file} cannot be loaded ({type(error).__name__}: {error}); correct it") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise InputError(f"{field}: {file} has no function or class '{name}'; define it or correct the name")
    return found
