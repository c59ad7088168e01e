"""The exchange of a scenario: three pairs with living markets, one account that a person uses too."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from random import Random

from lotwise.domain.market import MarketStatus
from lotwise.domain.values import EXACT, Amount, Time, amount, round_up
from lotwise.exchange.book_matcher import BookMatcher
from lotwise.exchange.crowd import STEP, Crowd, CrowdSettings, Take
from lotwise.exchange.dice import Dice
from lotwise.exchange.exchange import Exchange as Matching
from lotwise.exchange.paths import Walk
from lotwise.kraken.names import pair_names
from lotwise.kraken.reference import reference_price
from lotwise.kraken.rest import asset_decimals
from lotwise.kraken.signature import credentials
from lotwise.ledger.postings import Overdrawn, deposit, post
from lotwise.sandbox.changes import Change, Fees, Money, Pair, Rules, System, carry_out
from lotwise.sandbox.core import Core, Settings
from lotwise.sandbox.keys import ApiKey, made_up_key
from lotwise.sandbox.world import Tariff, house_of
from lotwise.sandbox.world import World as Listings
from world.truth import ACCOUNT, HAND, Truth
from world.weather import Act

SYMBOLS = ("SOL/USDT", "ADA/USDT", "DOGE/USDT")
MONEY = ("600 USDT", "1 SOL", "200 ADA")
KEY, HAND_KEY = (credentials(*made_up_key(7, number)) for number in (0, 1))
PACE = 10
"""The crowd moves each so many of its steps: the machine's time is for what is under test."""

CROWD = CrowdSettings(turnover=10_000 * PACE, trades=3_600, resting=0.5 / PACE, levels=8)
"""Small trades, one with each move: many of our orders fill in parts."""

VOLATILITY = 3.0
"""The standard deviation of a year, as a fraction: many stops are reached."""

TIMES = tuple(map(Decimal, ("0.5", "1", "1.5", "4")))
"""What new minimums are of those of the beginning; four times is above what an order here may cost."""

EARLIER = 5 * 60_000
"""So long the crowds have traded before a scenario begins."""


class Slow(Crowd):
    """A crowd that rests between its moves."""

    def step(self, matcher: BookMatcher, take: Take) -> None:
        now = self.due
        super().step(matcher, take)
        self.due = Time(now + PACE * STEP)


@dataclass(slots=True)
class Exchange:
    """A core, what really happened there, and who changes what by hand."""

    core: Core
    tariff: Tariff
    truth: Truth
    least: Mapping[str, Decimal]
    """The minimums of the beginning, by pair."""

    hand_orders: int = 0
    vanished: Decimal = Decimal(0)
    """What is gone without a reason, in USDT."""

    rounded: Decimal = Decimal(0)
    """What trades may have come to less than they were told as, in USDT, before books are compared."""

    def act(self, act: Act, now: Time, random: Random) -> None:
        """Let something happen that is none of the client's doing."""
        symbol = random.choice(SYMBOLS)
        match act.kind:
            case "hand order" | "hand trade":
                self._by_hand(symbol, act.kind == "hand order", now, random)
            case "hand cancel" | "hand amend":
                self._meddle(act.kind == "hand cancel", now, random)
            case "deposit":
                self._change(Money(ACCOUNT, f"{random.randint(1, 50)} USDT"), now)
            case "withdrawal":
                self._withdraw(Amount(Decimal(random.randint(1, 40)), "USDT"), now)
            case "coins leave":
                asset = symbol.partition("/")[0]
                owned = self.core.exchange.ledger(ACCOUNT).free(asset)
                self._withdraw(Amount(owned.number / 2, asset), now)
            case "vanish":
                self._vanish(Decimal(random.randint(1, 8)) / 8)
            case "fees":
                maker, taker = random.choice((("0.1", "0.2"), ("0.25", "0.4"), ("0.4", "0.6")))
                self._change(Fees(Decimal(maker), Decimal(taker)), now)
            case "maintenance":
                self._change(System(random.choice(("maintenance", "cancel_only", "post_only"))), now)
            case "open":
                self.calm()
            case "pair":
                self._change(Pair(symbol, MarketStatus.CANCEL_ONLY), now)
            case "rules":
                least = EXACT.multiply(self.least[symbol], random.choice(TIMES))
                self._change(Rules(symbol, ordermin=least), now)

    def calm(self) -> None:
        """Everything is open again."""
        self.core.set_system_status("online")
        for symbol in SYMBOLS:
            self.core.exchange.set_status(symbol, MarketStatus.ONLINE)

    def _change(self, change: Change, now: Time) -> None:
        carry_out(self.core, self.tariff, change, now)

    def _withdraw(self, wanted: Amount, now: Time) -> None:
        with suppress(Overdrawn):  # orders hold it: the exchange would not let it go either
            self.core.deposit(ACCOUNT, -wanted, now)

    def _vanish(self, number: Decimal) -> None:
        """Money is gone and no row of the account's ledger says why."""
        ledgers = self.core.exchange._floor.accounts.ledgers
        with suppress(Overdrawn):
            ledgers[ACCOUNT] = post(ledgers[ACCOUNT], deposit(Amount(-number, "USDT")))
            self.vanished += number

    def _by_hand(self, symbol: str, rests: bool, now: Time, random: Random) -> None:
        """A person's own order on the same account: far away, where it rests, or at once."""
        market, quote = self.core.exchange.markets()[symbol], self.core.exchange.quotes().get(symbol)
        if quote is None:
            return  # nobody else is there
        self.hand_orders += 1
        asked = {
            "pair": pair_names(symbol).altname,
            "volume": f"{2 * market.min_quantity:f}",
            "cl_ord_id": f"{HAND}-{self.hand_orders}",
            "oflags": "fciq",
        }
        if rests:
            price = market.price_down(quote.bid * Decimal("0.9"))
            asked |= {"type": "buy", "ordertype": "limit", "price": f"{price:f}"}
        else:
            asked |= {"type": "buy", "ordertype": "market"}
        self.core.command(HAND_KEY.key, "AddOrder", asked, now)

    def _meddle(self, cancels: bool, now: Time, random: Random) -> None:
        """A person takes one of the client's orders off, or buys less by it (a stop made smaller stays so:
        nothing tells of it)."""
        told = self.core.command(HAND_KEY.key, "OpenOrders", {}, now)
        rows = told["open"].items() if isinstance(told, dict) else ()  # else the key has asked too often
        theirs = [(txid, row) for txid, row in rows if not row["cl_ord_id"].startswith(HAND)]
        if not cancels:
            theirs = [(txid, row) for txid, row in theirs if row["descr"]["type"] == "buy"]
        if not theirs:
            return
        txid, row = random.choice(theirs)
        if cancels:
            self.core.command(HAND_KEY.key, "CancelOrder", {"txid": txid}, now)
        else:
            least = (Decimal(row["vol"]) + Decimal(row["vol_exec"])) / 2
            smaller = round_up(least, Decimal("0.00000001"))
            self.core.command(HAND_KEY.key, "AmendOrder", {"txid": txid, "order_qty": f"{smaller:f}"}, now)


def _few_of_the_quote(asset: str) -> int:
    """As many decimals as Kraken keeps of dollars and euros: what trades cost comes rounded."""
    return 4 if asset == "USDT" else asset_decimals(asset)


def opened(seed: int, now: Time) -> Exchange:
    """The exchange at its first moment."""
    listings = Listings(seed, quotes=("USDT",))
    tariff, start = Tariff(listings.schedule()), Time(now - EARLIER)
    known, house = listings.markets(), house_of(tariff)
    rounds = seed % 3 == 0
    if rounds:
        house = replace(house, decimals=_few_of_the_quote)
    exchange = Matching({symbol: known[symbol] for symbol in SYMBOLS}, house=house)
    for number, symbol in enumerate(SYMBOLS):
        exchange.live(symbol, _crowd(symbol, seed * len(SYMBOLS) + number, start))
    core = Core(exchange, Settings(seed))
    core.open_account(ACCOUNT)
    for key in (KEY, HAND_KEY):
        core.add_key(ApiKey(key, ACCOUNT))
    _deposit(core, MONEY, start)
    core.advance(now)
    least = {symbol: known[symbol].min_quantity for symbol in SYMBOLS}
    return Exchange(core, tariff, Truth(core), least, rounded=Decimal("0.001") if rounds else Decimal(0))


def _deposit(core: Core, money: Iterable[str], now: Time) -> None:
    for text in money:
        core.deposit(ACCOUNT, amount(text), now)


def _crowd(symbol: str, seed: int, start: Time) -> Slow:
    base = symbol.partition("/")[0]
    known = reference_price(base, date.max)
    assert known is not None, f"{base} has no price"
    path = Walk(float(known[0]), VOLATILITY, Dice(2 * seed), start)
    return Slow(CROWD, path, Dice(2 * seed + 1), Time(start + STEP))
