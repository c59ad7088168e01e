"""What really happened on an account: the exchange's own history, read as it grows.

Orders with a name that begins with `HAND` are a person's; every other named order is the run's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from lotwise.domain.orders import Accepted, Canceled, Expired, Fill, Rejected
from lotwise.domain.values import EXACT, Side, Time
from lotwise.exchange.accounts import RowKind
from lotwise.exchange.booking import OpenOrder
from lotwise.sandbox.core import Core

HAND = "hand"
ACCOUNT = "account"
ZERO = Decimal(0)


@dataclass(slots=True)
class Taken:
    """One order that the exchange took: its own name for it, as it set money aside for it, when, its trades
    under Kraken's ids, and how it ended (not yet: None)."""

    name: str
    placed: OpenOrder
    venue_id: str
    accepted: Time
    fills: dict[str, Fill] = field(default_factory=dict)
    ended: str | None = None
    ended_at: Time | None = None
    why: str = ""

    @property
    def symbol(self) -> str:
        """Its pair."""
        return self.placed.order.symbol

    @property
    def filled(self) -> Decimal:
        """The quantity that traded."""
        return sum((fill.quantity for fill in self.fills.values()), ZERO)


class Truth:
    """`ours`: by our name for it every order that the exchange took under that name; `hand`: a person's
    orders; `moved`: what all trades of ours did to each asset; `traded_at`: when the last event came."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.ours: dict[str, list[Taken]] = {}
        self.hand: dict[str, Taken] = {}
        self.moved: dict[str, Decimal] = {}
        self.refused: list[Rejected] = []
        self.last_event = Time(0)
        self._by_name: dict[str, tuple[str, Taken]] = {}
        self._number = 0

    def read(self) -> bool:
        """Take in what the exchange's history has beyond what was read; whether there was any."""
        events = self.core.exchange.history(ACCOUNT).events.since(self._number)
        assert events is not None, "the history is shorter than a scenario"
        for self._number, event in events:
            self.last_event = event.time
            match event:
                case Accepted():
                    self._taken(event)
                case Fill():
                    self._filled(event)
                case Canceled() | Expired():
                    _, taken = self._by_name[event.client_id]
                    taken.ended, taken.ended_at = type(event).__name__.lower(), event.time
                    taken.why = event.why if isinstance(event, Canceled) else ""
                case Rejected():
                    self.refused.append(event)
        return bool(events)

    def open_orders(self) -> Iterator[tuple[str, OpenOrder]]:
        """The orders of ours that wait, with our names."""
        for waiting in self.core.exchange.open_orders(ACCOUNT):
            name, _ = self._by_name.get(waiting.order.client_id, (HAND, None))
            if not name.startswith(HAND):
                yield name, waiting

    def total(self, asset: str) -> Decimal:
        """What the account has of an asset."""
        return self.core.exchange.ledger(ACCOUNT).total(asset).number

    def flows(self) -> dict[str, Decimal]:
        """What came to the account and left it, other than by trades."""
        sums: dict[str, Decimal] = {}
        for row in self.core.exchange.history(ACCOUNT).rows:
            if row.kind is not RowKind.TRADE:
                sums[row.asset] = EXACT.add(sums.get(row.asset, ZERO), row.amount)
        return sums

    def _taken(self, event: Accepted) -> None:
        desk = self.core.desk
        name = desk.tag(ACCOUNT, event.client_id).cl_ord_id or HAND
        placed = self._placed(event.client_id)
        taken = Taken(event.client_id, placed, desk.txid(event.venue_id), event.time)
        self._by_name[event.client_id] = name, taken
        if name.startswith(HAND):
            self.hand[event.client_id] = taken
        else:
            self.ours.setdefault(name, []).append(taken)

    def _placed(self, name: str) -> OpenOrder:
        exchange = self.core.exchange
        waiting = exchange.open_order(ACCOUNT, name)
        if waiting is not None:
            return waiting
        closed = reversed(exchange.history(ACCOUNT).closed)
        return next(c.order for c in closed if c.order.order.client_id == name)

    def _filled(self, fill: Fill) -> None:
        name, taken = self._by_name[fill.client_id]
        taken.fills[self.core.desk.txid(fill.trade_id)] = fill
        if self.core.exchange.open_order(ACCOUNT, fill.client_id) is None and taken.ended is None:
            taken.ended, taken.ended_at = "filled", fill.time
        if name.startswith(HAND):
            return
        base, sign = fill.symbol.partition("/")[0], 1 if fill.side is Side.BUY else -1
        for asset, number in (
            (base, sign * fill.quantity),
            (fill.cost.asset, -sign * fill.cost.number),
            (fill.fee.asset, -fill.fee.number),
        ):
            self.moved[asset] = EXACT.add(self.moved.get(asset, ZERO), number)
