"""Whatever happens on the exchange, no unit of money appears, vanishes or goes below zero, and an exchange
put together again from what it shows goes on exactly as the one that never stopped."""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import product
from math import ceil, floor

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lotwise.domain.market import Candle, FeeAsset, Liquidity, Market, Quote
from lotwise.domain.orders import (
    Accepted,
    Canceled,
    Expired,
    Fill,
    Order,
    OrderType,
    Purpose,
    Rejected,
    Report,
    TimeInForce,
)
from lotwise.domain.values import Amount, Side, Time
from lotwise.exchange.exchange import Exchange, issued_in
from lotwise.ledger.postings import EXTERNAL, FEES, MARKET

D = Decimal
ACCOUNTS = ("ann", "bob", "cyd")
NAMES = ("p", "q", "r", "s", "t", "u")

# Steps so coarse that most costs and fees are rounded, and a pair whose quote is another's base.
MARKETS = {
    "SOL/USDT": Market("SOL/USDT", D("0.5"), D("0.01"), D("0.02"), D("0.3"), 2, D("0.004"), D("0.008")),
    "ADA/USDT": Market(
        "ADA/USDT", D("0.25"), D("0.1"), D("0.1"), D(0), 0, D("0.0016"), D("0.0026"), fee_asset=FeeAsset.BASE
    ),
    "SOL/ADA": Market("SOL/ADA", D("0.1"), D("0.001"), D("0.001"), D(0), 3, D("0.02"), D("0.01"), D(5)),
}
ASSETS = ("USDT", "SOL", "ADA")

Kind = tuple[TimeInForce, bool, int]
"""Time in force, post-only, and how long a GTD order lasts."""

accounts = st.sampled_from(ACCOUNTS)
names = st.sampled_from(NAMES)
symbols = st.sampled_from(sorted(MARKETS))
sides = st.sampled_from(Side)
quarters = st.integers(8, 80)  # prices in steps of 0.25: some of them off tick
lots = st.integers(1, 150)
away = st.integers(-8, 8)
kinds = st.one_of(
    st.tuples(st.sampled_from([TimeInForce.GTC, TimeInForce.GTD]), st.booleans(), st.integers(0, 25)),
    st.tuples(st.sampled_from([TimeInForce.IOC, TimeInForce.FOK]), st.just(False), st.just(0)),
)


class ExchangeLife(RuleBasedStateMachine):
    """One exchange that never stops, its twin that is put together again now and then, and books of
    our own, kept in fractions from the reports alone."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange = Exchange(MARKETS)
        self.twin = Exchange(MARKETS)
        self.markets = dict(MARKETS)
        self.now = 0
        self.owned: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
        self.deposited: dict[str, Fraction] = defaultdict(Fraction)
        self.fees: dict[str, Fraction] = defaultdict(Fraction)
        self.open: dict[tuple[str, str], tuple[Order, Market]] = {}
        self.ids: set[int] = set()

    @initialize()
    def first_money_and_prices(self) -> None:
        for asset in ASSETS:
            self.deposit("ann", asset, 100_000)
            self.deposit("bob", asset, 7_531)
        for symbol in MARKETS:
            self.quote(symbol, 40, 1)

    @rule(account=accounts, asset=st.sampled_from(ASSETS), cents=st.integers(1, 40_000))
    def deposit(self, account: str, asset: str, cents: int) -> None:
        money = Amount(D(cents) / 100, asset)
        self.exchange.deposit(account, money)
        self.twin.deposit(account, money)
        self.owned[account, asset] += Fraction(money.number)
        self.deposited[asset] += Fraction(money.number)

    @rule(symbol=symbols, bid=quarters, wider=st.integers(0, 3))
    def quote(self, symbol: str, bid: int, wider: int) -> None:
        quote = Quote(symbol, Time(self.now), D(bid) / 4, D(bid + wider) / 4)
        self.exchange.quote(quote)
        self.twin.quote(quote)

    @rule(account=accounts, name=names, symbol=symbols, side=sides, lots=lots)
    def market_order(self, account: str, name: str, symbol: str, side: Side, lots: int) -> None:
        self.send(account, self.make(name, symbol, side, lots))

    @rule(account=accounts, name=names, symbol=symbols, side=sides, lots=lots, away=away, kind=kinds)
    def limit_order(
        self, account: str, name: str, symbol: str, side: Side, lots: int, away: int, kind: Kind
    ) -> None:
        self.limit(account, self.make(name, symbol, side, lots), away, kind)

    @rule(name=names, symbol=symbols, lots=lots, away=st.integers(1, 4))
    def waiting_pairs(self, name: str, symbol: str, lots: int, away: int) -> None:
        """A buy below the market and a sale above it, of two accounts."""
        for account, side in product(("bob", "ann"), Side):
            sign = -1 if side is Side.BUY else 1
            order = self.make(f"{name}-{side}", symbol, side, lots)
            self.limit(account, order, sign * away, (TimeInForce.GTD, away % 2 == 0, 8 * away))

    def make(self, name: str, symbol: str, side: Side, lots: int) -> Order:
        """A market order of so many lots."""
        quantity = lots * self.markets[symbol].lot_step
        nothing = Amount(D(0), "USDT")  # the exchange reckons the reserve itself
        made = Time(self.now - 1)
        return Order(name, symbol, side, OrderType.MARKET, quantity, None, nothing, Purpose.ENTRY, made)

    def limit(self, account: str, order: Order, away: int, kind: Kind) -> None:
        """Send it as a limit order so many ticks above (or below) the bid."""
        time_in_force, post_only, lasts = kind
        market = self.markets[order.symbol]
        bid = market.price_down(self.exchange.quotes()[order.symbol].bid)
        limit = replace(
            order,
            type=OrderType.LIMIT,
            price=bid + away * market.tick_size,
            time_in_force=time_in_force,
            expires=Time(self.now + lasts) if time_in_force is TimeInForce.GTD else None,
            post_only=post_only,
        )
        self.send(account, limit)

    def send(self, account: str, order: Order) -> None:
        checked = self.exchange.check(account, order)
        reports = self.exchange.accept(account, order, Time(self.now))
        assert reports == self.twin.accept(account, order, Time(self.now))
        assert isinstance(reports[0], Rejected) == (checked is not None)
        if checked is None:
            self.open[account, order.client_id] = order, self.markets[order.symbol]
        self.hear([(account, report) for report in reports])

    @rule(account=accounts, name=names, side=sides)
    def cancel_one_of_a_pair(self, account: str, name: str, side: Side) -> None:
        self.cancel(account, f"{name}-{side}")

    @rule(account=accounts, name=names)
    def cancel(self, account: str, name: str) -> None:
        was_open = (account, name) in self.open
        reports = self.exchange.cancel(account, name, Time(self.now))
        assert reports == self.twin.cancel(account, name, Time(self.now))
        assert bool(reports) == was_open
        self.hear([(account, report) for report in reports])

    @rule(
        symbol=symbols,
        low=quarters,
        height=st.integers(0, 40),
        close=st.integers(0, 40),
        ago=st.integers(0, 1),
    )
    def candle(self, symbol: str, low: int, height: int, close: int, ago: int) -> None:
        opened, self.now = self.now - ago, self.now + 10
        end = low + min(close, height)
        bar = Candle(symbol, Time(opened), D(low) / 4, D(low + height) / 4, D(low) / 4, D(end) / 4, D(1))
        told = self.exchange.settle(bar, Time(self.now))
        assert told == self.twin.settle(bar, Time(self.now))
        self.hear(told)

    @rule(
        symbol=symbols,
        fee_asset=st.sampled_from(FeeAsset),
        fees=st.tuples(st.integers(0, 30), st.integers(0, 30)),
        precision=st.integers(0, 4),
        coarser=st.sampled_from([1, 2, 5]),
    )
    def change_rules(
        self, symbol: str, fee_asset: FeeAsset, fees: tuple[int, int], precision: int, coarser: int
    ) -> None:
        market = MARKETS[symbol]
        self.markets[symbol] = replace(
            market,
            fee_asset=fee_asset,
            maker_fee=D(fees[0]) / 1000,
            taker_fee=D(fees[1]) / 1000,
            quote_precision=precision,
            lot_step=market.lot_step * coarser,
            tick_size=market.tick_size * coarser,
            min_quantity=market.min_quantity * coarser,
        )
        self.exchange.list_market(self.markets[symbol])
        self.twin.list_market(self.markets[symbol])

    @precondition(lambda self: self.ids)
    @rule()
    def restart(self) -> None:
        shown, self.twin = self.twin, Exchange(self.markets, issued=max(self.ids))
        for account in reversed(ACCOUNTS):
            ledger = shown.ledger(account)
            balances = [ledger.total(asset) for asset in sorted(ledger.assets())]
            self.twin.restore(account, balances, shown.open_orders(account))
        for quote in shown.quotes().values():
            self.twin.quote(quote)

    def hear(self, told: list[tuple[str, Report]]) -> None:
        """Keep our own books from the reports."""
        for account, report in told:
            match report:
                case Fill():
                    self.book(account, report)
                    del self.open[account, report.client_id]  # a candle fills whole
                case Canceled() | Expired():
                    del self.open[account, report.client_id]
                case Accepted() | Rejected():
                    pass
                case _:
                    raise AssertionError(f"an exchange does not say {report}")
            if issued_in(report):
                assert issued_in(report) not in self.ids
                self.ids.add(issued_in(report))

    def book(self, account: str, fill: Fill) -> None:
        order, terms = self.open[account, fill.client_id]
        assert fill.quantity == order.quantity
        if order.price is not None:
            better = fill.price <= order.price if order.side is Side.BUY else fill.price >= order.price
            assert better and not (order.post_only and fill.liquidity is Liquidity.TAKER)
        rate = Fraction(terms.maker_fee if fill.liquidity is Liquidity.MAKER else terms.taker_fee)
        cost, fee = charged(order.side, terms, Fraction(fill.price), Fraction(fill.quantity), rate)
        assert Fraction(fill.cost.number) == cost
        in_base = terms.fee_asset is FeeAsset.BASE
        if order.side is Side.SELL and not in_base:
            fee = min(fee, cost)
        assert (Fraction(fill.fee.number), fill.fee.asset) == (fee, terms.base if in_base else terms.quote)
        sign = 1 if order.side is Side.BUY else -1
        self.owned[account, terms.base] += sign * Fraction(fill.quantity)
        self.owned[account, terms.quote] -= sign * cost
        self.owned[account, fill.fee.asset] -= fee
        self.fees[fill.fee.asset] += fee

    @invariant()
    def every_account_owns_what_its_reports_say(self) -> None:
        for exchange in (self.exchange, self.twin):
            for account in ACCOUNTS:
                for asset in ASSETS:
                    total = exchange.ledger(account).total(asset)
                    assert Fraction(total.number) == self.owned[account, asset]

    @invariant()
    def holds_are_what_the_open_orders_need_and_nothing_is_below_zero(self) -> None:
        for exchange in (self.exchange, self.twin):
            for account in ACCOUNTS:
                ours = {
                    place: Fraction(number)
                    for place, number in exchange.ledger(account).balances.items()
                    if place.startswith(("free", "held/"))
                }
                assert all(number > 0 for number in ours.values())
                assert {place: number for place, number in ours.items() if not place.startswith("free")} == {
                    f"held/{name}:{asset}": number
                    for (owner, name), (order, terms) in self.open.items()
                    for asset, number in [needed(order, terms)]
                    if owner == account
                }
                names = [waiting.order.client_id for waiting in exchange.open_orders(account)]
                assert names == [name for owner, name in self.open if owner == account]

    @invariant()
    def nothing_appears_or_vanishes(self) -> None:
        for asset in ASSETS:
            ledgers = [self.exchange.ledger(account) for account in ACCOUNTS]
            ours = sum(Fraction(ledger.total(asset).number) for ledger in ledgers)
            fees, market, external = (
                sum(Fraction(ledger.balance(place, asset).number) for ledger in ledgers)
                for place in (FEES, MARKET, EXTERNAL)
            )
            assert fees == self.fees[asset]
            assert external == -self.deposited[asset]
            assert ours + fees + market == self.deposited[asset]


def charged(
    side: Side, terms: Market, price: Fraction, quantity: Fraction, rate: Fraction
) -> tuple[Fraction, Fraction]:
    """(cost, fee) reckoned apart from the program."""
    unit, lot = Fraction(1, 10**terms.quote_precision), Fraction(terms.lot_step)
    cost = (ceil if side is Side.BUY else floor)(price * quantity / unit) * unit
    if terms.fee_asset is FeeAsset.BASE:
        return cost, ceil(quantity * rate / lot) * lot
    return cost, ceil(price * quantity * rate / unit) * unit


def needed(order: Order, terms: Market) -> tuple[str, Fraction]:
    """(asset, number) that a waiting order must hold."""
    assert order.price is not None
    maker, taker = Fraction(terms.maker_fee), Fraction(terms.taker_fee)
    rate = maker if order.post_only else max(maker, taker)
    cost, fee = charged(order.side, terms, Fraction(order.price), Fraction(order.quantity), rate)
    in_base = terms.fee_asset is FeeAsset.BASE
    if order.side is Side.BUY:
        return terms.quote, cost if in_base else cost + fee
    return terms.base, Fraction(order.quantity) + (fee if in_base else 0)


TestExchangeLife = ExchangeLife.TestCase
TestExchangeLife.settings = settings(
    max_examples=100, stateful_step_count=40, derandomize=True, deadline=None
)
