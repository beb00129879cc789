"""The result folder of a run: tables, summary, resolved config, manifest.

The manifest is written last: with it a folder is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.specs.yaml_file import dump_yaml
from sim.study.files import interrupts_held, keep, writing
from sim.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from sim.study.run import RunResult

MANIFEST = "manifest.json"
RESOLVED_CONFIG = "config.resolved.yaml"
PICTURES = ("latency.png", "timeline.png", "step_time.png")
REPLICATED_PICTURES = ("warm-up.png", "intervals.png")
FILES = (
    MANIFEST, "summary.json", "requests.parquet", "iterations.parquet", RESOLVED_CONFIG, *PICTURES, *REPLICATED_PICTURES
)  # fmt: skip
"""Everything that a run may write into its folder."""
NUMBERS = re.compile(r"\[\n *([^\s\"{}\[\]]+(?:\n *[^\s\"{}\[\]]+)*)\n *\]")
"""A list of numbers or nulls in indented JSON, in which line breaks are never inside a text."""
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
    handle = _lock(folder)
    try:
        yield
    finally:
        os.close(handle)
        if not any(folder.iterdir()):
            folder.rmdir()


def _lock(folder: Path) -> int:
    """The system releases the lock with the handle that is returned, even if the process is killed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise InputError(f"{folder}: another run is writing here; wait for it or give --out another place") from None
    return handle


def keep_inputs(folder: Path, experiment: Experiment, names: Iterable[str] = FILES) -> None:
    """Refuse a result folder in which a file that the experiment reads bears one of the `names` of results.

    But for the resolved config: whoever runs that again into its own folder means to write it again.
    """
    inputs = [Path(path) for path in experiment.input_files]
    for name in names:
        if name != RESOLVED_CONFIG:
            keep(folder / name, "--out", inputs, "a file that the run reads")


def keep_results(output: Path, option: str, folder: Path, names: Iterable[str] = FILES) -> None:
    """Refuse to write to `output` where that is one of the files `names` of the result in `folder`, or of another."""
    keep(output, option, [folder / name for name in names], "a file of the result itself")
    if (output.parent / MANIFEST).is_file():
        keep(output, option, [output.parent / name for name in FILES], "a file of another result")


def save(result: RunResult, folder: Path) -> bool:
    """Write everything of `result` but the pictures; Ctrl-C waits until the folder is whole.

    A run that was interrupted does not take the place of one that was not: then nothing is written, and False returned.
    """
    if result.summary["sim"]["interrupted"] and finished_summary(folder, result.experiment) is not None:
        return False
    with interrupts_held(), writing(folder):
        (folder / MANIFEST).unlink(missing_ok=True)
        result.requests.to_parquet(folder / "requests.parquet", index=False)
        result.iterations.to_parquet(folder / "iterations.parquet", index=False)
        (folder / RESOLVED_CONFIG).write_text(dump_yaml(result.experiment.resolved()), encoding="utf-8")
        (folder / "summary.json").write_text(to_json(result.summary) + "\n", encoding="utf-8")
        (folder / MANIFEST).write_text(to_json(_manifest(result)) + "\n", encoding="utf-8")
    return True


def finished_summary(folder: Path, experiment: Experiment) -> dict[str, Any] | None:
    """The summary in `folder` if it holds a whole, uninterrupted run of exactly this experiment by this version."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        same = manifest["config_hash"] == config_hash(experiment) and manifest["version"] == __version__
        if not same or manifest["interrupted"]:
            return None
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return summary


def load_summary(folder: Path) -> dict[str, Any]:
    """The summary of the run in `folder`. Raises InputError where there is no whole run by this version."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the result folder of a run")
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder}: holds no whole run (manifest.json is missing); give the folder of one, or run it")
    manifest, summary = (_read_json(folder / name) for name in (MANIFEST, "summary.json"))
    if manifest.get("version") != __version__:
        raise InputError(
            f"{folder}: was written by servesim {manifest.get('version')}, this is {__version__}; run it again: "
            f"servesim run {folder / RESOLVED_CONFIG}"
        )
    return summary


@contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Turns what a reader of the result in `folder` misses there into a message: someone else has changed it."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{folder}: is damaged, or another version wrote it ({reason}); run the experiment again"
        ) from None


def load_requests(folder: Path) -> pd.DataFrame:
    """The requests table of the run in `folder`."""
    import pandas as pd  # slow to import, and most of what needs this module reads no table

    path = folder / "requests.parquet"
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run the experiment again") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run the experiment again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; run the experiment again")
    return content


def config_hash(experiment: Experiment) -> str:
    """A short name for everything the run depends on, contents of the files it reads included."""
    digest = hashlib.sha256(json.dumps(experiment.resolved(), sort_keys=True).encode())
    for file_hash in input_hashes(experiment).values():
        digest.update(file_hash.encode())
    return digest.hexdigest()[:12]


def input_hashes(experiment: Experiment) -> dict[str, str]:
    """SHA-256 of every file the run reads besides its config."""
    return {path: _sha256(path) for path in (*experiment.engine.rule_files, *experiment.workload.input_files)}


def _sha256(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be read ({reason}); check the path and its permissions") from None


def to_json(value: Any) -> str:
    """Readable JSON, lists of numbers on one line; NaN and infinities never get this far."""
    return NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", json.dumps(value, indent=2, allow_nan=False))


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
