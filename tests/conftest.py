"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings
from oracles import table

REPOSITORY = Path(__file__).parents[1]

settings.register_profile("the same examples every time", deadline=None, derandomize=True)
settings.load_profile("the same examples every time")


@pytest.fixture(scope="session")
def measured_data() -> Path:
    """The folder with other people's traces and runs: $SERVESIM_DATA, else ../shared/data; skips where absent."""
    folder = Path(os.environ.get("SERVESIM_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no measured data at {folder}; set SERVESIM_DATA to run this test")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--oracle-table", metavar="FILE.md", help="write what the queueing tests found as a table")


def _oracle_table(config: pytest.Config) -> Path | None:
    path = config.getoption("--oracle-table")
    return None if path is None else Path(path)


def pytest_configure(config: pytest.Config) -> None:
    path = _oracle_table(config)
    if path is not None:
        table.keep_in(path.with_suffix(".jsonl"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = _oracle_table(session.config)
    if path is not None and not hasattr(session.config, "workerinput"):  # the whole, and not one of its processes
        path.write_text(table.write([path.with_suffix(".jsonl")]), encoding="utf-8")
