"""A journal's rows as people ask for them. Reads rows as plain JSON; decides nothing."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lotwise.store.journal import Row


@dataclass(slots=True)
class Why:
    """A pair's decisions in a journal: the one asked for, and how often each answer was given."""

    symbol: str
    decision: dict[str, Any] | None = None
    sized: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    first: int | None = None
    last: int | None = None
    repeated: int = 0
    """How often the decision asked for came again, all the same, before another one."""


def why(rows: Iterable[Row], symbol: str, at: int | None = None) -> Why:
    """The last decision on a pair (at or before a time in milliseconds), and counts over all rows."""
    found = Why(symbol)
    for row in rows:
        if row.kind not in ("Decided", "Repeated"):
            continue
        decision = json.loads(row.body)
        found.pairs[decision["symbol"]] += 1
        if decision["symbol"] != symbol:
            continue
        if row.kind == "Repeated":
            found.reasons[decision["reason"]] += decision["count"]
            found.last = decision["last"]
            if at is None or decision["last"] <= at:
                found.repeated += decision["count"]
            continue
        found.first = decision["time"] if found.first is None else found.first
        found.last = decision["time"]
        if decision["reason"] is None:
            found.sized += 1
        else:
            found.reasons[decision["reason"]] += 1
        if at is None or decision["time"] <= at:
            found.decision, found.repeated = decision, 0
    return found
