"""Rules of the user's own, from a Python file beside the experiment: `gate: my_gate.py:blocks_required`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from sim.errors import AuditError, CheckFailed, InputError, ServesimError
from sim.specs.engine import EngineSpec
from sim.specs.own_code import RuleAxis, load, told

Rule = TypeVar("Rule")
Allocation = Callable[[int], int]


def rule(engine: EngineSpec, axis: RuleAxis, known: Mapping[str, Rule]) -> Rule:
    """What an engine has on an axis: its own rule if it has one, else one of those that are known.

    The file is executed anew each time, so that no run sees what another left there.
    """
    reference = engine.own_rules.get(axis)
    if reference is None:
        return known[getattr(engine, axis)]
    own = load(reference, f"engine.{axis}")
    if axis == "kv_allocation" and engine.kv_allocation != "reserved":
        own = partial(_reserving_what_is_known, own, _short(reference))
    return cast(Rule, own)


def _reserving_what_is_known(own: Callable[[EngineSpec], Allocation], name: str, engine: EngineSpec) -> Allocation:
    """Where decodes take a block whenever one is full, more than what is known would be taken twice."""
    reserved_tokens = own(engine)

    def checked(known_tokens: int) -> int:
        tokens = reserved_tokens(known_tokens)
        if tokens > known_tokens:
            raise InputError(
                f"engine.kv_allocation: {name} reserves {tokens} tokens for a request of {known_tokens}, must be at "
                "most those: further ones get blocks as they come; to reserve for the answer too, start from a preset "
                "with kv_allocation reserved (orca)"
            )
        return tokens

    return checked


@contextmanager
def own_rules_answer(engine: EngineSpec) -> Iterator[None]:
    """Where an engine has rules of the user's own, what goes wrong inside is said to be theirs, and in which line."""
    if not engine.own_rules:
        yield
        return
    whose = " and ".join(f"{axis} {_short(reference)}" for axis, reference in engine.own_rules.items())
    try:
        yield
    except AuditError as error:
        broken = str(error).partition("; this is a defect")[0]
        raise CheckFailed(f"{broken}; rules of your own ({whose}) let this happen: correct them") from error
    except ServesimError:
        raise
    except (Exception, SystemExit) as error:
        files = [reference.rpartition(":")[0] for reference in engine.own_rules.values()]
        raise InputError(f"engine: a rule of your own ({whose}) failed: {told(error, files)}; correct it") from error


def _short(reference: str) -> str:
    """Without folders."""
    return Path(reference).name
