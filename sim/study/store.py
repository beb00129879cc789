"""The result folder of a run: tables, summary, resolved config, manifest.

The manifest is written last: with it a folder is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.specs.yaml_file import dump_yaml
from sim.study.run import RunResult
from sim.version import __version__

PACKAGES = ("simpy", "numpy", "scipy", "pandas", "pydantic", "pyarrow")


@contextmanager
def result_folder(folder: Path) -> Iterator[None]:
    """Create `folder`, prove that it can be written, and keep other runs out of it until the end.

    Meant to be entered before any time is spent on simulating. A folder left empty by an error is removed.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".probe").touch()
        (folder / ".probe").unlink()
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)
        if not any(folder.iterdir()):
            folder.rmdir()


def _lock(handle: int, folder: Path) -> None:
    """The system releases the lock with the handle, even if the process is killed."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{folder}: another run is writing here; wait for it or give --out another place") from None


@contextmanager
def writing(path: Path, option: str = "--out") -> Iterator[None]:
    """Turns the operating system's refusal to write below `path` into a message with a remedy."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written ({reason}); free space or give {option} another place") from None


def save(result: RunResult, folder: Path) -> None:
    """Write everything of `result` but the pictures."""
    with writing(folder):
        (folder / "manifest.json").unlink(missing_ok=True)
        result.requests.to_parquet(folder / "requests.parquet", index=False)
        result.iterations.to_parquet(folder / "iterations.parquet", index=False)
        (folder / "config.resolved.yaml").write_text(dump_yaml(result.experiment.resolved()), encoding="utf-8")
        (folder / "summary.json").write_text(to_json(result.summary) + "\n", encoding="utf-8")
        (folder / "manifest.json").write_text(to_json(_manifest(result)) + "\n", encoding="utf-8")


def finished_summary(folder: Path, experiment: Experiment) -> dict[str, Any] | None:
    """The summary in `folder` if it holds a whole, uninterrupted run of exactly this experiment by this version."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        same = manifest["config_hash"] == config_hash(experiment) and manifest["version"] == __version__
        if not same or manifest["interrupted"]:
            return None
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return summary


def config_hash(experiment: Experiment) -> str:
    """A short name for everything the run depends on, trace contents included."""
    digest = hashlib.sha256(json.dumps(experiment.resolved(), sort_keys=True).encode())
    for trace_hash in input_hashes(experiment).values():
        digest.update(trace_hash.encode())
    return digest.hexdigest()[:12]


def input_hashes(experiment: Experiment) -> dict[str, str]:
    """SHA-256 of every file the run reads besides its config."""
    trace = experiment.workload.trace
    return {} if trace is None else {trace.path: hashlib.sha256(Path(trace.path).read_bytes()).hexdigest()}


def to_json(value: Any) -> str:
    """Readable JSON; NaN and infinities never get this far."""
    return json.dumps(value, indent=2, allow_nan=False)


def _manifest(result: RunResult) -> dict[str, Any]:
    return {
        "version": __version__,
        "config_hash": config_hash(result.experiment),
        "seed": result.experiment.seed,
        "interrupted": result.summary["sim"]["interrupted"],
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": input_hashes(result.experiment),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }
