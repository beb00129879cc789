"""Python files of the user's own that an experiment names: whether they may run, and what they hold.

`gate: my_gate.py:blocks_required` names the function `blocks_required` in `my_gate.py`. Nothing of a file runs unless
its user allowed it (`servesim --allow-code`).
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from sim.errors import InputError
from sim.specs import catalogue
from sim.specs.validation import written

RuleAxis = Literal["composition", "formation", "gate", "kv_allocation", "order"]
"""Engine keys whose rule may be one of the user's own."""

ALLOW_CODE = "SERVESIM_ALLOW_CODE"
"""The environment variable that lets experiment files name Python code."""

_NUMBERS = count(1)


def names_code(value: object) -> bool:
    """Whether a value of a config is, or was meant as, FILE.py:NAME."""
    return isinstance(value, str) and (".py:" in value or value.endswith(".py"))


def located_rules(rules: Mapping[str, Any], fields: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Rules by key as absolute FILE.py:NAME, each loaded once to see that it is there.

    `fields` says what to call a key in a message; files are beside `folder`, or below the current one. Raises
    InputError for what cannot be used, and for all of it where code is not allowed.
    """
    located = {}
    for key, value in rules.items():
        field = fields.get(key, f"engine.{key}")
        file, colon, name = value.rpartition(":") if isinstance(value, str) else ("", "", "")
        if key not in get_args(RuleAxis):
            raise InputError(
                f"{field}: got {written(value)}, but a rule of your own can only take the place of "
                f"{', '.join(get_args(RuleAxis)[:-1])} or {get_args(RuleAxis)[-1]}; correct the value"
            )
        if not colon or not file.endswith(".py") or not name:
            raise InputError(
                f"{field}: got {written(value)}, which names no rule; a rule of your own is FILE.py:NAME, such as "
                "my_rules.py:blocks_required"
            )
        _check_allowed(field, value)
        located[key] = f"{catalogue.find_file(file, field, folder)}:{name}"
        load(located[key], field)
    return located


def load(reference: str, field: str) -> Any:
    """The function or class that `FILE.py:NAME` names, the file executed anew; raises InputError if there is none."""
    file, _, name = reference.rpartition(":")
    _check_allowed(field, reference)
    module = _execute(file, field)
    found = getattr(module, name, None)
    if not callable(found):
        own = sorted(key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
        has = f"it has {', '.join(own)}" if own else "it has none"
        raise InputError(f"{field}: {file} has no function or class '{name}', {has}; define it or correct the name")
    return found


def _check_allowed(field: str, value: str) -> None:
    if os.environ.get(ALLOW_CODE) != "1":
        raise InputError(
            f"{field}: {written(value)} is code, which an experiment file may not bring along unasked; if you "
            f"trust it, run servesim --allow-code VERB (or set {ALLOW_CODE}=1)"
        )


def _execute(file: str, field: str) -> ModuleType:
    """The file as a module of a name that no other has."""
    name = f"servesim_rules_{next(_NUMBERS)}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InputError(f"{field}: {file} is not a Python file; give FILE.py:NAME")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's file raises is said, not shown as a defect of ours
        raise InputError(f"{field}: {file} cannot be loaded ({told(error, [file])}); correct it") from error
    finally:
        del sys.modules[name]
    return module


def told(error: BaseException, files: list[str]) -> str:
    """An error in words, with the last line of one of the `files` that it came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    place = f", line {frames[-1].lineno} of {Path(frames[-1].filename).name}" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
