"""Typed reading of a mapping from somebody else's JSON: every field is what it has to be, or refused by name.

Null means absent, as it does to Hugging Face. A reader of an absent field returns None or the default it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sim.errors import InputError, did_you_mean
from sim.specs.base import MOST_UNITS
from sim.specs.validation import written


@dataclass(frozen=True)
class Fields:
    """A mapping in the file `source`; `place` is what stands before its keys (`quantization_config.`).

    Where a reader is given several names, the first present one counts: they are names of one thing.
    """

    content: dict[str, Any]
    source: str
    place: str = ""

    def has(self, field: str) -> bool:
        """Whether the field is present and not null."""
        return self.content.get(field) is not None

    def whole(self, *names: str, low: int = 1, high: int = MOST_UNITS) -> int | None:
        """A whole number from `low` to `high`."""
        field = self._present(names)
        if field is None:
            return None
        if not _is_whole(self.content[field], low, high):
            raise self.refusal(field, f"must be {_range(low, high)}")
        return int(self.content[field])

    def required(self, *names: str, high: int = MOST_UNITS) -> int:
        """A whole number from 1 to `high` that the model cannot be described without."""
        value = self.whole(*names, high=high)
        if value is None:
            raise self.refusal(names[0], f"must be {_range(1, high)}", "complete")
        return value

    def flag(self, field: str, default: bool = False) -> bool:
        """True or false."""
        value = self._typed(field, bool, "true or false")
        return default if value is None else bool(value)

    def text(self, field: str) -> str | None:
        """A word."""
        value: str | None = self._typed(field, str, "text")
        return value

    def one_of(self, field: str, names: Collection[str]) -> str:
        """One of these words."""
        value = self.text(field)
        if value is None or value not in names:
            place, known = f"{self.place}{field}", did_you_mean(str(value), names)
            raise InputError(f"{self.source}: {place} {written(value)} is not known; {known}")
        return value

    def section(self, field: str) -> Fields | None:
        """A mapping within this one."""
        value = self._typed(field, dict, "a mapping of names to values")
        return None if value is None else Fields(value, self.source, f"{self.place}{field}.")

    def sections(self) -> Iterator[Fields]:
        """Every value of this mapping, each a mapping itself."""
        return (inner for inner in map(self.section, self.content) if inner is not None)

    def words(self, *names: str) -> list[str]:
        """A list of text; empty where absent."""
        return self._items(names, lambda item: isinstance(item, str), "a list of names")

    def wholes(self, *names: str, low: int, high: int) -> list[int]:
        """A list of whole numbers; empty where absent."""
        return self._items(names, lambda item: _is_whole(item, low, high), f"a list, each {_range(low, high)}")

    def refusal(self, field: str, requirement: str, remedy: str = "correct") -> InputError:
        """What is wrong with a field; `remedy` is what to do with the file."""
        value = written(self.content.get(field))
        return InputError(f"{self.source}: {self.place}{field} is {value}, {requirement}; {remedy} the file")

    def _present(self, names: tuple[str, ...]) -> str | None:
        return next((field for field in names if self.has(field)), None)

    def _typed(self, field: str, kind: type, description: str) -> Any:
        value = self.content.get(field)
        if value is not None and not isinstance(value, kind):
            raise self.refusal(field, f"must be {description}")
        return value

    def _items(self, names: tuple[str, ...], is_item: Callable[[Any], bool], description: str) -> list[Any]:
        field = self._present(names)
        if field is None:
            return []
        value = self.content[field]
        if not isinstance(value, list) or not all(map(is_item, value)):
            raise self.refusal(field, f"must be {description}")
        return value


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _range(low: int, high: int) -> str:
    return f"a whole number from {low} to {high:,}"
