"""What the CSV readers share: opening a file, checking columns, turning text into numbers, naming the bad line."""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from sim.errors import InputError

HEADER_LINES = 1
LARGEST_EXACT = 2**53


def read_columns(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """The CSV at `path` (plain or .gz) as text cells; missing `required` columns are refused with what is there."""
    try:
        cells = _read_cells(path)
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: is empty; give a CSV with columns {', '.join(required)}") from None
    except pd.errors.ParserWarning:
        raise InputError(f"{path}, line 2: has more cells than the header has columns; correct the line") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({str(error).strip()}); give a plain or gzipped CSV") from None
    missing = [column for column in required if column not in cells.columns]
    if missing:
        found, needed = ", ".join(cells.columns), ", ".join(required)
        raise InputError(f"{path}, line 1: this CSV has no column {missing[0]}; found {found}, need {needed}")
    return cells.loc[: _last_filled_row(cells)]


def token_counts(cells: pd.DataFrame, column: str, path: Path) -> pd.Series[int]:
    """A column of whole numbers >= 1; anything else is refused with its line."""
    values = whole_numbers(cells, column, path)
    bad = values < 1
    if bad.any():
        _refuse(cells, column, bad, path, ">= 1")
    return values


def whole_numbers(cells: pd.DataFrame, column: str, path: Path) -> pd.Series[int]:
    """A column of whole numbers; anything else is refused with its line."""
    values = numbers(cells, column, path)
    bad = (values.mod(1) != 0) | (values.abs() > LARGEST_EXACT)
    if bad.any():
        _refuse(cells, column, bad, path, "a whole number below 2^53")
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


def _read_cells(path: Path) -> pd.DataFrame:
    """Every cell as text; a first row longer than the header, which pandas would cut, raises ParserWarning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path,
            compression="gzip" if path.suffix == ".gz" else None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            index_col=False,
        )


def _refuse(cells: pd.DataFrame, column: str, bad: pd.Series[bool], path: Path, needed: str) -> None:
    line = first_bad_line(bad)
    value = cells[column].iloc[line - 1 - HEADER_LINES]
    raise InputError(f"{path}, line {line}: {column} is '{value}', must be {needed}; correct or remove the row")


def _last_filled_row(cells: pd.DataFrame) -> int:
    """Blank lines at the end of a file are not rows; blank lines inside it are malformed ones."""
    filled = np.flatnonzero((cells != "").any(axis=1).to_numpy())
    return int(filled[-1]) if len(filled) else -1
