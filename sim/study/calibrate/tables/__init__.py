"""Files with measured operators -> tables in one form, one reader a layout.

A layout is recognised by its columns, which a reader's `READERS` lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from sim.errors import InputError
from sim.study.calibrate.operators import Tables, joined, told
from sim.study.calibrate.tables import layers, operator_tables, plain

TIMES = ("latency_ms", "time_us", "t_skew_us")
TEXTS = (
    *("layer", "regime", "operator", "distribution", "backend", "op_name"),
    *("gemm_dtype", "moe_dtype", "kv_cache_dtype"),
)
"""Columns that hold no numbers."""

_Reader = Callable[[pd.DataFrame, Path], Tables]
READERS: dict[tuple[str, ...], _Reader] = {**layers.READERS, **operator_tables.READERS, **plain.READERS}


def read_tables(paths: Sequence[Path]) -> Tables:
    """What all the files hold. Raises InputError where one cannot be read."""
    return joined([_read(path) for path in paths])


def _read(path: Path) -> Tables:
    table = _opened(path)
    for columns, reader in READERS.items():
        if set(columns) <= set(table.columns):
            return reader(_with_numbers(table, columns, path), path)
    raise InputError(
        f"--ops: {path}: has the columns {', '.join(map(str, table.columns[:12]))}, which is no known layout; it must "
        f"have {'; or '.join(', '.join(columns) for columns in READERS)}; docs/calibrate.md describes a plain table"
    )


def _opened(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"--ops: {path}: no such file; give measured operators, as .csv, .csv.gz or .parquet")
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except OSError:
        raise
    except Exception as error:  # pandas and pyarrow have dozens of kinds
        reason = str(error).partition("\n")[0]
        raise InputError(f"--ops: {path}: is no table ({reason}); give .csv, .csv.gz or .parquet") from None


def _with_numbers(table: pd.DataFrame, columns: Sequence[str], path: Path) -> pd.DataFrame:
    """The table, what is no text of its `columns` as numbers. Raises InputError where one is none."""
    found = {name: pd.to_numeric(table[name], errors="coerce") for name in columns if name not in TEXTS}
    for name, numbers in found.items():
        wrong = ~(numbers > 0 if name in TIMES else numbers >= 0) | numbers.isin([float("inf")])
        if wrong.any():
            first = int(wrong.to_numpy().argmax())
            raise InputError(
                f"--ops: {path}: {name}: got {told(table[name].iloc[first])} in row {first + 1}, must be a "
                f"{'positive number' if name in TIMES else 'number, zero or more'}; remove the row"
            )
    return table.assign(**found)
