"""Reading the fields of a row that Kraken sent: each is what it should be, or the row is Malformed."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from lotwise.domain.values import Time
from lotwise.kraken.rest import time_from_rfc3339
from lotwise.kraken.stream import Malformed

Word = TypeVar("Word", bound=StrEnum)


def text(row: Mapping[str, Any], name: str) -> str:
    """A field that is a text; Malformed otherwise."""
    value = row.get(name)
    if not isinstance(value, str):
        raise Malformed(f"{name} {value!r} is no text")
    return value


def number(row: Mapping[str, Any], name: str) -> Decimal:
    """A field that is a number; Malformed otherwise."""
    value = row.get(name)
    if isinstance(value, Decimal):
        return value
    return Decimal(whole(row, name))


def whole(row: Mapping[str, Any], name: str) -> int:
    """A field that is a whole number; Malformed otherwise."""
    value = row.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(f"{name} {value!r} is no whole number")
    return value


def moment(row: Mapping[str, Any], name: str) -> Time:
    """A field that is a time; Malformed otherwise."""
    time = time_from_rfc3339(text(row, name))
    if time is None:
        raise Malformed(f"{name} {row[name]!r} is no time")
    return time


def word(row: Mapping[str, Any], name: str, words: type[Word]) -> Word:
    """A field that is one of a set of words; Malformed otherwise."""
    value = text(row, name)
    if value not in set(words):
        raise Malformed(f"{name} {value!r} is none of {' '.join(words)}")
    return words(value)


def rows(row: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A field that is a list of rows; Malformed otherwise."""
    value = row.get(name)
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise Malformed(f"{name} {value!r} is no list of rows")
    return value
