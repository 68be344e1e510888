"""From an exception to one clear line and an exit status."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from contextlib import suppress

import click

from convzoo.cli._console import complain, let_go_of_stdout

SOME_FAILED = 1
FAILED = 2
INTERRUPTED = 130


class Stop(Exception):  # noqa: N818 # the work ended early, but as it should
    """Ends a command that has said all there is to say.

    Args:
        status: The exit status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status: int = status


def status_of(command: Callable[[], object]) -> int:
    """Run a command: 0 if it worked, 2 after an error told in one line, 130 after Ctrl-C.

    What nobody foresaw still shows its traceback: it is a bug, and needs one.
    """
    # Every error of convzoo's own derives from this; without torch nothing raised one.
    try:
        command()
    except Stop as stop:
        return stop.status
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        complain("Interrupted.")
        return INTERRUPTED
    except OSError as error:
        if not isinstance(error, _own_errors()):
            try:
                if sys.stdout is not None:
                    sys.stdout.flush()
            except OSError:
                let_go_of_stdout()
            if error.errno != errno.EPIPE:  # else whoever read our output has gone
                complain(f"Error: {_of_the_system(error)}")
            return FAILED
        complain(f"Error: {error}")
        return FAILED
    except Exception as error:
        if not isinstance(error, _own_errors()):
            raise
        complain(f"Error: {_first_hand(str(error))}")
        return FAILED
    return 0


def _own_errors() -> tuple[type[Exception], ...]:
    module = sys.modules.get("convzoo.errors")
    return () if module is None else (module.ConvzooError,)


def _of_the_system(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}the disk is full"
    return f"{where}{error.strerror or error}"


def _first_hand(message: str) -> str:
    """The message itself where a DataLoader's worker passed on the whole traceback."""
    if "No space left on device" in message:  # what safetensors says for ENOSPC
        return f"the disk is full: {message}"
    if not message.startswith("Caught ") or "Traceback" not in message:
        return message
    last = message.strip().splitlines()[-1]
    return last.partition(": ")[2] or last
