"""How `sim.specs.validation` says what is wrong: paths as they are written in YAML, words of YAML and not of Python."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from sim.config import ConfigFile
from sim.errors import InputError, did_you_mean
from sim.specs.base import PositiveFloat, PositiveInt, Spec
from sim.specs.validation import validate

JARGON = ("dictionary", "object", "instance", "Input should", "[key]", "Spec", "IndependentLengths")


class Square(Spec):
    kind: Literal["square"]
    side: PositiveFloat


class Ring(Spec):
    kind: Literal["ring"]
    inner: PositiveFloat
    outer: PositiveFloat

    @model_validator(mode="after")
    def _ordered(self) -> Ring:
        if self.inner >= self.outer:
            raise ValueError(f"inner {self.inner} is not below outer {self.outer}; swap them")
        return self


class Drawing(Spec):
    shape: Annotated[Square | Ring, Field(discriminator="kind")]
    copies: PositiveInt = 1
    colour: Literal["red", "green"] = "red"
    shares: dict[int, PositiveFloat] = Field(default_factory=dict)
    source: str | dict[str, int] = ""


SQUARE = {"kind": "square", "side": 1.0}


def message(data, spec=Drawing, field="drawing"):
    with pytest.raises(InputError) as caught:
        validate(spec, data, field)
    return str(caught.value)


def place(data, **kwargs):
    return message(data, **kwargs).partition(": ")[0]


def test_valid_data_become_the_description():
    drawing = validate(Drawing, {"shape": SQUARE, "copies": 2, "shares": {0: 0.5}})
    assert drawing.shape == Square(kind="square", side=1.0)
    assert drawing.copies == 2


@pytest.mark.parametrize(
    ("data", "where"),
    [
        pytest.param({"shape": SQUARE, "copys": 2}, "drawing.copys", id="unknown_key"),
        pytest.param({"shape": SQUARE | {"sid": 2}}, "drawing.shape.sid", id="unknown_key_of_a_kind"),
        pytest.param({}, "drawing.shape", id="missing"),
        pytest.param({"shape": {"kind": "square"}}, "drawing.shape.side", id="missing_of_a_kind"),
        pytest.param({"shape": SQUARE | {"side": -1.0}}, "drawing.shape.side", id="value_of_a_kind"),
        pytest.param({"shape": SQUARE | {"kind": "cube"}}, "drawing.shape.kind", id="kind"),
        pytest.param({"shape": {"kind": "ring", "inner": 2.0, "outer": 1.0}}, "drawing.shape", id="rule_of_a_kind"),
        pytest.param({"shape": 3}, "drawing.shape", id="not_a_section"),
        pytest.param({"shape": SQUARE, "copies": 0}, "drawing.copies", id="value"),
        pytest.param({"shape": SQUARE, "shares": {0: -1.0}}, "drawing.shares.0", id="value_in_a_mapping"),
        pytest.param({"shape": SQUARE, "shares": {"high": 1.0}}, "drawing.shares.high", id="key_of_a_mapping"),
        pytest.param({"shape": SQUARE, "source": 3}, "drawing.source", id="name_or_section"),
    ],
)
def test_place_is_the_dotted_path_as_written(data, where):
    assert place(data) == where


def test_place_without_a_field_starts_at_the_key():
    assert place({"shape": SQUARE, "copies": 0}, field="") == "copies"


@pytest.mark.parametrize(
    ("section", "value", "where"),
    [
        ("lengths", {"prompt": {"distribution": "fixed", "value": 0}}, "workload.lengths.prompt.value"),
        ("lengths", {"distribution": "azure-2023-conversation", "scale": 2}, "workload.lengths.scale"),
        ("lengths", "azure-2023-conversation", "workload.lengths"),
        ("arrivals", "poisson", "workload.arrivals"),
        ("arrivals", {"process": "gamma", "rate": 1.0, "cv": 0.0}, "workload.arrivals.cv"),
        ("priorities", {"high": 1.0}, "workload.priorities.high"),
    ],
)
def test_place_in_the_experiment_file_is_as_written(section, value, where):
    data = {"model": "m", "accelerator": "a", "workload": {section: value}}
    assert place(data, spec=ConfigFile, field="") == where


@pytest.mark.parametrize(
    "data",
    [
        {"shape": 3},
        {"shape": None},
        {"shape": [SQUARE]},
        {"shape": SQUARE, "copies": "2"},
        {"shape": SQUARE, "copies": 2.0},
        {"shape": SQUARE, "shares": [1]},
        {"shape": SQUARE, "shares": {"high": 1.0}},
        {"shape": SQUARE, "source": None},
    ],
)
def test_message_speaks_of_yaml(data):
    found = message(data)
    assert [word for word in JARGON if word in found] == []


@pytest.mark.parametrize("workload", ["poisson", {"lengths": "poisson"}, {"arrivals": "poisson"}])
def test_a_word_where_a_section_belongs_is_asked_to_be_a_mapping(workload):
    found = message({"model": "m", "accelerator": "a", "workload": workload}, spec=ConfigFile, field="")
    assert "'poisson', must be a mapping" in found
    assert [word for word in JARGON if word in found] == []


def test_unknown_key_lists_the_keys_of_its_own_kind():
    found = message({"shape": SQUARE | {"inner": 2.0}})
    assert "known: kind, side" in found
    assert "outer" not in found


def test_key_that_is_known_elsewhere_is_not_suggested_to_itself():
    data = {"distribution": "azure-2023-conversation", "prompt": {"distribution": "fixed", "value": 1}}
    found = message({"model": "m", "accelerator": "a", "workload": {"lengths": data}}, spec=ConfigFile, field="")
    assert "did you mean 'prompt'" not in found


def test_unknown_kind_lists_the_kinds():
    found = message({"shape": SQUARE | {"kind": "rng"}})
    assert "'rng'" in found
    assert "did you mean 'ring'" in found
    assert "known: ring, square" in found


def test_missing_kind_names_the_key_and_the_kinds():
    found = message({"shape": {"side": 1.0}})
    assert [word for word in ("kind", "ring", "square") if word not in found] == []


def test_unknown_choice_gets_the_nearest():
    found = message({"shape": SQUARE, "colour": "gren"})
    assert "'gren'" in found
    assert "did you mean 'green'" in found
    assert "red" in found


def test_default_is_offered_where_there_is_one():
    assert "default" in message({"shape": SQUARE, "copies": 0})


def test_no_default_is_offered_where_there_is_none():
    assert "default" not in message({"shape": SQUARE | {"side": 0.0}})
    assert "default" not in message({"shape": 3})


def test_long_values_are_shortened():
    found = message({"shape": SQUARE, "copies": "x" * 10_000})
    assert "'xxx" in found
    assert "..." in found
    assert len(found) < 300


def test_rule_of_several_fields_keeps_its_own_words():
    assert "inner 2.0 is not below outer 1.0; swap them" in message(
        {"shape": {"kind": "ring", "inner": 2.0, "outer": 1.0}}
    )


@pytest.mark.parametrize(
    ("written", "nearest"),
    [("a100", "a100-80gb-sxm"), ("H100", "h100-sxm"), ("h100-smx", "h100-sxm"), ("rtx4090", "rtx-4090")],
)
def test_nearest_name_is_one_that_begins_alike(written, nearest):
    known = ["a100-40gb-sxm", "a100-80gb-sxm", "h100-sxm", "rtx-4090"]
    suggested = did_you_mean(written, known).partition("?")[0]
    assert suggested.removeprefix("did you mean ").strip("'")[:4] == nearest[:4]


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("h100", "did you mean 'h100-nvl', 'h100-sxm' or 'h100-pcie'? "),
        ("h200", "did you mean 'h200-sxm'? "),
        ("A100", "did you mean 'a100-40gb-sxm' or 'a100-80gb-sxm'? "),
        ("llama3", "did you mean 'llama-3.1-8b', 'llama-3.1-70b' or 'llama-3.3-70b'? "),
        ("lama-3.1-8b", "did you mean 'llama-3.1-8b'? "),
        ("...", ""),
    ],
)
def test_names_that_begin_as_written_come_first_the_shortest_three_of_them(written, hint):
    known = [
        "h100-nvl", "h100-pcie", "h100-sxm", "h200-sxm", "a100-40gb-sxm", "a100-80gb-sxm", "llama-2-13b",
        "llama-3.1-405b", "llama-3.1-70b", "llama-3.1-8b", "llama-3.3-70b",
    ]  # fmt: skip
    assert did_you_mean(written, known) == f"{hint}known: {', '.join(sorted(known))}"


def test_nothing_near_lists_all_names():
    assert did_you_mean("tpu", ["b", "a"]) == "known: a, b"
