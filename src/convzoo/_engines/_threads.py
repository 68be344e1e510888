"""Threads that prepare images, and traces, which must not meet them.

A trace by torch.fx, and torch.export as well, changes how every module in the process is called
until it is through. A transform is a module, too: called meanwhile by another thread, it would end
up in the trace.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_turn: Final = threading.Condition()
_calling: Final[dict[int, int]] = {}  # how many `calling_modules` each thread is in
_alone: list[int] = []  # the thread that is tracing, or waits for the others to end


@contextmanager
def calling_modules() -> Iterator[None]:
    """While no other thread traces; many threads may be in here at once."""
    me = threading.get_ident()
    with _turn:
        # Who is in already may go deeper: a trace waits for its end.
        _turn.wait_for(lambda: me in _calling or _alone in ([], [me]))
        _calling[me] = _calling.get(me, 0) + 1
    try:
        yield
    finally:
        with _turn:
            _calling[me] -= 1
            if not _calling[me]:
                del _calling[me]
            _turn.notify_all()


@contextmanager
def tracing() -> Iterator[None]:
    """While no other thread is in `calling_modules`, and none can get there."""
    me = threading.get_ident()
    if _alone == [me]:
        yield
        return
    with _turn:
        # Who waits to trace calls nothing: two that do from within would wait for each other.
        entered = _calling.pop(me, 0)
        _turn.notify_all()
        _turn.wait_for(lambda: not _alone)
        _alone.append(me)
        _turn.wait_for(lambda: not _calling)
    try:
        yield
    finally:
        with _turn:
            _alone.clear()
            if entered:
                _calling[me] = entered
            _turn.notify_all()


def in_threads(
    work: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int
) -> Iterator[R]:
    """What `map` gives, while threads work on the items to come, and no other traces.

    Args:
        work: What is done to an item; it lets go of Python's lock for most of its time.
        items: Any number of them; they are asked for one by one.
        workers: Threads; 0 does the work when its result is asked for.
        ahead: Results, ready or not, that wait at most.

    Yields:
        The results in the order of the items.
    """

    def careful(item: T) -> R:
        with calling_modules():
            return work(item)

    # Called from such a thread it works there: others would wait for a trace, which waits for it.
    me = threading.get_ident()
    if workers == 0 or me in _calling or me in _alone:
        yield from map(careful, items)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, "convzoo-images") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(careful, item))
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
