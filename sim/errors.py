"""Every error a user can meet, in one tree.

    ServesimError
    ├── InputError    something the user wrote cannot be used        exit code 2
    └── CheckFailed   the program compared two things and they differ exit code 1
        └── AuditError    a run broke one of its own conservation laws

Messages say field, value, what is allowed and the remedy; the command line prints them without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ServesimError(Exception):
    """Base of all errors that are reported as one message, on one line whatever it quotes."""

    exit_code = 2

    def __str__(self) -> str:
        return printable(super().__str__())


class InputError(ServesimError):
    """A config, trace, name or path that cannot be used; the message says what to change."""


class CheckFailed(ServesimError):
    """A check the user asked for, or a run's own audit, found a difference."""

    exit_code = 1


class AuditError(CheckFailed):
    """A run violated one of its own conservation laws: a defect of the program, never of the input."""


def printable(text: str) -> str:
    """`text` on one line: what cannot be shown (control characters, half characters) as an escape such as \\n."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The remedy for an unknown name: the nearest known ones, then the whole list.

    Nearest are up to three that begin alike (`h100`, `llama3`), the shortest first, else the one spelt most alike.
    """
    names = sorted(known)
    begins_alike = [candidate for candidate in names if _bare(name) and _bare(candidate).startswith(_bare(name))]
    near = sorted(begins_alike, key=len)[:3] or difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    choice = " or ".join(", ".join(f"'{candidate}'" for candidate in near).rsplit(", ", 1))
    hint = f"did you mean {choice}? " if near else ""
    return f"{hint}known: {', '.join(names)}"


def _bare(name: str) -> str:
    """Letters and digits alone: `llama3` begins like `llama-3.1-8b`."""
    return "".join(character for character in name.lower() if character.isalnum())
