"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def measured_data() -> Path:
    """The folder with other people's traces and runs: $SERVESIM_DATA, else ../shared/data; skips where absent."""
    folder = Path(os.environ.get("SERVESIM_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no measured data at {folder}; set SERVESIM_DATA to run this test")
    return folder
