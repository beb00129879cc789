"""Reading YAML and JSON: whatever the text holds, it becomes a value or is refused in words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import InputError
from sim.specs.yaml_file import MOST_DEPTH, parse_yaml, read_mapping

SNIPPETS = (
    *("!!int ", "!!float ", "!!bool ", "!!null ", "!!map ", "!!seq ", "!!str ", "!!timestamp ", "!!set ", "!x ", "<<"),
    *(
        "{",
        "}",
        "[",
        "]",
        ",",
        ": ",
        "- ",
        "? ",
        "\n",
        " ",
        "  ",
        "\t",
        "&a ",
        "*a ",
        "|",
        ">",
        "'",
        '"',
        "\\",
        "#",
        "%",
    ),
    *("a", "1", "1e5", ".", "-", "_", "+", "=", "~", ".inf", "---", "...", "\\UFFFFFFFF", "2026-01-01", "\x00", "é"),
)


@settings(max_examples=1000)
@given(st.lists(st.sampled_from(SNIPPETS), max_size=12).map("".join))
def test_any_text_is_a_value_or_refused(text):
    try:
        json.dumps(parse_yaml(text, "here"))
    except InputError as error:
        refusal = str(error)
        assert refusal.startswith("here")


def test_a_date_is_text_as_it_would_be_in_json():
    assert parse_yaml("name: 2026-01-01", "here") == {"name": "2026-01-01"}


def nested(depth: int) -> dict[str, object]:
    return {"a": nested(depth - 1)} if depth > 1 else {"a": 1}


@pytest.mark.parametrize("name", ["c.json", "c.yaml"])
def test_depth_is_bounded_in_either_format(tmp_path, name):
    path = tmp_path / name
    path.write_text(json.dumps(nested(MOST_DEPTH)))
    assert read_mapping(path) == nested(MOST_DEPTH)
    path.write_text(json.dumps(nested(MOST_DEPTH + 1)))
    with pytest.raises(InputError, match=rf"{name}: .*nested more than {MOST_DEPTH} deep; flatten it"):
        read_mapping(path)


def test_json_deeper_than_python_can_follow_is_refused_too(tmp_path):
    path = tmp_path / "c.json"
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="nested more than"):
        read_mapping(path)
