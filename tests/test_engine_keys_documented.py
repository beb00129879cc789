"""docs/engine-keys.md and docs/speculation.md say what each key of the engine and its drafts means, and each value."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import sim
from sim.specs import catalogue
from sim.specs.axes import OF_ITSELF, TOGETHER
from sim.specs.engine import EngineSpec
from sim.specs.preset_file import preset_of
from sim.specs.presets import DEFAULT_PRESET
from sim.specs.speculation import AcceptanceSpec, SpeculationSpec
from sim.specs.yaml_file import parse_yaml

DOCS = Path(__file__).parents[1] / "docs"
PRESETS = catalogue.names("engines")
NO_DEFAULT = "\N{EN DASH}"

Row = list[str]


def rows(page: str, heading: str) -> dict[str, Row]:
    """Rows of the tables of a page whose first column has this heading, by the name in it, which stands there once."""
    table, found = "", list[Row]()
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    for line, following in pairwise([*lines, ""]):
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if following.startswith("|---"):
            table = cells[0]
        elif line.startswith("| ") and table == heading:
            found.append(cells)
    names = [row[0].strip("`") for row in found]
    assert len(set(names)) == len(names)
    return dict(zip(names, found, strict=True))


def words(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def choices(annotation: Any) -> list[str]:
    """The values of a Literal."""
    return list(get_args(annotation)) if get_origin(annotation) is Literal else []


def clauses(row: Row) -> dict[str, str]:
    """What a row says of each value."""
    _, *parts = re.split(r"`(\w+)`: ", row[2])
    return dict(zip(parts[::2], parts[1::2], strict=True))


def presets_in(text: str) -> set[str]:
    """Those named; what is said of sglang holds for sglang-mixed."""
    names = {name for name in PRESETS if re.search(rf"(?<![\w-]){name}(?![\w-])", text)}
    return names | {"sglang-mixed"} if "sglang" in names else names


KEYS = rows("engine-keys.md", "key")
DRAFT_KEYS = rows("speculation.md", "key")
KINDS = rows("speculation.md", "kind")
FIELDS = [
    pytest.param(page[name], name, field, id=name)
    for page, spec in ((KEYS, EngineSpec), (DRAFT_KEYS, SpeculationSpec))
    for name, field in spec.model_fields.items()
    if name in page
]
ACCEPTANCES: dict[str, type[BaseModel]] = {
    get_args(spec.model_fields["kind"].annotation)[0]: spec for spec in get_args(get_args(AcceptanceSpec)[0])
}


@pytest.mark.parametrize(
    ("page", "spec"), [(KEYS, EngineSpec), (DRAFT_KEYS, SpeculationSpec)], ids=["engine", "drafts"]
)
def test_every_key_has_a_row_and_every_row_a_key(page: dict[str, Row], spec: type[BaseModel]) -> None:
    assert sorted(page) == sorted(spec.model_fields)


@pytest.mark.parametrize(("row", "name", "field"), FIELDS)
def test_a_row_says_something_of_every_value_and_of_no_other(row: Row, name: str, field: FieldInfo) -> None:
    named = {value: said for value, said in clauses(row).items() if said.strip()}
    assert [value for value in named if value != "null"] == choices(field.annotation)


@pytest.mark.parametrize(("row", "name", "field"), FIELDS)
def test_a_row_says_the_default(row: Row, name: str, field: FieldInfo) -> None:
    if name == "preset":
        assert row[3] == f"`{DEFAULT_PRESET}`"
    elif field.is_required():
        assert row[3] == NO_DEFAULT
    else:
        assert yaml.safe_load(row[3].strip("`")) == field.get_default(call_default_factory=True)


@pytest.mark.parametrize("name", [name for name, field in EngineSpec.model_fields.items() if choices(field.annotation)])
def test_presets_beside_a_value_are_those_that_have_it(name: str) -> None:
    default = EngineSpec.model_fields[name].default
    for value, said in clauses(KEYS[name]).items():
        having = {preset for preset in PRESETS if preset_of(preset).values.get(name, default) == value}
        assert presets_in(said) in (set(), having), value


@pytest.mark.parametrize("composition", choices(EngineSpec.model_fields["composition"].annotation))
def test_what_goes_with_a_composition_is_what_is_let_through(composition: str) -> None:
    *told, besides = rows("engine-keys.md", "composition")[composition][1:]
    for key, cell in zip(("gate", "kv_allocation", "pressure"), told, strict=True):
        everything = choices(EngineSpec.model_fields[key].annotation)
        assert set(words(cell)) == set(TOGETHER[key].get(composition, everything))
    assert set(words(besides)) == {key for key, (_, knowing) in OF_ITSELF.items() if composition in knowing}


# ---- drafts ----------------------------------------------------------------------------------------------------------


def test_every_kind_of_acceptance_has_a_row_with_its_keys() -> None:
    assert {kind: words(row[1]) for kind, row in KINDS.items()} == {
        kind: [name for name in spec.model_fields if name != "kind"] for kind, spec in ACCEPTANCES.items()
    }


@pytest.mark.parametrize("kind", ACCEPTANCES)
def test_the_tokens_of_a_round_are_what_is_told(kind: str) -> None:
    _, _, _, example, told = KINDS[kind]
    section = {"method": "ngram", "num_speculative_tokens": 3, "acceptance": parse_yaml(example.strip("`"), kind)}
    assert f"{SpeculationSpec.model_validate(section).tokens_per_round:.2f}" == told


def test_the_example_runs_and_its_drafts_are_those_told() -> None:
    text = (DOCS / "speculation.md").read_text(encoding="utf-8")
    found = re.search(r"^```yaml title=drafts.yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found
    summary = sim.run(sim.experiment_from(parse_yaml(found[1], "the example"))).summary
    assert f"{summary['spec_decode_acceptance_rate']:.1f}% of {summary['spec_decode_draft_tokens']:,} drafts" in text
    assert summary["p50_itl_ms"] == 0
