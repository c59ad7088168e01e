"""Accounts that trade at a sandbox where much goes wrong, and the operator who has a hand in it.

Each operation goes over a real socket, half of the accounts by REST and half by WebSocket, all at once.
"""

import asyncio
import json
import os
from asyncio import StreamReader, StreamWriter
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import urlencode, urlsplit

from lotwise.domain.values import BadField, Time, amount, plain, round_down
from lotwise.kraken.signature import Credentials, credentials
from lotwise.sandbox.faults import Fault, Kind
from lotwise.sandbox.service import Running
from tests.sandbox_bytes import answer, frame, heard, signed, upgrade
from tests.sandbox_fuzz import SEED

OPERATIONS = int(os.environ.get("LOTWISE_OPERATIONS", "2000"))
"""`make fuzz` does 100,000."""

ACCOUNTS = 20
MONEY = {"USDT": "5000", "SOL": "40", "ADA": "5000", "BTC": "0.05"}
SYMBOLS = ("SOL/USDT", "ADA/USDT", "BTC/USDT")
START = Time(1_790_000_000_000)
SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="
SECONDS = 60.0
WINDOW = 1_000_000
"""Of nonces: a request that comes twice is carried out twice."""

MUTATING = (
    *("AddOrder", "AmendOrder", "CancelOrder", "CancelAll"),
    *("add_order", "amend_order", "cancel_order", "cancel_all"),
)
ON_CHANNELS = ("executions", "balances", *MUTATING[4:])
FAULTS = (
    *(Fault(Kind.REQUEST_LOST, MUTATING, 0.01), Fault(Kind.ANSWER_LOST, MUTATING, 0.02)),
    *(Fault(kind, MUTATING, 0.005, seconds=0.002) for kind in (Kind.REQUEST_LATE, Kind.ANSWER_LATE)),
    *(Fault(Kind.REQUEST_TWICE, MUTATING, 0.03), Fault(Kind.BAN, MUTATING, 0.0005, seconds=0.5)),
    Fault(Kind.ERROR, MUTATING, 0.01, text="EAPI:Invalid nonce"),
    Fault(Kind.ERROR, MUTATING, 0.01, text="EService:Busy"),
    *(Fault(Kind.ERROR_PAGE, MUTATING, 0.01, carried_out=done) for done in (False, True)),
    Fault(Kind.ANSWER_CUT, MUTATING, 0.01),
    *(Fault(kind, ON_CHANNELS, 0.02) for kind in (Kind.MESSAGE_LOST, Kind.MESSAGE_TWICE, Kind.OUT_OF_ORDER)),
    *(Fault(Kind.STALL, ON_CHANNELS, 0.003, seconds=0.003), Fault(Kind.DISCONNECT, ON_CHANNELS, 0.002)),
)
STATUSES = ("cancel_only", "post_only", "limit_only", "reduce_only", "offline")


def key_of(number: int) -> Credentials:
    return credentials(f"key{number}", SECRET)


@dataclass
class Exchange:
    """The sandbox as its operator has it."""

    sandbox: Running
    random: Random
    left: int = OPERATIONS
    changes: Counter[str] = field(default_factory=Counter)
    brought: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(MONEY, Decimal(0)))
    """Beside what they had to begin with."""

    def turn(self) -> bool:
        """Whether there is another operation to do; now and then time passes, or something changes."""
        self.left -= 1
        if self.left % 5 == 0:
            self.sandbox.admin.advance(self.random.choice((0.001, 0.2, 1.0)))
        if self.left % 25 == 0:
            self.change()
        if self.left % 50 == 10:
            self.put_in_order()
        return self.left >= 0

    def change(self) -> None:
        """Another rule, status, fee, lag or sum."""
        pick, pair = self.random.choice, self.random.choice(SYMBOLS)
        market = self.sandbox.admin._core.exchange.markets()[pair]
        who, asset = f"account-{self.random.randrange(ACCOUNTS)}", pick(list(MONEY))
        money = f"{pick(('', '-'))}{pick(('0.00001', '0.01', '3'))} {asset}"
        change: dict[str, Any] = pick(
            (
                {"change": "system", "status": pick(("maintenance", "cancel_only", "post_only"))},
                {"change": "pair", "pair": pair, "status": pick(STATUSES)},
                {"change": "rules", "pair": pair, "ordermin": plain(market.lot_step * pick((1, 10**6)))},
                {"change": "rules", "pair": pair, "costmin": pick(("0.1", "0.5", "5"))},
                {"change": "rules", "pair": pair, "tick_size": plain(market.tick_size * pick((1, 2)))},
                {"change": "fees", "maker": pick(("0", "0.16", "1")), "taker": pick(("0", "0.26", "7"))},
                {"change": "lag", "seconds": pick((0, 5))},
                *[{"change": "money", "account": who, "amount": money}] * 4,
            )
        )
        kind = change["change"]
        try:
            self.sandbox.admin.change(**change)
        except BadField:
            kind = f"{kind} (refused)"  # more than is there, or a step that the book cannot take
        if kind == "money":
            self.brought[asset] += amount(money).number
        self.changes[kind] += 1

    def heal(self) -> None:
        """Nothing goes wrong from now on."""
        admin = self.sandbox.admin
        for fault in admin.faults():
            self.changes[fault["kind"]] += fault["struck"]
            admin.remove_fault(fault["number"])
        self.put_in_order()
        admin.change(change="lag", seconds=0)
        admin.advance(10)

    def put_in_order(self) -> None:
        """All may be traded again."""
        self.sandbox.admin.change(change="system", status="online")
        for pair in SYMBOLS:
            self.sandbox.admin.change(change="pair", pair=pair, status="online")

    def price(self, symbol: str, near: str) -> str:
        """So many times the last price, on the pair's grid."""
        exchange = self.sandbox.admin._core.exchange
        last, tick = exchange.tape(symbol).trades[-1].price, exchange.markets()[symbol].tick_size
        return plain(max(tick, round_down(last * Decimal(near), tick)))


@dataclass
class Trader:
    """One account's client. `told`: the orders that it was told of."""

    number: int
    exchange: Exchange
    random: Random = field(init=False)
    nonce: int = WINDOW
    told: list[str] = field(default_factory=list)
    heard: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = Random(f"trader {SEED} {self.number}")

    async def connection(self) -> tuple[StreamReader, StreamWriter]:
        url = urlsplit(self.exchange.sandbox.url)
        return await asyncio.open_connection(url.hostname, url.port)

    def request(self, name: str, **parameters: object) -> bytes:
        """A signed request with the next nonce."""
        self.nonce += 1
        body = urlencode({"nonce": self.nonce, **parameters}).encode()
        return signed(key_of(self.number), name, self.nonce, body, "x-www-form-urlencoded")

    async def asked(self, name: str, **parameters: object) -> Any:
        """The result of a call that nothing befalls."""
        async with asyncio.timeout(SECONDS):
            reader, writer = await self.connection()
            writer.write(self.request(name, **parameters))
            _, body = await answer(reader)
            writer.close()
        said = json.loads(body, parse_float=Decimal)
        assert said["error"] == [], said
        return said["result"]

    async def work(self) -> None:
        """Operate until all is done, over one connection after the other."""
        by_socket = self.number % 2 == 1
        while self.exchange.turn():
            reader, writer = await self.connection()
            try:
                async with asyncio.timeout(None) as hung:
                    await (Socket if by_socket else Http)(self, reader, writer, hung).work()
            except (asyncio.IncompleteReadError, ConnectionError):
                self.heard["connections lost"] += 1
            finally:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    def order(self) -> dict[str, str]:
        """An order, sensible or not, in REST's words."""
        pick = self.random.choice
        symbol, side = pick(SYMBOLS), pick(["buy", "sell"])
        kind = pick(["limit"] * 5 + ["market", "stop-loss", "take-profit-limit"])
        order = {"pair": symbol, "type": side, "ordertype": kind}
        size = {"SOL/USDT": "0.06", "ADA/USDT": "20", "BTC/USDT": "0.0001"}[symbol]
        order["volume"] = plain(Decimal(size) * Decimal(pick(["0.5", "1", "2.7182", "9", "40"])))
        if kind != "market":
            order["price"] = self.exchange.price(symbol, pick(["0.9", "0.998", "1", "1.002", "1.1"]))
        if kind == "take-profit-limit":
            order["price2"] = self.exchange.price(symbol, pick(["0.99", "1.01"]))
        if kind == "limit":
            order["timeinforce"] = pick(["GTC", "GTC", "IOC", "FOK"])
        order["stptype"] = pick(["cancel-newest", "cancel-oldest", "cancel-both"])
        return order


@dataclass
class Http:
    """A connection for REST."""

    trader: Trader
    reader: StreamReader
    writer: StreamWriter
    hung: asyncio.Timeout

    async def work(self) -> None:
        trader = self.trader
        while trader.exchange.turn():
            self.hung.reschedule(asyncio.get_running_loop().time() + SECONDS)
            name, parameters = self.drawn()
            self.writer.write(trader.request(name, **parameters))
            status, body = await answer(self.reader)
            try:
                said: Any = json.loads(body) if status == 200 else {"error": [f"page {status}"]}
            except ValueError:
                said = {"error": ["answer cut"]}
            if said["error"]:
                trader.heard["errors" if status == 200 else "pages"] += 1
            elif name == "AddOrder":
                trader.told += said["result"]["txid"]

    def drawn(self) -> tuple[str, dict[str, str]]:
        trader, random, told = self.trader, self.trader.random, self.trader.told[-10:]
        match random.randrange(10):
            case 0 | 1 | 2 | 3 | 4 | 5:
                order = trader.order()
                flags = ["fciq", "fcib", "post"] if order.get("timeinforce") == "GTC" else ["fciq", "fcib"]
                order["oflags"] = random.choice(flags)
                if order["pair"] == SYMBOLS[0] and random.random() < 0.2:
                    price = trader.exchange.price(SYMBOLS[0], "1.05")
                    order |= {"close[ordertype]": "limit", "close[price]": price}
                return "AddOrder", order
            case 6 | 7 if told:
                return "CancelOrder", {"txid": random.choice(told)}
            case 8 if told:
                return "AmendOrder", {
                    "txid": random.choice(told),
                    "order_qty": random.choice(["0.5", "2", "30"]),
                }
            case _:
                return random.choice(["CancelAll", *["OpenOrders"] * 30]), {}


@dataclass
class Socket(Http):
    """A connection for WebSocket: with each request a ping, whose answer tells that no more is to come."""

    pings: int = 0

    async def work(self) -> None:
        trader = self.trader
        self.writer.write(trader.request("GetWebSocketsToken"))
        said: dict[str, Any] = json.loads((await answer(self.reader))[1])
        if said["error"]:
            raise ConnectionError("no token: in maintenance, or banned")
        token = said["result"]["token"]
        self.writer.write(upgrade("/auth/v2", trader.random.randbytes(16)))
        await self.reader.readuntil(b"\r\n\r\n")
        for channel in ("executions", "balances"):
            await self.say("subscribe", {"channel": channel, "token": token})
        while trader.exchange.turn():
            self.hung.reschedule(asyncio.get_running_loop().time() + SECONDS)
            method, params = self.spoken()
            await self.say(method, params | {"token": token})

    async def say(self, method: str, params: dict[str, Any]) -> None:
        """Send, and hear all that comes of it."""
        self.pings += 1
        text = json.dumps({"method": method, "params": params})
        self.writer.write(frame(text) + frame(json.dumps({"method": "ping", "req_id": self.pings})))
        while True:
            message = await heard(self.reader)
            if message is None:
                raise ConnectionError("the connection ended")
            said = json.loads(message[1])
            if said.get("req_id") == self.pings:  # a pong; or of one that is banned, an error
                return
            if said.get("success") is False:
                self.trader.heard["errors"] += 1
            elif said.get("method") == "add_order":
                self.trader.told.append(said["result"]["order_id"])

    def spoken(self) -> tuple[str, dict[str, Any]]:
        """An operation in WebSocket's words."""
        name, parameters = self.drawn()
        if name == "AddOrder":
            return "add_order", spoken_order(parameters)
        if name in ("CancelOrder", "AmendOrder"):
            order = parameters["txid"]
            if name == "CancelOrder":
                return "cancel_order", {"order_id": [order]}
            return "amend_order", {"order_id": order, "order_qty": float(parameters["order_qty"])}
        return "cancel_all", {}


def spoken_order(order: dict[str, str]) -> dict[str, Any]:
    """An order of REST in WebSocket's words."""
    kind, price = order["ordertype"], float(order.get("price", 0))
    told: dict[str, Any] = {"order_type": kind, "side": order["type"], "symbol": order["pair"]}
    told["order_qty"] = float(order["volume"])
    if kind == "limit":
        told |= {"limit_price": price, "post_only": "post" in order["oflags"]}
    elif kind != "market":
        told["triggers"] = {"price": price, "reference": "last"}
        told |= {"limit_price": float(order["price2"])} if "price2" in order else {}
    if "close[price]" in order:
        told["conditional"] = {"order_type": "limit", "limit_price": float(order["close[price]"])}
    told["fee_preference"] = "base" if "fcib" in order["oflags"] else "quote"
    told["stp_type"] = order["stptype"].replace("-", "_")
    return told | ({"time_in_force": order["timeinforce"].lower()} if kind == "limit" else {})
