"""What the CSV readers share: opening a file, checking columns, turning text into numbers, naming the bad line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sim.errors import InputError

HEADER_LINES = 1


def read_columns(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """The CSV at `path` (plain or .gz) as text cells; missing `required` columns are refused with what is there."""
    try:
        cells = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False, index_col=False)
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: is empty; give a CSV with columns {', '.join(required)}") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as CSV ({str(error).strip()}); give a plain or gzipped CSV") from None
    missing = [column for column in required if column not in cells.columns]
    if missing:
        raise InputError(
            f"{path}, line 1: no column {missing[0]}; found {', '.join(cells.columns)}, need {', '.join(required)}"
        )
    return cells.loc[: _last_filled_row(cells)]


def whole_numbers(cells: pd.DataFrame, column: str, path: Path) -> pd.Series[int]:
    """A column of whole numbers; anything else is refused with its line."""
    values = numbers(cells, column, path)
    bad = values.mod(1) != 0
    if bad.any():
        _refuse(cells, column, bad, path, "a whole number")
    return values.astype(np.int64)


def numbers(cells: pd.DataFrame, column: str, path: Path) -> pd.Series[float]:
    """A column of finite numbers; anything else is refused with its line."""
    values = pd.to_numeric(cells[column], errors="coerce").astype(float)
    bad = ~values.abs().lt(np.inf)
    if bad.any():
        _refuse(cells, column, bad, path, "a number")
    return values


def first_bad_line(bad: pd.Series[bool]) -> int:
    """The file line of the first row marked bad, counting the header."""
    return int(np.argmax(bad.to_numpy())) + 1 + HEADER_LINES


def _refuse(cells: pd.DataFrame, column: str, bad: pd.Series[bool], path: Path, needed: str) -> None:
    line = first_bad_line(bad)
    value = cells[column].iloc[line - 1 - HEADER_LINES]
    raise InputError(f"{path}, line {line}: {column} is '{value}', must be {needed}; correct or remove the row")


def _last_filled_row(cells: pd.DataFrame) -> int:
    """Blank lines at the end of a file are not rows; blank lines inside it are malformed ones."""
    filled = np.flatnonzero((cells != "").any(axis=1).to_numpy())
    return int(filled[-1]) if len(filled) else -1
