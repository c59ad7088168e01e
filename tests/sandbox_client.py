"""A small exchange behind the sandbox's core, and a client that signs what it sends."""

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from lotwise.domain.market import Market
from lotwise.domain.values import Amount, Time, amount
from lotwise.exchange.exchange import Exchange
from lotwise.exchange.house import HouseRules, Matching, ladder
from lotwise.kraken.fees import SINCE_JULY_2026
from lotwise.kraken.limits import Verification
from lotwise.kraken.signature import Credentials, credentials, sign
from lotwise.sandbox.conformance import Permission
from lotwise.sandbox.core import Core, Settings
from lotwise.sandbox.keys import ALL_PERMISSIONS, ApiKey, made_up_key
from lotwise.sandbox.wire import Request, Response

NOW = Time(1_790_000_000_000)
SECOND = 1000
DOLLARS = frozenset({"USD", "USDT", "USDC"})

RULES = """
BTC/USD    0.1         8  0.00005
SOL/USDT   0.01        8  0.02
DOGE/USD   0.0000001   8  13
SHIB/USDT  0.00000001  5  160000
"""

BOOK = {
    "BTC/USD": ("99990 0.5, 99900 2", "100010 0.5, 100100 2"),
    "SOL/USDT": ("99.9 3, 99.5 10", "100.1 3, 100.5 10"),
}


def market(row: str) -> Market:
    symbol, tick, lot_digits, least = row.split()
    fees = Decimal("0.004"), Decimal("0.008")
    lot = Decimal(1).scaleb(-int(lot_digits))
    return Market(symbol, Decimal(tick), lot, Decimal(least), Decimal("0.5"), 5, *fees)


def levels(text: str) -> list[tuple[Decimal, Decimal]]:
    pairs = (level.split() for level in text.split(","))
    return [(Decimal(price), Decimal(quantity)) for price, quantity in pairs]


def exchange() -> Exchange:
    """Four pairs, two of them with a book of three and ten at each side."""
    markets = [market(row) for row in RULES.strip().splitlines()]
    house = HouseRules(matching=Matching.BOOK, fees=ladder(SINCE_JULY_2026, DOLLARS))
    made = Exchange({market.symbol: market for market in markets}, house=house)
    for symbol, (bids, asks) in BOOK.items():
        made.show_depth(symbol, levels(bids), levels(asks), NOW)
    return made


@dataclass
class Client:
    """One account's client. `now` is the exchange's clock; each call has the next nonce."""

    core: Core
    credentials: Credentials
    now: Time = NOW
    nonce: int = 0
    last: Response = field(default_factory=lambda: Response(0, b""))

    def public(self, name: str, **parameters: object) -> Any:
        return self.sent(Request("GET", f"/0/public/{name}?{urlencode(parameters)}"))

    def private(self, name: str, **parameters: object) -> Any:
        self.nonce += 1
        body = urlencode({"nonce": self.nonce, **parameters}).encode()
        return self.sent(self.signed(name, str(self.nonce), body))

    def signed(self, name: str, nonce: str, body: bytes, kind: str = "x-www-form-urlencoded") -> Request:
        path = f"/0/private/{name}"
        headers = {
            "API-Key": self.credentials.key,
            "API-Sign": sign(self.credentials.secret, path, nonce, body),
            "Content-Type": f"application/{kind}",
        }
        return Request("POST", path, headers, body)

    def sent(self, request: Request) -> Any:
        """The result; or the error's text."""
        self.last = self.core.handle(request, self.now)
        envelope = json.loads(self.last.body, parse_float=Decimal)
        return envelope["error"][0] if envelope["error"] else envelope["result"]

    def order(self, words: str, **more: object) -> Any:
        """An AddOrder from words: "buy 1 SOLUSDT limit 99", or its error."""
        side, volume, pair, kind, *prices = words.split()
        names = dict(zip(("price", "price2"), prices, strict=False))
        return self.private("AddOrder", type=side, volume=volume, pair=pair, ordertype=kind, **names, **more)

    def placed(self, words: str, **more: object) -> str:
        """The txid of an order that is taken."""
        (txid,) = self.order(words, **more)["txid"]
        assert isinstance(txid, str)
        return txid

    def told(self, txid: str) -> Any:
        """What QueryOrders says of an order."""
        return self.private("QueryOrders", txid=txid, trades="true")[txid]

    def moved(self, milliseconds: int) -> None:
        self.now = Time(self.now + milliseconds)


def core(settings: Settings = Settings(rate_limits=False)) -> Core:  # noqa: B008  frozen
    return Core(exchange(), settings)


def client(
    made: Core | None = None,
    money: str = "1000 USDT, 10 SOL",
    name: str = "a",
    level: Verification = Verification.PRO,
    permissions: frozenset[Permission] = ALL_PERMISSIONS,
) -> Client:
    """An account with money and a client of its own."""
    made = made or core()
    made.open_account(name, level)
    key = credentials(*made_up_key(1, len(made.keys.all())))
    made.add_key(ApiKey(key, name, permissions))
    for sum_ in filter(None, money.split(", ")):
        made.deposit(name, amount(sum_), NOW)
    return Client(made, key)


def owned(made: Core, name: str, asset: str) -> Amount:
    return made.exchange.ledger(name).total(asset)
