"""Fixtures of the tests of several verbs."""

from __future__ import annotations

import pytest
from cli_helpers import InThisProcess, Output, servesim_here, write_config
from small_runs import CONSTANT


@pytest.fixture
def in_this_process(tmp_path, monkeypatch, capsys):
    """The command in this process, in a folder of its own; pictures are composed but not painted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sim.plots.save", lambda figure, path: path.touch())
    monkeypatch.setattr("sim.cli.workers.ProcessPoolExecutor", InThisProcess)
    return lambda *words: servesim_here(capsys, monkeypatch, *words)


@pytest.fixture
def sweep(tmp_path, in_this_process):
    """Sweeps a small config in this process; `changes` go into its file, `words` on the command line."""

    def command(*words: object, changes: dict | None = None) -> Output:
        write_config(tmp_path, CONSTANT, {"workload.num_requests": 30}, changes or {})
        return in_this_process("sweep", "small.yaml", "--out", "out", *words)

    return command


@pytest.fixture
def drawn(sweep, monkeypatch):
    """The figure of a sweep with these words on the command line."""

    def draw(*words: object, changes: dict | None = None):
        figures = []
        monkeypatch.setattr("sim.plots.save", lambda figure, path: figures.append(figure))
        done = sweep(*words, changes=changes)
        assert done.code == 0, done.err
        return figures[0]

    return draw
