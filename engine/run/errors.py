"""The errors of a run, each with what is wrong, where, and a hint for the person who can correct it.

LtddError
|- SettingsError     a preset, an override or a form: every fault at once      (exit code 2)
|- InputError        a folder, a file or a name that does not fit              (exit code 2)
|- RunFailed         the run itself went wrong: a loss that is not finite, no memory  (exit code 1)
`- Stopped           somebody asked the run to stop; it can be resumed         (exit code 130)
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 130
"""Exit codes of the worker and of `ltdd-tui`; 130 is what a shell reports after Ctrl-C, and 143 after SIGTERM."""

FAULTS_SHOWN, NAMES_SHOWN, FILES_SHOWN = 20, 8, 3
"""Faults that an error tells, names that a sentence gives, and whole paths, before the others are only counted."""
NO_FOLDER = ("there is no such folder", "this is a file, and no folder")
"""What is wrong with the path of a folder: where nothing is there, and where something is."""


def listed(names: Sequence[str], most: int = NAMES_SHOWN, separator: str = ", ") -> str:
    """The first `most` of the names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def short_number(value: float) -> str:
    """With two decimals, or as 2.7e+30 where it is large."""
    return f"{value:.2f}" if abs(value) < 1e6 else f"{value:.1e}"


CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What moves the cursor, recolors the terminal, breaks a line or turns its direction: a file's name may hold it."""


def escaped(text: str) -> str:
    """The text with control characters as Python writes them in quotes, such as \\x1b and \\n."""
    return text if text.isprintable() else CONTROL_CHARACTER.sub(lambda found: repr(found[0])[1:-1], text)


def escaped_lines(text: str) -> str:
    """As `escaped`, but for line ends: those of a text of several lines are meant."""
    return "\n".join(map(escaped, text.split("\n")))


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: `what`, `where` (file, line and key), and a `hint` how to correct it."""

    what: str
    where: str = ""
    hint: str = ""

    @property
    def note(self) -> str:
        """In a line, where it is told beside what goes on."""
        return f"{self.where}: {self.what}; {self.hint}"

    def __str__(self) -> str:
        head = escaped(f"error: {self.where}: {self.what}" if self.where else f"error: {self.what}")
        return f"{head}\nhint: {escaped(self.hint)}" if self.hint else head


class LtddError(Exception):
    """The base of errors that are shown without a traceback; of its many faults, the first FAULTS_SHOWN are kept."""

    exit_code = FAILED

    def __init__(self, what: str | list[Fault], where: str = "", hint: str = "") -> None:
        faults = [Fault(what, where, hint)] if isinstance(what, str) else what
        # One more than shown is let through: a capped list, raised again, stays as it is.
        more = len(faults) - FAULTS_SHOWN if len(faults) > FAULTS_SHOWN + 1 else 0
        self.faults = [*faults[:FAULTS_SHOWN], Fault(f"{more:,} more like these")] if more else list(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class SettingsError(LtddError):
    """Settings are refused, with all their faults."""

    exit_code = BAD_INPUT


class InputError(LtddError):
    """A folder, a file or a name that cannot be used as given."""

    exit_code = BAD_INPUT


class RunFailed(LtddError):
    """The run failed: it ends before a wrong number is written."""


class Diverged(RunFailed):
    """Matching left the finite numbers: the run fails, or goes back to a set that was checked before.

    of_loss: it is the loss of the set before the step, which is the same with any rates.
    """

    def __init__(self, what: str, where: str = "", hint: str = "", of_loss: bool = False) -> None:
        super().__init__(what, where, hint)
        self.of_loss = of_loss


class Stopped(LtddError):
    """The run was asked to stop and did so at a safe point; `resume` continues from there."""

    exit_code = STOPPED


ONE_REQUEST_SECONDS = 0.2


class StopSignals:
    """The requests to stop that came as signals: a first one asks for a safe point, a second one for an end at once.

    `timeout` sends SIGTERM to its child and to the child's process group: those two are one request.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._last = float("-inf")

    def take(self, number: int) -> None:
        """To be called by the handler of the signal `number`."""
        if number != signal.SIGTERM or time.monotonic() - self._last > ONE_REQUEST_SECONDS:
            self.numbers.append(number)
        self._last = time.monotonic()


LONGEST_QUOTED = 80


def shortened(text: str) -> str:
    """The text as messages quote it: no more than its begin."""
    return text if len(text) <= LONGEST_QUOTED else f"{text[:LONGEST_QUOTED]}..."
