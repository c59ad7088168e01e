"""The operator's side of a sandbox: time, faults, changes, and the truth about each order and trade.

Laws: it is served beside the exchange on a port of its own, on loopback; whatever it is asked, it answers
in JSON, and what it changes goes through the same core as everything else.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from lotwise.domain.values import Amount, BadField, Time, plain, require
from lotwise.exchange.accounts import ClosedOrder
from lotwise.exchange.booking import OpenOrder
from lotwise.sandbox.changes import change_of
from lotwise.sandbox.clock import STILL
from lotwise.sandbox.doors import Doors
from lotwise.sandbox.faults import fault_of, plain_fault
from lotwise.sandbox.server import Receive, Scope, Send, answer, body_of, cut_off

MAX_BODY = 64 * 1024
MAX_ADVANCE = 86_400.0
BODY_SECONDS = 10.0
CROWD = "crowd"

Answer = tuple[int, Any]
"""HTTP status, and what is said as JSON."""


class Admin:
    """What the operator may ask and do; every method may raise BadField."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._core = doors.core

    def advance(self, seconds: float) -> Time:
        """Move the clock forward, and let happen what is due by then: the new time."""
        require(0 <= seconds <= MAX_ADVANCE, "seconds", f"must be from 0 to {MAX_ADVANCE:.0f}")
        self._doors.clock.move(int(seconds * 1000))
        self._doors.pulse()
        return self._doors.clock.now()

    def shift(self, seconds: float) -> Time:
        """Let the exchange's clock go wrong by so much; back means that it stands still for so long."""
        require(abs(seconds) <= MAX_ADVANCE, "seconds", f"must be at most {MAX_ADVANCE:.0f}")
        require(seconds >= 0 or self._doors.clock.speed != STILL, "seconds", "a still clock cannot go back")
        self._doors.clock.move(int(seconds * 1000))
        return self._doors.now()

    def change(self, **change: Any) -> None:
        """Change the exchange: see changes.py."""
        self._core.change(change_of(change), self._doors.now())
        self._doors.pulse()

    def add_fault(self, **fault: Any) -> int:
        """Let something go wrong from now on: its number. See Fault in faults.py."""
        return self._doors.faults.add(fault_of(fault), self._doors.now())

    def remove_fault(self, number: int) -> None:
        """Let a fault end."""
        require(self._doors.faults.remove(number), "fault", f"there is none of number {number}")

    def faults(self) -> list[dict[str, Any]]:
        """All faults and how often each has struck."""
        return [
            {"number": number, "struck": struck, **plain_fault(fault)}
            for number, (fault, struck) in self._doors.faults.all().items()
        ]

    def accounts(self) -> dict[str, Any]:
        """What each account owns of each asset: all, and what of it is free."""
        exchange = self._core.exchange
        told: dict[str, Any] = {}
        for name in exchange.accounts():
            ledger = exchange.ledger(name)
            told[name] = {
                asset: {"total": _number(ledger.total(asset)), "free": _number(ledger.free(asset))}
                for asset in sorted(ledger.assets())
            }
        return told

    def orders(self) -> list[dict[str, Any]]:
        """Each order of each account that is remembered, open or ended."""
        return [self._order(*known) for known in self._known()]

    def trades(self) -> list[dict[str, Any]]:
        """Each trade that is remembered of each pair, with the orders on both sides; "crowd" is nobody."""
        names = {
            (account, order.order.client_id): {
                "account": account,
                "order": self._core.desk.txid(order.venue_id),
            }
            for account, order, _ in self._known()
        }
        return [
            {
                "pair": symbol,
                "number": trade.number,
                "time": trade.time,
                "price": plain(trade.price),
                "volume": plain(trade.quantity),
                "taker_side": trade.side.value,
                "taker": CROWD if trade.taker is None else names.get(trade.taker),
                "maker": CROWD if trade.maker is None else names.get(trade.maker),
            }
            for symbol in self._core.exchange.markets()
            for trade in self._core.exchange.tape(symbol).trades
        ]

    def _known(self) -> Iterator[tuple[str, OpenOrder, ClosedOrder | None]]:
        exchange = self._core.exchange
        for name in exchange.accounts():
            yield from ((name, closed.order, closed) for closed in exchange.history(name).closed)
            yield from ((name, order, None) for order in exchange.open_orders(name))

    def _order(self, account: str, order: OpenOrder, closed: ClosedOrder | None) -> dict[str, Any]:
        info = self._core.desk.info(account, order, closed)
        return {
            "account": account,
            "txid": info.txid,
            "cl_ord_id": info.cl_ord_id,
            "userref": info.userref,
            "pair": info.symbol,
            "side": info.side.value,
            "type": info.type.value,
            "volume": plain(info.volume),
            "price": _price(order.order.price),
            "trigger": _price(order.order.trigger),
            "status": info.status,
            "reason": info.reason,
            "executed": plain(info.executed),
            "cost": plain(info.cost),
            "fee": plain(info.fee),
            "accepted": order.accepted,
            "ended": None if closed is None else closed.time,
            "trades": list(info.trades),
        }

    # Over HTTP

    def handle(self, method: str, path: str, body: bytes) -> Answer:
        """The answer to a request."""
        parts = path.strip("/").split("/")
        try:
            said = _said(body)
            if method == "DELETE" and parts[0] == "faults" and len(parts) == 2 and parts[1].isdecimal():
                self.remove_fault(int(parts[1][:9]))
                return 200, None
            action = self._actions().get((method, "/".join(parts)))
            if action is None:
                return 404, {"error": f"{method} {path} is none of: {', '.join(self._names())}"}
            return 200, action(said)
        except BadField as bad:
            return 400, {"error": str(bad)}
        except TypeError:
            return 400, {"error": "the body is a JSON object with the fields of docs/sandbox.md"}

    def _actions(self) -> Mapping[tuple[str, str], Callable[[dict[str, Any]], Any]]:
        return {
            ("GET", "time"): lambda _: {"time": self._doors.now()},
            ("POST", "advance"): lambda said: {"time": self.advance(_seconds(said))},
            ("POST", "shift"): lambda said: {"time": self.shift(_seconds(said))},
            ("POST", "changes"): lambda said: self.change(**said),
            ("GET", "faults"): lambda _: self.faults(),
            ("POST", "faults"): lambda said: {"number": self.add_fault(**said)},
            ("GET", "accounts"): lambda _: self.accounts(),
            ("GET", "orders"): lambda _: self.orders(),
            ("GET", "trades"): lambda _: self.trades(),
        }

    def _names(self) -> Iterator[str]:
        yield from (f"{method} /{path}" for method, path in self._actions())
        yield "DELETE /faults/NUMBER"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application."""
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            return
        body = await body_of(receive, MAX_BODY, BODY_SECONDS)
        if body is None:
            await cut_off(scope, receive)
            return
        status, said = self.handle(scope["method"], scope["path"], body[: MAX_BODY + 1])
        told = json.dumps({"ok": True} if said is None else said).encode()
        await answer(send, status, told, "application/json", len(body) > MAX_BODY)


def _said(body: bytes) -> dict[str, Any]:
    require(len(body) <= MAX_BODY, "body", f"must be at most {MAX_BODY} bytes")
    try:
        read = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise BadField("body", "is no JSON") from None
    require(isinstance(read, dict), "body", "must be a JSON object")
    assert isinstance(read, dict)
    return read


def _seconds(said: Mapping[str, Any]) -> float:
    seconds = said.get("seconds")
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    require(number and len(said) == 1, "seconds", "must be a number, and the only field")
    assert isinstance(seconds, int | float)
    return seconds


def _number(amount: Amount) -> str:
    return plain(amount.number)


def _price(price: Decimal | None) -> str | None:
    return None if price is None else plain(price)
