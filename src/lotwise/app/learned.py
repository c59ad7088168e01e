"""The file in which learned minimums travel: `kraken_learned_minimums.json`.

{"SOL/USDT": {"volume": "0.02", "cost": "2.5"}}: the least quantity in base, the least cost in quote;
either may be absent. What is absurd is refused, never used.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from lotwise.app.terminal import Problem
from lotwise.domain.values import NotExact, Time, exact, plain
from lotwise.markets import Evidence, Markets, UnknownMarket

DEFAULT_FILE = Path("kraken_learned_minimums.json")
ABSURD = 1_000
"""A learned minimum so many times the listed one is a mistake, not a lesson."""

FIELDS = ("volume", "cost")
SHAPE = '{"SOL/USDT": {"volume": "0.02", "cost": "2.5"}}'


def exported(evidence: Mapping[str, Evidence]) -> dict[str, dict[str, str]]:
    """The content of the file, by pair."""
    content = {}
    for symbol, known in sorted(evidence.items()):
        numbers = {"volume": known.min_quantity, "cost": known.min_notional}
        content[symbol] = {name: plain(number) for name, number in numbers.items() if number is not None}
    return content


def imported(path: Path, markets: Markets, now: Time) -> dict[str, Evidence]:
    """The evidence of a file, as if learned now; Problem names the file, the pair and the field."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal, parse_constant=str)
    except OSError as trouble:
        raise Problem(f"{path}: {trouble.strerror}") from None
    except ValueError as bad:
        raise Problem(f"{path}: is no JSON: {bad}") from None
    if not isinstance(content, dict):
        raise Problem(f'{path}: must hold {{"SOL/USDT": {{"volume": "0.02", "cost": "2.5"}}}}')
    return {
        symbol: _evidence(f"{path}: {symbol}", symbol, told, (markets, now))
        for symbol, told in content.items()
    }


def _evidence(where: str, symbol: str, told: object, at: tuple[Markets, Time]) -> Evidence:
    markets, now = at
    if not isinstance(told, dict) or not told or set(told) - set(FIELDS):
        raise Problem(f"{where}: must hold volume, cost or both, as in {SHAPE}")
    listings = markets.history.get(symbol)
    if not listings:
        unknown = markets.listing(symbol, markets.schedules[-1].effective)
        remedy = unknown.remedy if isinstance(unknown, UnknownMarket) else ""
        raise Problem(f"{where}: no such pair is known; {remedy}")
    listed = {"volume": listings[-1].min_quantity, "cost": listings[-1].min_notional}
    numbers = {name: _number(f"{where}: {name}", told[name], listed[name]) for name in FIELDS if name in told}
    return Evidence(numbers.get("volume"), numbers.get("cost"), contradicts=False, time=now)


def _number(where: str, told: object, listed: Decimal) -> Decimal:
    try:
        number = exact(told)  # type: ignore[arg-type]  # it refuses whatever is no number
    except NotExact as bad:
        raise Problem(f"{where}: {bad}") from None
    if not 0 < number <= listed * ABSURD:
        most = plain(listed * ABSURD)
        raise Problem(
            f"{where}: {plain(number)} is absurd; the listed minimum is {plain(listed)}, so up to {most}"
        )
    return number
