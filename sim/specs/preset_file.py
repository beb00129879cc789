"""The file of an engine preset: a framework's values on our axes, and its own names for them.

`catalogue/engines` holds those that ship. One of the user's own is such a file by path, of which only `values` must be
there; with `base` it has all that the preset of that name has, but for its own.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from sim.errors import InputError, did_you_mean
from sim.specs import catalogue
from sim.specs.base import Spec
from sim.specs.derived import DERIVATIONS, Derivation
from sim.specs.engine import EngineSpec
from sim.specs.own_code import names_code
from sim.specs.validation import validate, written
from sim.specs.yaml_file import read_mapping

NOT_IN_PRESETS = ("preset", "preset_version", "own_rules")
"""Keys of an engine that say which preset it has, not what is in one."""


def _check_key(key: str) -> str:
    if key in NOT_IN_PRESETS:
        raise ValueError(f"{key} is no key of a preset; drop it")
    if key not in EngineSpec.model_fields:
        theirs = own_name(key)
        remedy = f"write {theirs}" if theirs != key else did_you_mean(key, EngineSpec.model_fields)
        raise ValueError(f"{key} is no key of the engine; {remedy}")
    return key


def _check_target(target: Any) -> Any:
    one = isinstance(target, dict) and len(target) == 1
    owner, meaning = next(iter(target.items())) if one else (target, {None: None})
    if not isinstance(owner, str) or not isinstance(meaning, dict) or not meaning:
        raise ValueError(
            f"got {written(target)}, must be a key of the engine, or {{key: {{its value: ours}}}}; correct it"
        )
    _check_key(owner)
    return target


def _check_names(arguments: dict[str, Any]) -> dict[str, Any]:
    for name, target in arguments.items():
        if name in EngineSpec.model_fields and name != _owner(target):
            raise ValueError(f"{name} is a key of the engine itself, not another's name; drop it")
    return arguments


def _check_only(only: dict[str, Any]) -> dict[str, Any]:
    for name in only:
        if name in EngineSpec.model_fields:
            raise ValueError(f"{name} is a key of the engine itself, not an argument; write it under values")
    return only


def _owner(target: Any) -> str:
    """The key of ours that an argument sets."""
    owner: str = next(iter(target)) if isinstance(target, dict) else target
    return owner


EngineKey = Annotated[str, AfterValidator(_check_key)]
EngineValues = dict[EngineKey, Any]
Target = Annotated[Any, AfterValidator(_check_target)]
"""What an argument sets: a key of ours, or {key: {its value: ours}}."""


class MemoryRow(Spec):
    """Defaults for GPUs of at least so many GiB, but for those whose name begins like one of `excepted`."""

    at_least_gib: Annotated[float, Field(ge=0)]
    excepted: list[str] = Field(default_factory=list, alias="except")
    values: EngineValues


class Preset(Spec):
    """One preset, every part filled in.

    `by_memory` are defaults by the size of the GPU's memory, of which the first row that matches counts. What keys in
    `without` are set to has no effect, and why is said. `arguments` are the framework's own names. Rules in `derived`
    work out a key each unless it is given. Of an argument in `only` just that value is modelled. `switches` are values
    of arguments that mean other keys. `left_out` says in words what of the framework is not there. `own_rules` are
    values that name Python code.
    """

    name: str
    summary: str
    version: str
    base: str | None = None
    values: EngineValues
    own_rules: dict[EngineKey, str] = Field(default_factory=dict)
    by_memory: list[MemoryRow] = Field(default_factory=list)
    without: dict[EngineKey, str] = Field(default_factory=dict)
    arguments: Annotated[dict[str, Target], AfterValidator(_check_names)] = Field(default_factory=dict)
    derived: list[Derivation] = Field(default_factory=list)
    only: Annotated[dict[str, Any], AfterValidator(_check_only)] = Field(default_factory=dict)
    switches: dict[str, dict[str | int | None, EngineValues]] = Field(default_factory=dict)
    left_out: list[str] = Field(default_factory=list)

    @property
    def argument_names(self) -> list[str]:
        """The framework's own names, whatever may be given under them."""
        return [*self.arguments, *self.only]

    def owner_of(self, argument: str) -> str | None:
        """The key of ours that an argument sets; None if it is not one of those."""
        return _owner(self.arguments[argument]) if argument in self.arguments else None

    def on(self, base: Preset) -> Preset:
        """This one where it says something, else `base`; what it says of a key replaces what the base says of it."""
        said, named = self.values, {*self.arguments, *self.only}
        rows = [row.model_copy(update={"values": _without(row.values, said)}) for row in base.by_memory]
        return base.model_copy(
            update={
                "name": self.name,
                "summary": self.summary,
                "version": self.version,
                "values": base.values | said,
                "own_rules": self.own_rules,
                "by_memory": self.by_memory or rows,
                "without": _without(base.without, said) | self.without,
                "arguments": _without(base.arguments, named) | self.arguments,
                "only": _without(base.only, named) | self.only,
                "switches": _without(base.switches, named) | self.switches,
                "derived": self.derived or [rule for rule in base.derived if DERIVATIONS[rule].key not in said],
                "left_out": base.left_out + self.left_out,
            }
        )


def _without(mapping: dict[str, Any], keys: Any) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


def preset_of(reference: str) -> Preset:
    """A preset of the catalogue by its name, or one of the user's own by the path of its file."""
    return _own(reference) if catalogue.is_path(reference) else _shipped(reference)


@cache
def _shipped(name: str) -> Preset:
    return validate(Preset, {"name": name, **catalogue.entry("engines", name, "engine.preset")})


def _own(path: str) -> Preset:
    """The preset in a file; an error says which file."""
    data = {"name": path, "summary": "a preset of your own", **read_mapping(Path(path))}
    if "own_rules" in data:
        raise InputError(f"{path}: own_rules: write rules of your own under values, as FILE.py:NAME")
    base = None if data.get("base") is None else _shipped_base(path, data["base"])
    after = "" if base is None else f", after {base.name} {base.version}"
    values = data.get("values")
    if isinstance(values, dict):
        codes = {key: value for key, value in values.items() if names_code(value)}
        data |= {"values": _without(values, codes), "own_rules": codes}
    try:
        preset = validate(Preset, {"version": f"own{after}", **data})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return preset if base is None else preset.on(base)


def _shipped_base(path: str, base: object) -> Preset:
    names = catalogue.names("engines")
    if base not in names:
        raise InputError(f"{path}: base: '{base}' is no preset of the catalogue; {did_you_mean(str(base), names)}")
    return _shipped(str(base))


def own_name(argument: str, preset: str | None = None) -> str:
    """Our name of an engine key, which may be written under a framework's: that of `preset` if it has the name."""
    if argument in EngineSpec.model_fields:
        return argument
    own = [] if preset is None or catalogue.is_path(preset) else [preset]
    for name in (*own, *catalogue.names("engines")):
        key = _shipped(name).owner_of(argument) if name in catalogue.names("engines") else None
        if key is not None:
            return key
    return argument
