"""Whatever accounts and a crowd do to each other in a book, no unit of money appears or vanishes, every
order lives by the table, every hold covers what trades take, and a saved exchange goes on as it was."""

import json
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lotwise.domain.market import FeeAsset, Market, MarketStatus
from lotwise.domain.orders import (
    ENDED,
    Accepted,
    Order,
    OrderState,
    OrderType,
    Purpose,
    Rejected,
    TimeInForce,
    after,
)
from lotwise.domain.values import Amount, Side, Time
from lotwise.exchange.crowd import Crowd, CrowdSettings
from lotwise.exchange.dice import Dice
from lotwise.exchange.events import Amended, Amendment, Closing, Instructions, SelfTrade, Triggered
from lotwise.exchange.exchange import Exchange
from lotwise.exchange.house import HouseRules, Matching
from lotwise.exchange.paths import Walk
from lotwise.ledger.postings import EXTERNAL, FEES, MARKET

D = Decimal
ACCOUNTS = ("ann", "bob", "cyd")
ASSETS = ("USDT", "SOL", "ADA")
NAMES = ("p", "q", "r", "s")
HOUSE = HouseRules(matching=Matching.BOOK, max_open_orders=12)

# Steps so coarse that most costs and fees are rounded, and a pair whose quote is another's base.
MARKETS = {
    "SOL/USDT": Market("SOL/USDT", D("0.5"), D("0.01"), D("0.02"), D("0.3"), 1, D("0.004"), D("0.008")),
    "SOL/ADA": Market(
        "SOL/ADA", D("0.2"), D("0.1"), D("0.1"), D(0), 0, D("0.02"), D("0.01"), fee_asset=FeeAsset.BASE
    ),
}

accounts = st.sampled_from(ACCOUNTS)
names = st.sampled_from(NAMES)
symbols = st.sampled_from(sorted(MARKETS))
sides = st.sampled_from(Side)
lots = st.integers(2, 60)
ticks = st.integers(15, 25)
closings = st.one_of(
    st.none(),
    st.tuples(st.just(OrderType.LIMIT), ticks, st.none()),
    st.tuples(st.sampled_from([OrderType.STOP_LOSS, OrderType.TAKE_PROFIT]), st.none(), ticks),
)
SLEEPING = [type for type in OrderType if type.has_trigger]
handling = st.tuples(st.sampled_from(SelfTrade), closings)
Handling = tuple[SelfTrade, tuple[OrderType, int | None, int | None] | None]


class BookLife(RuleBasedStateMachine):
    """One exchange, and what its laws say of it."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange = Exchange(MARKETS, house=HOUSE)
        self.markets = dict(MARKETS)
        self.now = 1000
        self.deposited: dict[str, Fraction] = defaultdict(Fraction)
        self.states: dict[tuple[str, str], OrderState] = {}
        self.seen: dict[str, int] = defaultdict(int)

    @initialize(crowded=st.booleans())
    def first_money(self, crowded: bool) -> None:
        for account in ACCOUNTS[:2]:
            for asset in ASSETS:
                self.deposit(account, asset, 200_000)
        if crowded:
            assumed = CrowdSettings(turnover=300, trades=1800, half_spread=0.004, resting=0.5, levels=4)
            for seed, (symbol, price) in enumerate((("SOL/USDT", 10.0), ("SOL/ADA", 4.0))):
                walk = Walk(price, 3.0, Dice(seed), self.now)
                self.exchange.live(symbol, Crowd(assumed, walk, Dice(seed + 7), Time(2000)))

    @rule(account=accounts, asset=st.sampled_from(ASSETS), cents=st.integers(1, 5_000))
    def deposit(self, account: str, asset: str, cents: int) -> None:
        self.exchange.deposit(account, Amount(D(cents) / 100, asset), Time(self.now))
        self.deposited[asset] += Fraction(cents, 100)

    @rule(account=accounts, name=names, symbol=symbols, side=sides, lots=lots, handling=handling)
    def market_order(
        self, account: str, name: str, symbol: str, side: Side, lots: int, handling: Handling
    ) -> None:
        self.send(account, self.make(name, symbol, side, lots), handling)

    @rule(account=accounts, name=names, symbol=symbols, side=sides, lots=lots, price=ticks,
          kind=st.sampled_from([*TimeInForce, None]), handling=handling)  # fmt: skip
    def limit_order(
        self,
        account: str,
        name: str,
        symbol: str,
        side: Side,
        lots: int,
        price: int,
        kind: TimeInForce | None,
        handling: Handling,
    ) -> None:
        order = replace(
            self.make(name, symbol, side, lots),
            type=OrderType.LIMIT,
            price=price * self.markets[symbol].tick_size,
            time_in_force=kind or TimeInForce.GTC,
            post_only=kind is None,
            expires=Time(self.now + 2500) if kind is TimeInForce.GTD else None,
        )
        self.send(account, order, handling)

    @rule(account=accounts, name=names, symbol=symbols, side=sides, lots=lots, at=st.tuples(ticks, ticks),
          type=st.sampled_from(SLEEPING), handling=handling)  # fmt: skip
    def sleeping_order(
        self,
        account: str,
        name: str,
        symbol: str,
        side: Side,
        lots: int,
        at: tuple[int, int],
        type: OrderType,
        handling: Handling,
    ) -> None:
        tick = self.markets[symbol].tick_size
        order = replace(
            self.make(name, symbol, side, lots),
            type=type,
            trigger=at[0] * tick,
            price=at[1] * tick if type.has_limit else None,
        )
        self.send(account, order, handling)

    def make(self, name: str, symbol: str, side: Side, lots: int) -> Order:
        quantity = lots * self.markets[symbol].lot_step
        nothing = Amount(D(0), "USDT")
        return Order(
            name, symbol, side, OrderType.MARKET, quantity, None, nothing, Purpose.ENTRY, Time(self.now)
        )

    def send(self, account: str, order: Order, handling: Handling) -> None:
        self_trade, closing = handling
        hanging = None
        if closing is not None:
            tick = self.markets[order.symbol].tick_size
            type, price, trigger = closing
            price_and_trigger = [None if at is None else at * tick for at in (price, trigger)]
            hanging = Closing(type, *price_and_trigger)
        how = Instructions(self_trade, hanging)
        before = self.exchange.ledger(account)
        refused = self.exchange.check(account, order, how)
        assert self.exchange.ledger(account) == before
        told = self.exchange.accept(account, order, Time(self.now), how)
        first = told[0]
        assert (first.rejection if isinstance(first, Rejected) else None) == refused

    @rule(account=accounts, which=st.integers(0, 50))
    def cancel(self, account: str, which: int) -> None:
        waiting = self.exchange.open_orders(account)
        if waiting:
            order = waiting[which % len(waiting)].order
            assert self.exchange.cancel(account, order.client_id, Time(self.now))

    @rule(account=accounts, which=st.integers(0, 50), lots=st.one_of(st.none(), lots),
          price=st.one_of(st.none(), ticks), quiet=st.booleans())  # fmt: skip
    def amend(self, account: str, which: int, lots: int | None, price: int | None, quiet: bool) -> None:
        waiting = self.exchange.open_orders(account)
        if not waiting:
            return
        order = waiting[which % len(waiting)].order
        market = self.markets[order.symbol]
        at = None if price is None else price * market.tick_size
        quantity = None if lots is None else lots * market.lot_step
        amendment = Amendment(quantity, None if order.price is None else at, post_only=quiet)
        if order.trigger is not None and order.price is None:
            amendment = replace(amendment, trigger=at)
        before = self.exchange.open_orders(account), self.exchange.ledger(account)
        answer = self.exchange.amend(account, order.client_id, amendment, Time(self.now))
        if not isinstance(answer, list):
            assert (self.exchange.open_orders(account), self.exchange.ledger(account)) == before

    @rule(account=accounts, which=st.integers(0, 50), name=names, lots=lots, price=ticks)
    def exchange_one(self, account: str, which: int, name: str, lots: int, price: int) -> None:
        waiting = self.exchange.open_orders(account)
        if not waiting:
            return
        old = waiting[which % len(waiting)].order
        market = self.markets[old.symbol]
        order = replace(
            self.make(name, old.symbol, old.side, lots), type=OrderType.LIMIT, price=price * market.tick_size
        )
        before = self.exchange.open_orders(account), self.exchange.ledger(account)
        answer = self.exchange.replace(account, old.client_id, order, Time(self.now))
        if not isinstance(answer, list):
            assert (self.exchange.open_orders(account), self.exchange.ledger(account)) == before

    @rule(passed=st.sampled_from([1, 300, 1000, 2700]))
    def advance(self, passed: int) -> None:
        self.now += passed
        self.exchange.advance(Time(self.now))

    @rule(symbol=symbols, middle=ticks, sizes=st.lists(st.integers(0, 40), min_size=6, max_size=6))
    def show_depth(self, symbol: str, middle: int, sizes: list[int]) -> None:
        market = self.markets[symbol]
        levels = [
            ((middle + away) * market.tick_size, some * market.lot_step)
            for away, some in zip((-3, -2, -1, 1, 2, 3), sizes, strict=True)
            if some
        ]
        bids = [level for level in levels if level[0] < middle * market.tick_size]
        asks = [level for level in levels if level[0] > middle * market.tick_size]
        self.exchange.show_depth(symbol, bids, asks, Time(self.now))

    @rule(symbol=symbols, fee_asset=st.sampled_from(FeeAsset), fees=st.tuples(*[st.integers(0, 30)] * 2),
          finer=st.sampled_from([1, 1, 2, 5]))  # fmt: skip
    def change_rules(self, symbol: str, fee_asset: FeeAsset, fees: tuple[int, int], finer: int) -> None:
        market = MARKETS[symbol]
        self.markets[symbol] = replace(
            market,
            fee_asset=fee_asset,
            maker_fee=D(fees[0]) / 1000,
            taker_fee=D(fees[1]) / 1000,
            lot_step=market.lot_step / finer,
            tick_size=market.tick_size / finer,
            min_quantity=market.min_quantity / finer,
        )
        self.exchange.list_market(self.markets[symbol])

    @rule(symbol=symbols, status=st.sampled_from([*MarketStatus, *[MarketStatus.ONLINE] * 6]))
    def change_status(self, symbol: str, status: MarketStatus) -> None:
        self.exchange.set_status(symbol, status)

    @rule(passed=st.sampled_from([0, 1500, 4000]), side=sides, symbol=symbols)
    def restart(self, passed: int, side: Side, symbol: str) -> None:
        """Saved and put back, it goes on as the one that never stopped; the test goes on with it."""
        saved = json.loads(json.dumps(self.exchange.state()))
        other = Exchange.from_state(saved, HOUSE)
        assert other.state() == self.exchange.state()
        self.now += passed
        order = replace(self.make("z", symbol, side, 20), time=Time(self.now))
        done = [
            (
                exchange.advance(Time(self.now)),
                exchange.accept("ann", order, Time(self.now)),
                exchange.state(),
            )
            for exchange in (self.exchange, other)
        ]
        assert done[0] == done[1]
        self.exchange = other

    @invariant()
    def nothing_appears_or_vanishes(self) -> None:
        strangers = self.exchange.strangers()
        for asset in ASSETS:
            ledgers = [self.exchange.ledger(account) for account in ACCOUNTS]
            ours = sum(Fraction(ledger.total(asset).number) for ledger in ledgers)
            fees, market, external = (
                sum(Fraction(ledger.balance(place, asset).number) for ledger in ledgers)
                for place in (FEES, MARKET, EXTERNAL)
            )
            crowd, rounding = (Fraction(side.get(asset, D(0))) for side in strangers)
            assert external == -self.deposited[asset]
            assert market == crowd + rounding
            assert ours + fees + crowd + rounding == self.deposited[asset]
            assert rounding >= 0

    @invariant()
    def balances_are_the_sums_of_their_rows_and_holds_those_of_the_open_orders(self) -> None:
        for account in ACCOUNTS:
            ledger, history = self.exchange.ledger(account), self.exchange.history(account)
            sums: dict[str, Decimal] = defaultdict(Decimal)
            for row in history.rows:
                sums[row.asset] += row.amount - row.fee
                assert sums[row.asset] == row.balance
            for asset in ASSETS:
                assert ledger.total(asset).number == sums[asset] == history.owned.get(asset, 0)
            held: dict[str, Decimal] = {}
            for waiting in self.exchange.open_orders(account):
                assert waiting.held.number >= 0
                if waiting.held.number:
                    held[f"held/{waiting.order.client_id}:{waiting.held.asset}"] = waiting.held.number
            assert held == {k: v for k, v in ledger.balances.items() if k.startswith("held/")}

    @invariant()
    def the_book_never_crosses_and_shows_all_that_waits(self) -> None:
        for symbol in MARKETS:
            book = self.exchange.book(symbol)
            bids, asks = book.depth(Side.BUY, 1), book.depth(Side.SELL, 1)
            assert not bids or not asks or bids[0].price < asks[0].price
            for side in Side:
                shown = {level.price: level.quantity for level in book.depth(side, 1000)}
                assert all(shown.values())
                for account in ACCOUNTS:
                    for waiting in self.exchange.open_orders(account):
                        order = waiting.order
                        if (order.symbol, order.side) == (symbol, side) and not waiting.sleeps:
                            assert order.price is not None
                            assert 0 < waiting.rest <= shown[order.price]

    @invariant()
    def every_order_lives_by_the_table(self) -> None:
        for account in ACCOUNTS:
            news = self.exchange.history(account).events.since(self.seen[account])
            assert news is not None
            for number, event in news:
                self.seen[account] = number
                key = account, event.client_id
                match event:
                    case Accepted():
                        made = self.make(event.client_id, "SOL/USDT", Side.BUY, 10**9)
                        self.states[key] = after(OrderState(made), event)
                    case Rejected() | Amended() | Triggered():
                        pass
                    case _:
                        self.states[key] = after(self.states[key], event)
            open_names = {waiting.order.client_id for waiting in self.exchange.open_orders(account)}
            closed = self.exchange.history(account).closed
            assert {c.order.order.client_id for c in closed} | open_names >= open_names
            for waiting in self.exchange.open_orders(account):
                state = self.states[account, waiting.order.client_id]
                assert state.status not in ENDED
                assert state.filled == waiting.filled


TestBookLife = BookLife.TestCase
TestBookLife.settings = settings(max_examples=60, stateful_step_count=40, derandomize=True, deadline=None)
