"""What the JSON-lines readers share: an object a line to cells, and the ids of prompt blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sim.errors import InputError
from sim.workload.traces.reading import OPTIONAL_KEYS, UNREADABLE, first_bad_line, open_text, refuse_where


def read_objects(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """The JSON lines at `path` (plain or .gz) as cells, one row per object, indexed by line.

    Tenants and lists stay what they are, numbers and everything else are text as written in JSON. A key of
    OPTIONAL_KEYS is a column if any object has it; an absent priority is 0. Raises InputError naming the line for what
    is not an object, has a key twice or lacks one that it needs.
    """
    lines, rows = [], []
    try:
        for line, text in _filled_lines(path):
            found = _parse(path, line, text)
            missing = [key for key in required if key not in found]
            if missing:
                raise InputError(
                    f"{path}, line {line}: this object has no key {missing[0]}; "
                    f"found {', '.join(found)}, need {', '.join(required)}"
                )
            lines.append(line)
            rows.append({key: _cell(key, found[key]) for key in (*required, *OPTIONAL_KEYS) if key in found})
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as JSON lines ({error}); give plain or gzipped JSON lines") from None
    optional = [key for key in OPTIONAL_KEYS if any(key in row for row in rows)]
    cells = pd.DataFrame(rows, index=pd.Index(lines, dtype="int64"), columns=[*required, *optional], dtype=object)
    if "priority" in cells:
        cells["priority"] = cells["priority"].fillna("0")
    for key in optional:
        if cells[key].isna().any():
            line = first_bad_line(cells[key].isna())
            raise InputError(f"{path}, line {line}: this object has no key {key}, which others have; give all or none")
    return cells


def block_ids(
    cells: pd.DataFrame, column: str, prompt_tokens: pd.Series[int], block_tokens: int, path: Path
) -> pd.Series[Any]:
    """A column of lists of whole numbers, one a block of `block_tokens` prompt tokens, the last one perhaps partial."""
    ids: pd.Series[Any] = cells[column]
    refuse_where(~ids.map(_are_ids).astype(bool), cells, column, path, "a list of whole numbers")
    needed = -(-prompt_tokens // block_tokens)
    wrong = ids.map(len) != needed
    if wrong.any():
        line = first_bad_line(wrong)
        raise InputError(
            f"{path}, line {line}: {column} holds {len(ids[line])} ids, must be {needed[line]}, one a block of "
            f"{block_tokens} tokens for a prompt of {prompt_tokens[line]}; correct or remove the row"
        )
    return ids


def _filled_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, text) up to the last line that is not blank."""
    blank: list[tuple[int, str]] = []
    with open_text(path) as file:
        for line, text in enumerate(file, start=1):
            if text.strip():
                yield from blank
                blank.clear()
                yield line, text
            else:
                blank.append((line, text))


def _parse(path: Path, line: int, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise InputError(f"{path}, line {line}: is not valid JSON ({reason}); write one object a line") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}, line {line}: is a JSON {type(value).__name__}; write one object a line")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a repeated key would silently lose one of the two values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)} is written twice")
    return found


def _cell(key: str, value: Any) -> Any:
    """A tenant or a list as it is, a number or anything else as JSON text: `true` and `"3"` do not pass for numbers."""
    return value if key == "tenant" or isinstance(value, list) else json.dumps(value)


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and abs(item) < 2**63 for item in value)
