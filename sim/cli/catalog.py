"""`servesim catalog`: what ships, or all about one model, accelerator or preset, also one of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from sim.cli.format import empty_table
from sim.cli.options import JsonOption, stdout
from sim.cli.presets import presets_table, print_preset
from sim.config import load_accelerator, load_model
from sim.errors import InputError, did_you_mean
from sim.specs import catalogue
from sim.specs.facts import accelerator_facts, model_facts, preset_facts
from sim.specs.preset_file import Preset, preset_of
from sim.specs.yaml_file import dump_yaml, read_mapping
from sim.study.store import to_json

GB = 1e9


def catalog_command(
    name: Annotated[
        str | None,
        typer.Argument(help="A name, or a path to a config.json or a YAML file; without one, everything is listed."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """List the models, accelerators and engine presets that ship, or show one with what follows from it."""
    if name is not None:
        _show(name, json_)
        return
    models = [model_facts(load_model(entry)) for entry in catalogue.names("models")]
    accelerators = [accelerator_facts(load_accelerator(entry)) for entry in catalogue.names("accelerators")]
    presets = [preset_of(entry) for entry in catalogue.names("engines")]
    if json_:
        engines = [preset_facts(preset) for preset in presets]
        print(to_json({"models": models, "accelerators": accelerators, "engines": engines}))
        return
    stdout.print(_models_table(models))
    stdout.print(_accelerators_table(accelerators))
    stdout.print(presets_table(presets))


def _show(name: str, json_: bool) -> None:
    found = _found(name)
    if isinstance(found, Preset) and not json_:
        print_preset(found)
        return
    facts = preset_facts(found) if isinstance(found, Preset) else found
    print(to_json(facts) if json_ else dump_yaml(facts).rstrip())


def _found(name: str) -> dict[str, Any] | Preset:
    """The facts of a model or an accelerator, or a preset."""
    if catalogue.is_path(name):
        content = read_mapping(Path(name))
        if "values" in content:
            return preset_of(name)
        is_accelerator = "memory_bytes_per_s" in content
        return accelerator_facts(load_accelerator(name)) if is_accelerator else model_facts(load_model(name))
    if name in catalogue.names("accelerators"):
        return accelerator_facts(load_accelerator(name))
    if name in catalogue.names("models"):
        return model_facts(load_model(name))
    if name in catalogue.names("engines"):
        return preset_of(name)
    known = catalogue.names("models") + catalogue.names("accelerators") + catalogue.names("engines")
    raise InputError(
        f"'{name}' is neither a model nor an accelerator nor an engine preset of the catalogue; "
        f"{did_you_mean(name, known)}"
    )


def _models_table(models: list[dict[str, Any]]) -> Table:
    table = empty_table("models", ["name"], ["parameters", "active", "weights", "KV per token"])
    for facts in models:
        total, active = facts["parameters"]["total"], facts["parameters"]["active"]
        table.add_row(
            facts["name"],
            f"{total / GB:.2f} B",
            f"{active / GB:.2f} B",
            f"{facts['weight_bytes'] / GB:.1f} GB",
            f"{facts['kv_bytes_per_token']:,} B",
        )
    return table


def _accelerators_table(accelerators: list[dict[str, Any]]) -> Table:
    columns = ("memory", "bandwidth", "16-bit peak", "ridge", "link", "sheet", "efficiencies")
    table = empty_table("accelerators", ["name"], columns)
    for facts in accelerators:
        dtype = "bfloat16" if "bfloat16" in facts["peak_flop_per_s"] else "float16"
        table.add_row(
            facts["name"],
            f"{facts['memory_bytes'] / GB:.1f} GB",
            f"{facts['memory_bytes_per_s'] / GB:,.0f} GB/s",
            f"{facts['peak_flop_per_s'][dtype] / 1e12:,.0f} TFLOP/s",
            f"{facts['ridge_flop_per_byte'][dtype]:.0f} FLOP/B",
            f"{facts['link_bytes_per_s'] / GB:,.0f} GB/s",
            facts["confidence"],
            facts["efficiency"]["source"].partition(" ")[0],
        )
    return table
