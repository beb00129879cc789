"""Engine presets: a framework's values on our axes, and its own names for them.

A preset is a file in catalogue/engines:

    summary, version     what it is, and what it was read from
    values               every key of `EngineSpec` that has no default of its own
    by_memory            defaults by the size of the GPU's memory: the first row that matches
    without              keys that mean nothing to this engine, and why
    arguments            the framework's own names: for a key of ours, or {key: {its value: ours}}
    whole_prompts        keys that are raised to max_model_len unless they are given
    only                 arguments whose other values are not modelled: the value that is accepted

A preset of the user's own is such a file by path, of which only `values` must be there; with `base` it has the values
and the names of the preset that it says, but for its own.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from sim.errors import InputError, did_you_mean
from sim.specs import catalogue
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.engine import NOT_YET, EngineSpec
from sim.specs.validation import validate, written
from sim.specs.yaml_file import read_mapping

DEFAULT_PRESET = "vllm-v1"
KEYS = ("summary", "version", "base", "values", "by_memory", "without", "arguments", "whole_prompts", "only")
ALLOW_CODE = "SERVESIM_ALLOW_CODE"
"""The environment variable that lets experiment files name Python code."""
GIB = 2**30


def complete_engine(
    given: dict[str, Any], accelerator: AcceleratorSpec, folder: Path = Path()
) -> tuple[EngineSpec, list[str]]:
    """The preset's values, its defaults for this much memory, and on top what was given; and notes about that.

    Paths (of a preset, of rules of the user's own) are relative to `folder`.
    """
    name = given.get("preset", DEFAULT_PRESET)
    if not isinstance(name, str):
        presets = did_you_mean("", catalogue.names("engines"))
        raise InputError(f"engine.preset: got {name!r}, must be a name; {presets}")
    if catalogue.is_path(name):
        name = str(catalogue.find_file(name, "engine.preset", folder))
    preset = _entry(name)
    values = {"preset": name, "preset_version": preset["version"], **preset["values"]}
    values |= _defaults_by_memory(preset.get("by_memory", []), accelerator)
    ours, names = in_our_words({**given, "preset": name}, name)
    ours = _own_rules_apart(ours, folder)
    if "kv_allocation" in ours and "gate" not in ours:
        paged_gate = values["gate"] if values["gate"] != "slot" else "whole_prompt"
        ours = {**ours, "gate": "slot" if ours["kv_allocation"] == "reserved" else paged_gate}
    engine = _in_blocks(_validate_engine(values | ours, names, "engine"))
    unused = {key: why for key, why in preset.get("without", {}).items() if ours.get(key) is not None}
    notes = [f"engine.{key} {ours[key]} has no effect under preset {name}: {why}" for key, why in unused.items()]
    return engine.model_copy(update=dict.fromkeys(unused)), notes


def fit_whole_prompts(engine: EngineSpec, given: dict[str, Any], model_len: int) -> EngineSpec:
    """Where the framework sizes its token budget for the longest prompt, that unless a budget was given."""
    ours, _ = in_our_words(given, engine.preset)
    length = engine.max_model_len or model_len
    keys = [key for key in _entry(engine.preset).get("whole_prompts", []) if key not in ours]
    return engine.model_copy(update={key: max(getattr(engine, key), length) for key in keys})


def engine_from_arguments(preset: str, arguments: dict[str, Any], field: str) -> EngineSpec:
    """The preset with a framework's arguments in place of its defaults; no GPU is asked for the others."""
    entry = _entry(preset)
    values = {"preset": preset, "preset_version": entry["version"], **entry["values"]}
    ours, names = in_our_words(arguments, preset)
    return _in_blocks(_validate_engine(values | ours, names, field))


def _in_blocks(engine: EngineSpec) -> EngineSpec:
    """A pool that was given in tokens counts in full blocks."""
    if engine.kv_pool_tokens is None:
        return engine
    return engine.model_copy(update={"num_gpu_blocks": engine.kv_pool_tokens // engine.block_size})


def in_our_words(given: dict[str, Any], preset: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The framework's arguments turned into our keys, and the name each was given under.

    Raises InputError where a key is given twice, and where the framework has no such argument.
    """
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    for argument, value in given.items():
        if argument in NOT_YET:
            _refuse_layout(argument, value)
            continue
        key, ours = _translated(argument, value, preset)
        if key in names:
            alias, other = (argument, names[key]) if argument != key else (names[key], argument)
            raise InputError(f"engine.{alias}: is another name of {key}, and engine.{other} is also given; keep one")
        if key:
            values[key], names[key] = ours, argument
    return values, names


@cache
def own_name(argument: str) -> str:
    """Our name of an engine key, which may be written under a framework's."""
    for name in catalogue.names("engines"):
        target = _entry(name).get("arguments", {}).get(argument)
        if target is not None:
            return target if isinstance(target, str) else str(next(iter(target)))
    return argument


def _translated(argument: str, value: Any, preset: str) -> tuple[str, Any]:
    """A key of ours and its value; no key for an argument that says nothing."""
    entry = _entry(preset)
    target, only = entry.get("arguments", {}).get(argument), entry.get("only", {})
    if argument in only:
        if value != only[argument]:
            raise InputError(
                f"engine.{argument}: got {written(value)}, but of {preset} only {written(only[argument])} is modelled; "
                "set it to that or drop it"
            )
        return "", None
    if isinstance(target, dict):
        ((key, meaning),) = target.items()
        if not isinstance(value, str | bool | None) or value not in meaning:
            allowed = " or ".join(written(each) for each in meaning)
            raise InputError(f"engine.{argument}: got {written(value)}, must be {allowed}; correct it or drop the line")
        return key, meaning[value]
    if target is None:
        _check_known(argument, preset)
    return target or argument, value


def _check_known(key: str, preset: str) -> None:
    """Refuse a key that is neither ours nor this framework's; one of another framework's by that framework's name."""
    if key in EngineSpec.model_fields:
        return
    own = _entry(preset)
    known = [*EngineSpec.model_fields, *own.get("arguments", {}), *own.get("only", {})]
    others = [name for name in catalogue.names("engines") if key in _arguments(name)]
    if others:
        ours = own_name(key)
        instead = f"; here it is {ours}" if ours != key else "; drop it"
        raise InputError(f"engine.{key}: {preset} has no such argument, it is one of {', '.join(others)}{instead}")
    raise InputError(f"engine.{key}: unknown key; {did_you_mean(key, known)}")


def _own_rules_apart(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Values that name a Python file (`gate: my_gate.py:rule`) as `own_rules`; refused unless code is allowed."""
    codes = {key: value for key, value in values.items() if isinstance(value, str) and ".py:" in value}
    rules = {**codes, **(values.get("own_rules") or {})}
    if not rules:
        return values
    if os.environ.get(ALLOW_CODE) != "1":
        key, value = next(iter(rules.items()))
        raise InputError(
            f"engine.{key}: {written(value)} is code, which an experiment file may not bring along unasked; if you "
            f"trust it, run servesim --allow-code VERB (or set {ALLOW_CODE}=1)"
        )
    found = {}
    for key, value in rules.items():
        file, _, name = str(value).rpartition(":")
        found[key] = f"{catalogue.find_file(file, f'engine.{key}', folder)}:{name}"
    return {key: value for key, value in values.items() if key not in codes} | {"own_rules": found}


@cache
def _entry(preset: str) -> dict[str, Any]:
    if not catalogue.is_path(preset):
        return catalogue.entry("engines", preset, "engine.preset")
    data = read_mapping(Path(preset))
    for key in data:
        if key not in KEYS:
            raise InputError(f"{preset}: {key}: unknown key of an engine preset; {did_you_mean(key, KEYS)}")
    if not isinstance(data.get("values"), dict):
        raise InputError(f"{preset}: values: must be a mapping of engine keys to values; add it")
    base = data.get("base")
    if base is None:
        return {"version": "own", **data}
    entry = catalogue.entry("engines", str(base), f"{preset}: base")
    return {
        **entry,
        "version": f"own, after {base} {entry['version']}",
        **data,
        "values": entry["values"] | data["values"],
    }


def _arguments(preset: str) -> list[str]:
    entry = _entry(preset)
    return [*entry.get("arguments", {}), *entry.get("only", {})]


def _validate_engine(values: dict[str, Any], names: dict[str, str], field: str) -> EngineSpec:
    """Validate; an error speaks of a key by the name it was given under (`scheduling_policy` for `order`)."""
    try:
        return validate(EngineSpec, values, field)
    except InputError as error:
        place, colon, rest = str(error).partition(":")
        ours, dot, inner = place.removeprefix(f"{field}.").partition(".")
        as_given = f"{field}.{names.get(ours)}{dot}{inner}{colon}{rest}"
        raise InputError(as_given if ours in names else str(error)) from None


def _refuse_layout(key: str, value: object) -> None:
    """Refuse a layout over several GPUs other than tensor parallelism, unless it is switched off."""
    none, layout = NOT_YET[key]
    if value != none:
        raise InputError(
            f"engine.{key}: got {value!r}, but {layout} is not modelled yet; drop it and share the model by "
            "tensor_parallel_size"
        )


def _defaults_by_memory(rows: list[dict[str, Any]], accelerator: AcceleratorSpec) -> dict[str, Any]:
    for row in rows:
        excepted = any(accelerator.name.startswith(prefix) for prefix in row.get("except", []))
        if accelerator.memory_bytes >= row["at_least_gib"] * GIB and not excepted:
            values: dict[str, Any] = row["values"]
            return values
    return {}
