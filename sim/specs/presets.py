"""From what an experiment says of its engine to a complete one: the preset's values, and arguments by their names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sim.errors import InputError, did_you_mean
from sim.specs import catalogue
from sim.specs.accelerator import GIB, AcceleratorSpec
from sim.specs.derived import DERIVATIONS
from sim.specs.engine import NOT_YET, EngineSpec
from sim.specs.model import ModelSpec
from sim.specs.own_code import located_rules, names_code
from sim.specs.preset_file import Preset, own_name, preset_of
from sim.specs.validation import validate, written

__all__ = [
    "DEFAULT_PRESET", "complete_engine", "derive_values", "engine_from_arguments", "own_name",
]  # fmt: skip

DEFAULT_PRESET = "vllm-v1"


def complete_engine(
    given: dict[str, Any], accelerator: AcceleratorSpec, folder: Path = Path()
) -> tuple[EngineSpec, list[str]]:
    """The preset's values, its defaults for this much memory, and on top what was given; and notes about that.

    Paths (of a preset, of rules of the user's own) are relative to `folder`.
    """
    reference = _reference(given.get("preset", DEFAULT_PRESET), folder)
    preset = preset_of(reference)
    values = _preset_values(preset, reference, accelerator)
    ours, names = in_our_words({**given, "preset": reference}, preset)
    ours = _rules_apart(ours, {key: f"engine.{name}" for key, name in names.items()}, folder)
    rules = {key: rule for key, rule in values["own_rules"].items() if key not in ours} | ours["own_rules"]
    if "kv_allocation" in ours and "gate" not in ours:
        paged_gate = values["gate"] if values["gate"] != "slot" else "whole_prompt"
        ours = {**ours, "gate": "slot" if ours["kv_allocation"] == "reserved" else paged_gate}
    engine = _in_blocks(_validate_engine(values | ours | {"own_rules": rules}, names, "engine"), names)
    unused = {key: why for key, why in preset.without.items() if ours.get(key, values.get(key)) != values.get(key)}
    notes = [
        f"engine.{names[key]} {ours[key]} has no effect under preset {preset.name}: {why}"
        for key, why in unused.items()
    ]
    return engine.model_copy(update={key: values.get(key) for key in unused}), notes


def derive_values(
    engine: EngineSpec, given: dict[str, Any], model: ModelSpec, accelerator: AcceleratorSpec
) -> EngineSpec:
    """With what the framework works out from all else, where that was not given."""
    preset = preset_of(engine.preset)
    ours, _ = in_our_words(given, preset)
    rules = [DERIVATIONS[name] for name in preset.derived]
    found = {rule.key: rule.value(engine, model, accelerator) for rule in rules if rule.key not in ours}
    return engine.model_copy(update=found)


def engine_from_arguments(preset: str, arguments: dict[str, Any], field: str) -> EngineSpec:
    """The preset with a framework's arguments in place of its defaults; no GPU is asked for the others."""
    shipped = preset_of(preset)
    values = {"preset": preset, "preset_version": shipped.version, **shipped.values}
    ours, names = in_our_words(arguments, shipped)
    return _in_blocks(_validate_engine(values | ours, names, field), names)


# ---- the preset ------------------------------------------------------------------------------------------------------


def _reference(name: Any, folder: Path) -> str:
    """A catalogue name, or the absolute path of a preset's file."""
    names = catalogue.names("engines")
    if not isinstance(name, str):
        raise InputError(f"engine.preset: got {written(name)}, must be a name or a path; {did_you_mean('', names)}")
    if not catalogue.is_path(name):
        return name
    hint = f", or use a catalogue name ({', '.join(names)})"
    return str(catalogue.find_file(name, "engine.preset", folder, hint=hint))


def _preset_values(preset: Preset, reference: str, accelerator: AcceleratorSpec) -> dict[str, Any]:
    """The preset's values on this accelerator, its rules in Python apart; a file of the user's must be right alone."""
    values = {"preset": reference, "preset_version": preset.version, **preset.values}
    values |= _defaults_by_memory(preset, accelerator)
    if not catalogue.is_path(reference):
        return values | {"own_rules": {}}
    fields = {key: f"{reference}: values.{key}" for key in preset.own_rules}
    values = _rules_apart(values | {"own_rules": preset.own_rules}, fields, Path(reference).parent)
    try:
        validate(EngineSpec, values, "values")
    except InputError as error:
        more = " or a base that has it" if str(error).endswith("missing; add it") else ""
        raise InputError(f"{reference}: {error}{more}") from None
    return values


def _defaults_by_memory(preset: Preset, accelerator: AcceleratorSpec) -> dict[str, Any]:
    for row in preset.by_memory:
        excepted = any(accelerator.name.startswith(prefix) for prefix in row.excepted)
        if accelerator.memory_bytes >= row.at_least_gib * GIB and not excepted:
            return row.values
    return {}


# ---- what is given ---------------------------------------------------------------------------------------------------


def in_our_words(given: dict[str, Any], preset: Preset) -> tuple[dict[str, Any], dict[str, str]]:
    """The framework's arguments turned into our keys, and the name each was given under.

    Raises InputError where a key is given twice, and where the framework has no such argument.
    """
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    for argument, value in given.items():
        if argument in NOT_YET:
            _refuse_layout(argument, value)
            continue
        for key, ours in _translated(argument, value, preset).items():
            if key in names:
                alias, other = (argument, names[key]) if argument != key else (names[key], argument)
                raise InputError(f"engine.{alias}: sets {key}, and engine.{other} is also given; keep one")
            values[key], names[key] = ours, argument
    return values, names


def _translated(argument: str, value: Any, preset: Preset) -> dict[str, Any]:
    """What an argument says in our keys; nothing for one of which only this value is modelled."""
    target, switches = preset.arguments.get(argument), preset.switches.get(argument, {})
    if isinstance(value, str | int | None) and value in switches:
        return switches[value]
    if argument in preset.only:
        accepted = preset.only[argument]
        if value != accepted or isinstance(value, bool) != isinstance(accepted, bool):
            raise InputError(
                f"engine.{argument}: got {written(value)}, but of {preset.name} only {_as_yaml(accepted)} is modelled; "
                "set it to that or drop it"
            )
        return {}
    if isinstance(target, dict):
        ((key, meaning),) = target.items()
        if not isinstance(value, str | bool | None) or value not in meaning:
            allowed = " or ".join(_as_yaml(each) for each in meaning)
            raise InputError(f"engine.{argument}: got {written(value)}, must be {allowed}; correct it or drop the line")
        return {key: meaning[value]}
    if target is None:
        _check_known(argument, preset)
    return {target or argument: value}


def _check_known(key: str, preset: Preset) -> None:
    """Refuse a key that is neither ours nor this framework's; one of another framework's by that framework's name."""
    if key in EngineSpec.model_fields:
        return
    others = [other for other in map(preset_of, catalogue.names("engines")) if key in other.argument_names]
    if not others:
        ours = (name for name in EngineSpec.model_fields if name not in ("own_rules", "preset_version"))
        known = dict.fromkeys([*ours, *preset.argument_names])
        raise InputError(f"engine.{key}: unknown key; {did_you_mean(key, known)}")
    owners: dict[str | None, list[str]] = {}
    for other in others:
        owners.setdefault(other.owner_of(key), []).append(other.name)
    named = {owner: presets for owner, presets in owners.items() if owner is not None}
    meant = [owner + (f" (as in {', '.join(presets)})" if len(named) > 1 else "") for owner, presets in named.items()]
    whose = ", ".join(other.name for other in others)
    remedy = f"here it is {' or '.join(meant)}" if meant else "drop it"
    raise InputError(f"engine.{key}: {preset.name} has no such argument, it is one of {whose}; {remedy}")


def _rules_apart(values: dict[str, Any], fields: dict[str, str], folder: Path) -> dict[str, Any]:
    """Values that name a Python file (`gate: my_gate.py:rule`) as `own_rules`; refused unless code is allowed."""
    given = values.get("own_rules", {})
    if not isinstance(given, dict):
        raise InputError(
            f"engine.own_rules: got {written(given)}, must be a mapping of keys to FILE.py:NAME; correct it"
        )
    codes = {key: value for key, value in values.items() if names_code(value) and key != "preset"}
    rules = located_rules({**codes, **given}, fields, folder)
    return {key: value for key, value in values.items() if key not in codes} | {"own_rules": rules}


def _validate_engine(values: dict[str, Any], names: dict[str, str], field: str) -> EngineSpec:
    """Validate; an error speaks of a key by the name it was given under (`scheduling_policy` for `order`)."""
    try:
        return validate(EngineSpec, values, field)
    except InputError as error:
        place, colon, rest = str(error).partition(":")
        ours, dot, inner = place.removeprefix(f"{field}.").partition(".")
        if ours in names:
            raise InputError(f"{field}.{names[ours]}{dot}{inner}{colon}{rest}") from None
        aliases = {key: name for key, name in names.items() if key != name and re.search(rf"\b{key}\b", rest)}
        also = "; ".join(f"{name} is {key} here" for key, name in aliases.items())
        raise InputError(f"{error} ({also})" if also else str(error)) from None


def _in_blocks(engine: EngineSpec, names: dict[str, str]) -> EngineSpec:
    """A pool that was given in tokens counts in full blocks."""
    if engine.kv_pool_tokens is None:
        return engine
    blocks = engine.kv_pool_tokens // engine.block_size
    if not blocks:
        name = names.get("kv_pool_tokens", "kv_pool_tokens")
        raise InputError(
            f"engine.{name}: got {engine.kv_pool_tokens}, must be at least a block of {engine.block_size} tokens; "
            "raise it or drop the line to derive it from memory"
        )
    return engine.model_copy(update={"num_gpu_blocks": blocks})


def _refuse_layout(key: str, value: object) -> None:
    """Refuse a layout over several GPUs other than tensor parallelism, unless it is switched off."""
    none, layout = NOT_YET[key]
    if value != none:
        raise InputError(
            f"engine.{key}: got {value!r}, but {layout} is not modelled yet; drop it and share the model by "
            "tensor_parallel_size"
        )


def _as_yaml(value: Any) -> str:
    """A value as it is written in a file."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
