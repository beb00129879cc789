"""How engine presets look in a terminal: the list of them, and all about one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from sim.cli.format import empty_table
from sim.cli.options import stdout
from sim.errors import printable
from sim.specs.derived import DERIVATIONS, Derivation
from sim.specs.engine import EngineSpec
from sim.specs.preset_file import Preset

LIMITS = ("max_concurrent_requests", "max_model_len", "num_gpu_blocks", "tensor_parallel_size")
"""Keys that any preset leaves open; others that it does not speak of belong to other frameworks."""

WHEN_NULL = {
    "num_gpu_blocks": "from memory",
    "kv_pool_tokens": "from memory",
    "num_cpu_blocks": "from swap_space_gib",
    "max_model_len": "the model's",
    "speculation": "none",
}
"""What stands for a value that is left open; for others null is no limit."""

DERIVED: dict[Derivation, str] = {
    "budget_of_whole_prompts": "{}, or max_model_len if that is more",
    "mem_fraction_static": "by memory and chunk",
}
"""What stands for a value that is worked out."""


def presets_table(presets: list[Preset]) -> Table:
    """One line a preset."""
    table = empty_table("engine presets", ["name", "what it does"], [])
    for preset in presets:
        table.add_row(preset.name, preset.summary)
    return table


def print_preset(preset: Preset) -> None:
    """What keys get that an experiment leaves out, the framework's names for them, and what is not modelled."""
    stdout.print(_values_table(preset))
    for title, lines in {
        "arguments of which only one value is modelled": [
            f"{key}: {_text(value)}" for key, value in preset.only.items()
        ],
        "keys without effect": [f"{key}: {why}" for key, why in preset.without.items()],
        "left out": preset.left_out,
    }.items():
        if lines:
            stdout.print(title, style="bold")
            for line in lines:
                stdout.print(f"  {printable(line)}", markup=False, highlight=False, soft_wrap=True)
            stdout.print()


def _values_table(preset: Preset) -> Table:
    title = f"{preset.name}: {preset.summary} (version {preset.version})"
    table = empty_table(title, ["engine key", "default", "also accepted as"], [])
    for key, field in EngineSpec.model_fields.items():
        by_memory, names = _by_memory(preset, key), ", ".join(_names_of(preset, key))
        if key in preset.values or key in LIMITS or by_memory or names:
            default = by_memory or _text(preset.values.get(key, field.default), key)
            default = preset.own_rules.get(key, default)
            for rule in preset.derived:
                default = DERIVED[rule].format(default) if DERIVATIONS[rule].key == key else default
            table.add_row(key, escape(printable(default)), escape(printable(names)))
    return table


def _by_memory(preset: Preset, key: str) -> str:
    """Defaults that depend on the GPU, the smallest last; nothing if they do not."""
    rows = [row for row in preset.by_memory if key in row.values]
    told = []
    for row in rows:
        size = f" from {row.at_least_gib:g} GiB" if row.at_least_gib else ""
        excepted = f" (but not {', '.join(row.excepted)})" if row.excepted else ""
        told.append(f"{_text(row.values[key])}{size}{excepted}")
    return ", ".join(told)


def _names_of(preset: Preset, key: str) -> Iterator[str]:
    """The framework's names of a key, with its words for our values where they differ."""
    for argument, target in preset.arguments.items():
        if preset.owner_of(argument) == key:
            meanings = target[key] if isinstance(target, dict) else {}
            told = ", ".join(f"{_text(theirs)}: {_text(ours)}" for theirs, ours in meanings.items() if theirs != ours)
            yield f"{argument} ({told})" if told else argument
    for argument, switched in preset.switches.items():
        told = ", ".join(f"{_text(theirs)}: {_text(ours[key])}" for theirs, ours in switched.items() if key in ours)
        if told:
            yield f"{argument} ({told})"


def _text(value: Any, key: str = "") -> str:
    """A value as it is written in a file; an open one in words."""
    if value is None:
        return WHEN_NULL.get(key, "no limit") if key else "null"
    return json.dumps(value) if isinstance(value, bool) else str(value)
