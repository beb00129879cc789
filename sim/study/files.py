"""Writing files without losing any: nothing that is read is written over, nothing is left half written."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from sim.errors import InputError


def keep(output: Path, option: str, kept: Iterable[Path], what: str) -> None:
    """Refuse to write to `output`, which `option` named, where that is a file to be `kept`, under whatever name."""
    if any(_same_file(output, path) for path in kept):
        raise InputError(f"{option}: {output} is {what}; give another path")


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
    except (OSError, RuntimeError):  # no usable path, a circle of links: whoever opens it says so
        return False


@contextmanager
def writing(path: Path, option: str = "--out") -> Iterator[None]:
    """Turns the operating system's refusal to write below `path` into a message with a remedy."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written ({reason}); free space or give {option} another place") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path`: what is written there takes the place of `path` at the end, after an error it is removed.

    What is no file, such as /dev/stdout, is written to directly. Raises OSError where `path` cannot be written.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    target = path.resolve()
    if target.exists():
        target.open("ab").close()  # a file that is write-protected stays as it is
    partial = target.with_name(f"partial-{os.getpid()}-{target.name}")
    try:
        yield partial
        if partial.exists():
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C takes effect at the end of the block, not inside it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals never arrive here
        return
    held: list[int] = []

    def hold(number: int, _: FrameType | None) -> None:
        held.append(number)

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)
