"""Work for other processes that leaves Ctrl-C to the one that asked for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Executor, Future, as_completed
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def submit(
    pool: Executor, work: Callable[Arguments, Answer], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Future[Answer]:
    """As `pool.submit`; a process that is started for it never sees Ctrl-C: it is for its parent to end it."""
    with _interrupts_blocked():
        return pool.submit(work, *args, **kwargs)


def finished(futures: Collection[Future[Answer]]) -> Iterator[Future[Answer]]:
    """Each as soon as it is; when nobody listens any more, those that wait are cancelled."""
    try:
        yield from as_completed(futures)
    finally:
        for future in futures:
            future.cancel()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """For the processes that are started meanwhile; one that comes to this process is heard when they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # which the first process would start, and so let interrupts through again
    heard: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if heard:
            signal.raise_signal(signal.SIGINT)
