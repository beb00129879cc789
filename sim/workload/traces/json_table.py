"""Plain JSON lines with the keys of the plain CSV (table.py); arrivals are seconds >= 0."""

from __future__ import annotations

from pathlib import Path

from sim.workload.traces.json_lines import read_objects
from sim.workload.traces.reader import Reader, Trace
from sim.workload.traces.table import KEYS, from_cells


def read(path: Path) -> Trace:
    """The trace as it stands in the file."""
    return from_cells(read_objects(path, KEYS), path)


READER = Reader(read, KEYS, "jsonl")
