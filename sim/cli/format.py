"""How tables and numbers look in a terminal, for every verb alike."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from sim.errors import printable


def empty_table(title: str, words: Iterable[str], numbers: Iterable[str]) -> Table:
    """Columns of words, then columns of numbers, which stand on the right; title and headings are no markup."""
    table = Table(title=escape(printable(title)), title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for column in words:
        table.add_column(escape(column))
    for column in numbers:
        table.add_column(escape(column), justify="right")
    return table


def number(value: float | None, digits: int = 3) -> str:
    """`digits` significant ones below 1000, whole from there on, and - for what could not be measured."""
    return "-" if value is None else f"{value:,.0f}" if round(value) >= 1000 else f"{value:.{digits}g}"


def seconds(value: float | None) -> str:
    """A latency, to four digits."""
    return number(value, 4)


def percent(value: float | None) -> str:
    """A share."""
    return "-" if value is None else f"{value:.1%}"
