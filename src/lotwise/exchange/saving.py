"""An exchange as plain data and back, exactly.

Laws: what is put back goes on, report by report and digit by digit, as if it had never been away; only
the changes of books that were kept for followers are not put back: these must read the whole book again.
What cannot be data (the fees, recorded paths) is given again.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter

from lotwise.domain.market import Market, MarketStatus, Quote
from lotwise.domain.orders import Fill
from lotwise.domain.values import Side, Time, require
from lotwise.exchange.accounts import ClosedOrder, History, Log, Row
from lotwise.exchange.book_matcher import BookMatcher
from lotwise.exchange.booking import OpenOrder
from lotwise.exchange.candle_matcher import CandleMatcher
from lotwise.exchange.crowd import Crowd, CrowdSettings
from lotwise.exchange.dice import Dice
from lotwise.exchange.events import Event, Key
from lotwise.exchange.floor import Floor
from lotwise.exchange.house import HouseRules
from lotwise.exchange.matching import Matcher
from lotwise.exchange.pairs import Pair
from lotwise.exchange.paths import Path, Walk
from lotwise.exchange.tape import Bar, Print
from lotwise.ledger.postings import Ledger

T = TypeVar("T")

FORMAT = 1
"""Of the data; another number is refused."""


@dataclass(slots=True)
class SavedBook:
    """`queue`: (number, owner, side, price, lots), each side in priority; `times`: of the levels."""

    tick: Decimal
    lot: Decimal
    time: Time
    sequence: int
    crowd_issued: int
    queue: list[tuple[int, Key | None, Side, int, int]]
    times: list[tuple[Side, int, Time]]
    spreads: list[tuple[Time, int, int]]


@dataclass(slots=True)
class SavedWalk:
    price: float
    volatility: float
    dice: int
    time: int
    factors: list[float]


@dataclass(slots=True)
class SavedCrowd:
    """`walk` is None when the path was not made up."""

    settings: CrowdSettings
    dice: int
    due: Time
    numbers: dict[Side, list[int]]
    walk: SavedWalk | None


@dataclass(slots=True)
class SavedPair:
    """With a `book`, or without one with the `quote` last shown."""

    market: Market
    status: MarketStatus
    last: Decimal | None
    quote: Quote | None
    book: SavedBook | None
    crowd: SavedCrowd | None
    printed: int
    trades: list[Print]
    bars: dict[int, list[Bar]]


@dataclass(slots=True)
class SavedLog:
    """The entries that are kept, and the number of the last; events with the name of their kind."""

    number: int
    entries: list[Any]


@dataclass(slots=True)
class SavedHistory:
    events: SavedLog
    closed: SavedLog
    fills: SavedLog
    rows: SavedLog
    days: dict[int, dict[str, Decimal]]
    owned: dict[str, Decimal]


@dataclass(slots=True)
class Saved:
    """The whole exchange; `open` in order of acceptance."""

    slippage: Decimal
    spread: Decimal
    issued: int
    now: Time
    pairs: list[SavedPair]
    open: list[tuple[Key, OpenOrder]]
    ledgers: dict[str, dict[str, Decimal]]
    histories: dict[str, SavedHistory]
    others: dict[str, Decimal]
    rounding: dict[str, Decimal]
    rows_issued: int
    format: int = FORMAT


_EVENTS = {kind.__name__: kind for kind in get_args(Event)}
_CLOSED, _FILLS, _ROWS = list[ClosedOrder], list[tuple[str, Fill]], list[Row]


@cache
def _as(kind: Any) -> TypeAdapter[Any]:
    """Made when an exchange is first saved: a run that saves none starts a twentieth of a second sooner."""
    return TypeAdapter(kind)


def save(floor: Floor, slippage: Decimal, spread: Decimal) -> dict[str, Any]:
    """The exchange as plain data."""
    accounts = floor.accounts
    saved = Saved(
        slippage,
        spread,
        floor.issued,
        floor.now,
        [_save_pair(pair) for pair in floor.pairs.values()],
        list(floor.open.items()),
        {name: dict(ledger.balances) for name, ledger in accounts.ledgers.items()},
        {name: _save_history(history) for name, history in accounts.histories.items()},
        accounts.others,
        accounts.rounding,
        accounts.rows_issued,
    )
    plain: dict[str, Any] = _as(Saved).dump_python(saved, mode="json")
    return plain


def load(
    plain: Mapping[str, Any], house: HouseRules, paths: Mapping[str, Path]
) -> tuple[Floor, Decimal, Decimal]:
    """(floor, slippage, spread) of plain data; `paths` by symbol for crowds whose path was not made up.
    Raises ValueError for data of another make, BadField for a path that is missing."""
    require(plain.get("format") == FORMAT, "format", f"the data is not of format {FORMAT}")
    saved: Saved = _as(Saved).validate_python(plain)
    floor = Floor(house, saved.issued)
    floor.now = saved.now
    for pair in saved.pairs:
        floor.pairs[pair.market.symbol] = _load_pair(pair, saved.slippage, paths)
    for key, waiting in saved.open:
        floor.enter(key, waiting)
        if waiting.sleeps:
            floor.pairs[waiting.order.symbol].triggers.add(waiting.order, waiting.number, key)
    accounts = floor.accounts
    accounts.ledgers = {name: Ledger(balances) for name, balances in saved.ledgers.items()}
    accounts.histories = {
        name: _load_history(history, house.kept) for name, history in saved.histories.items()
    }
    accounts.others, accounts.rounding = saved.others, saved.rounding
    accounts.rows_issued = saved.rows_issued
    return floor, saved.slippage, saved.spread


def _save_pair(pair: Pair) -> SavedPair:
    book = pair.matcher if isinstance(pair.matcher, BookMatcher) else None
    return SavedPair(
        pair.market,
        pair.status,
        pair.last,
        None if book else pair.matcher.quote(),
        _save_book(book) if book else None,
        _save_crowd(pair.crowd) if pair.crowd else None,
        pair.tape.number,
        list(pair.tape.trades),
        {minutes: list(bars) for minutes, bars in pair.tape.bars.items()},
    )


def _load_pair(saved: SavedPair, slippage: Decimal, paths: Mapping[str, Path]) -> Pair:
    matcher: Matcher = CandleMatcher(saved.market, slippage)
    if saved.book is not None:
        matcher = _load_book(saved.book, saved.market)
    elif saved.quote is not None:
        matcher.show(saved.quote)
    pair = Pair(saved.market, matcher)
    pair.status, pair.last = saved.status, saved.last
    if saved.crowd is not None:
        pair.crowd = _load_crowd(saved.crowd, saved.market.symbol, paths)
    pair.tape.number = saved.printed
    pair.tape.trades.extend(saved.trades)
    for minutes, bars in saved.bars.items():
        pair.tape.bars[minutes].extend(bars)
    return pair


def _save_book(matcher: BookMatcher) -> SavedBook:
    book = matcher.book
    return SavedBook(
        matcher.tick,
        matcher.lot,
        book.time,
        book.sequence,
        matcher.crowd_issued,
        [(r.number, r.owner, r.side, r.price, r.lots) for side in Side for r in book.queue(side)],
        [(side, price, time) for side in Side for price, _, time in book.depth(side, book.sequence)],
        list(book.spreads),
    )


def _load_book(saved: SavedBook, market: Market) -> BookMatcher:
    matcher = BookMatcher(market, saved.tick, saved.lot)
    matcher.crowd_issued = saved.crowd_issued
    for number, owner, side, price, lots in saved.queue:
        matcher.book.add(number, owner, side, price, lots)
    matcher.book.put_back(saved.sequence, saved.time, saved.times, deque(saved.spreads))
    return matcher


def _save_crowd(crowd: Crowd) -> SavedCrowd:
    walk = None
    if isinstance(crowd.path, Walk):
        path = crowd.path
        walk = SavedWalk(path.price, path.volatility, path.dice.state, path.time, path.factors)
    return SavedCrowd(crowd.settings, crowd.dice.state, crowd.due, crowd.numbers, walk)


def _load_crowd(saved: SavedCrowd, symbol: str, paths: Mapping[str, Path]) -> Crowd:
    if saved.walk is None:
        require(symbol in paths, "paths", f"{symbol} went along a path that must be given again")
        path = paths[symbol]
    else:
        path = Walk(saved.walk.price, saved.walk.volatility, Dice(saved.walk.dice), saved.walk.time)
        path.factors = saved.walk.factors
    crowd = Crowd(saved.settings, path, Dice(saved.dice), saved.due)
    crowd.numbers = saved.numbers
    return crowd


def _save_history(history: History) -> SavedHistory:
    events = [
        (type(event).__name__, _as(_EVENTS[type(event).__name__]).dump_python(event, mode="json"))
        for event in history.events
    ]
    return SavedHistory(
        SavedLog(history.events.number, events),
        SavedLog(history.closed.number, _as(_CLOSED).dump_python(list(history.closed), mode="json")),
        SavedLog(history.fills.number, _as(_FILLS).dump_python(list(history.fills), mode="json")),
        SavedLog(history.rows.number, _as(_ROWS).dump_python(list(history.rows), mode="json")),
        history.days,
        history.owned,
    )


def _load_history(saved: SavedHistory, kept: int) -> History:
    history = History(kept)
    events = [_as(_EVENTS[kind]).validate_python(event) for kind, event in saved.events.entries]
    _fill_log(history.events, events, saved.events.number)
    _fill_log(history.closed, _as(_CLOSED).validate_python(saved.closed.entries), saved.closed.number)
    _fill_log(history.fills, _as(_FILLS).validate_python(saved.fills.entries), saved.fills.number)
    _fill_log(history.rows, _as(_ROWS).validate_python(saved.rows.entries), saved.rows.number)
    history.days, history.owned = saved.days, saved.owned
    return history


def _fill_log(log: Log[T], entries: list[T], number: int) -> None:
    log.extend(entries)
    log.number = number
