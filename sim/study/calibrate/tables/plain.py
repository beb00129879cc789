"""The plain table, one CSV file for all operators: what `servesim calibrate --measure` writes and people can write.

A column `operator` names one of them, `time_us` is what a call took, and each operator has columns of its own, empty
in the rows of others.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from sim.errors import InputError, did_you_mean
from sim.study.calibrate.operators import COLUMNS, DTYPES, TEXTS, Tables, told

OPERATOR, TIME = "operator", "time_us"
ZERO_WHERE_EMPTY = ("cached_tokens", "decodes", "decode_keys", "longest_decode")
ONE_WHERE_EMPTY = ("ranks",)
ALL_COLUMNS = list(dict.fromkeys(name for columns in COLUMNS.values() for name in columns))


def read_plain(table: pd.DataFrame, path: Path) -> Tables:
    """Every operator's own columns of its own rows."""
    unknown = [str(name) for name in table.columns if name not in (OPERATOR, TIME, *ALL_COLUMNS)]
    if unknown:
        raise InputError(f"--ops: {path}: unknown column '{unknown[0]}'; {did_you_mean(unknown[0], ALL_COLUMNS)}")
    blank = table[OPERATOR].isna()
    if blank.any():
        row = int(blank.to_numpy().argmax()) + 1
        raise InputError(f"--ops: {path}: operator: is missing in row {row}; fill it in, or remove the row")
    tables: Tables = {}
    for name, rows in table.groupby(OPERATOR, sort=False):
        if name not in COLUMNS:
            raise InputError(f"--ops: {path}: operator: unknown '{name}'; {did_you_mean(str(name), COLUMNS)}")
        columns = {column: _column(rows, column, path) for column in COLUMNS[str(name)]}
        tables[str(name)] = pd.DataFrame(columns | {"seconds": rows[TIME] * 1e-6})
    return tables


def write_plain(tables: Tables) -> pd.DataFrame:
    """The plain table of measured operators, as `read_plain` reads it."""
    parts = [
        table.drop(columns="seconds").assign(time_us=table["seconds"] * 1e6, operator=name)
        for name, table in tables.items()
    ]
    whole = pd.concat(parts, ignore_index=True)
    return whole[[OPERATOR, *(name for name in ALL_COLUMNS if name in whole.columns), TIME]]


def _column(rows: pd.DataFrame, name: str, path: Path) -> pd.Series:
    operator = str(rows[OPERATOR].iloc[0])
    column = rows[name] if name in rows.columns else pd.Series(pd.NA, index=rows.index)
    if name in TEXTS:
        return _text(column, name, path)
    numbers = pd.to_numeric(column, errors="coerce")
    if name in ZERO_WHERE_EMPTY + ONE_WHERE_EMPTY:
        numbers = numbers.where(column.notna(), 1.0 if name in ONE_WHERE_EMPTY else 0.0)
    lowest = 0.0 if name in ZERO_WHERE_EMPTY else 1e-9
    wrong = ~(numbers >= lowest) | numbers.isin([float("inf")])
    if wrong.any():
        at = int(wrong.to_numpy().argmax())
        row, value = int(str(rows.index[at])), column.iloc[at]
        found = "is missing" if pd.isna(value) else f"got {told(value)}"
        raise InputError(
            f"--ops: {path}: {name} of {operator}: {found} in row {row + 1}, must be "
            f"{'zero or more' if lowest == 0 else 'a positive number'}; fill it in, or remove the row"
        )
    return numbers.astype(float)


def _text(column: pd.Series, name: str, path: Path) -> pd.Series:
    if name == "distribution":
        return column.fillna("random").astype(str)
    unknown = set(column.astype(str)) - set(DTYPES)
    if unknown:
        raise InputError(f"--ops: {path}: dtype: unknown '{min(unknown)}'; known: {', '.join(DTYPES)}")
    return column.astype(str)


READERS: dict[tuple[str, ...], Callable[[pd.DataFrame, Path], Tables]] = {(OPERATOR, TIME): read_plain}
