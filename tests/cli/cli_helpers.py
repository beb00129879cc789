"""Running the command: in a process of its own, or quickly in this one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from small_runs import config

from sim.cli.main import main
from sim.specs.yaml_file import dump_yaml

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "sim"]


class Output(NamedTuple):
    code: int
    out: str
    err: str


class InThisProcess(Executor):
    """Runs what is submitted at once, here: starting processes takes seconds."""

    def __init__(self, *_, **__):
        pass

    def submit(self, function, /, *arguments, **named):
        future = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


def write_config(folder: Path, *changes: dict[str, Any]) -> Path:
    path = folder / "small.yaml"
    path.write_text(dump_yaml(config(*changes)), encoding="utf-8")
    return path


def servesim(folder: Path, *words: object, **environment: str) -> Output:
    """The command in a process of its own, started in `folder`."""
    with start(folder, *words, **environment) as process:
        out, err = process.communicate(timeout=60)
    return Output(process.returncode, out, err)


def start(folder: Path, *words: object, **environment: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, under way."""
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def servesim_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> Output:
    """The command in this process."""
    monkeypatch.setattr(sys, "argv", ["servesim", *map(str, words)])
    capsys.readouterr()
    code = 0
    try:
        main()
    except SystemExit as left:
        code = int(left.code or 0)
    return Output(code, *capsys.readouterr())


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
