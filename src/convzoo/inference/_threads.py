"""Work done ahead in threads, its results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(
    work: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int
) -> Iterator[R]:
    """What `map` gives, while threads work on the items to come.

    Args:
        work: What is done to an item; it lets go of Python's lock for most of its time.
        items: Any number of them; they are asked for one by one.
        workers: Threads; 0 does the work when its result is asked for.
        ahead: Results, ready or not, that wait at most.

    Yields:
        The results in the order of the items.
    """
    if workers == 0:
        yield from map(work, items)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, "convzoo-images") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def usual_workers() -> int:
    """As many threads as there are processors for this process, 16 at most."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        count = os.cpu_count() or 1
    return min(16, count)
