"""Whatever accounts and a crowd do to each other in a book, no unit of money appears or vanishes, every
order lives by the table, every hold covers what trades take, and a saved exchange goes on as it was."""

import json
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

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
NAMES = tuple("klmnopqrst")
HOUSE = HouseRules(matching=Matching.BOOK, max_open_orders=12)

# Steps so coarse that most costs and fees are rounded, and a pair whose quote is another's base.
MARKETS = {
    "SOL/USDT": Market("SOL/USDT", D("0.5"), D("0.01"), D("0.02"), D("0.3"), 1, D("0.004"), D("0.008")),
    "SOL/ADA": Market(
        "SOL/ADA", D("0.2"), D("0.1"), D("0.1"), D(0), 0, D("0.02"), D("0.01"), fee_asset=FeeAsset.BASE
    ),
}

SLEEPING = [type for type in OrderType if type.has_trigger]
CLOSINGS = (OrderType.LIMIT, OrderType.STOP_LOSS, OrderType.TAKE_PROFIT)
STEPS = 120
Handling = tuple[SelfTrade, tuple[OrderType, int | None, int | None] | None]


class BookLife:
    """One exchange, what may happen to it by chance, and what its laws say of it then."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.exchange = Exchange(MARKETS, house=HOUSE)
        self.markets = dict(MARKETS)
        self.now = 1000
        self.deposited: dict[str, Fraction] = defaultdict(Fraction)
        self.states: dict[tuple[str, str], OrderState] = {}
        self.seen: dict[str, int] = defaultdict(int)

    def first_money(self, crowded: bool) -> None:
        for account in ACCOUNTS[:2]:
            for asset in ASSETS:
                self.deposit(account, asset, 200_000)
        if crowded:
            assumed = CrowdSettings(turnover=300, trades=1800, half_spread=0.004, resting=0.5, levels=4)
            for seed, (symbol, price) in enumerate((("SOL/USDT", 10.0), ("SOL/ADA", 4.0))):
                walk = Walk(price, 3.0, Dice(seed), self.now)
                self.exchange.live(symbol, Crowd(assumed, walk, Dice(seed + 7), Time(2000)))

    def step(self) -> None:
        """Something happens."""
        chance = self.chance
        account, symbol, side = (
            chance.choice(ACCOUNTS),
            chance.choice(sorted(MARKETS)),
            chance.choice([*Side]),
        )
        lots, price, which = chance.randint(2, 60), chance.randint(15, 25), chance.randint(0, 50)
        order = self.make(chance.choice(NAMES), symbol, side, lots)
        match chance.randint(0, 24):
            case 0:
                self.deposit(account, chance.choice(ASSETS), chance.randint(1, 5000))
            case 1 | 2:
                self.send(account, order, self.handling())
            case 3 | 4 | 5 | 6 | 7 | 8:
                kind = chance.choice([*TimeInForce, TimeInForce.GTC, TimeInForce.GTC, None, None])
                self.limit_order(account, order, price, kind)
            case 9 | 10 | 11:
                self.sleeping_order(account, order, (price, chance.randint(15, 25)), chance.choice(SLEEPING))
            case 12:
                self.cancel(account, which)
            case 13 | 14 | 15:
                self.amend(account, which, chance.choice([None, lots]), chance.choice([None, price]))
            case 16:
                self.exchange_one(account, which, lots, price)
            case 17 | 18:
                self.advance(chance.choice([1, 300, 1000, 2700]))
            case 19 | 20:
                self.show_depth(symbol, price, [chance.randint(0, 40) for _ in range(6)])
            case 21:
                fees = chance.randint(0, 30), chance.randint(0, 30)
                self.change_rules(symbol, chance.choice([*FeeAsset]), fees, chance.choice([1, 1, 2, 5]))
            case 22:
                status = chance.choice([*MarketStatus, *[MarketStatus.ONLINE] * 9])
                self.exchange.set_status(symbol, status)
            case 23 if chance.random() < 0.5:
                self.restart(chance.choice([0, 1500, 4000]), side, symbol)
            case _:
                self.amend(account, which, lots, price)

    def handling(self) -> Handling:
        chance = self.chance
        type = chance.choice([None, None, *CLOSINGS])
        if type is None:
            return chance.choice([*SelfTrade]), None
        at = chance.randint(15, 25)
        closing = (type, at, None) if type is OrderType.LIMIT else (type, None, at)
        return chance.choice([*SelfTrade]), closing

    def deposit(self, account: str, asset: str, cents: int) -> None:
        self.exchange.deposit(account, Amount(D(cents) / 100, asset), Time(self.now))
        self.deposited[asset] += Fraction(cents, 100)

    def limit_order(self, account: str, order: Order, price: int, kind: TimeInForce | None) -> None:
        """No kind: post-only."""
        order = replace(
            order,
            type=OrderType.LIMIT,
            price=price * self.markets[order.symbol].tick_size,
            time_in_force=kind or TimeInForce.GTC,
            post_only=kind is None,
            expires=Time(self.now + 2500) if kind is TimeInForce.GTD else None,
        )
        self.send(account, order, self.handling())

    def sleeping_order(self, account: str, order: Order, at: tuple[int, int], type: OrderType) -> None:
        tick = self.markets[order.symbol].tick_size
        price = at[1] * tick if type.has_limit else None
        self.send(account, replace(order, type=type, trigger=at[0] * tick, price=price), self.handling())

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

    def cancel(self, account: str, which: int) -> None:
        waiting = self.exchange.open_orders(account)
        if waiting:
            order = waiting[which % len(waiting)].order
            assert self.exchange.cancel(account, order.client_id, Time(self.now))

    def amend(self, account: str, which: int, lots: int | None, price: int | None) -> None:
        waiting = self.exchange.open_orders(account)
        if not waiting:
            return
        order = waiting[which % len(waiting)].order
        market = self.markets[order.symbol]
        at = None if price is None else price * market.tick_size
        quantity = None if lots is None else lots * market.lot_step
        amendment = Amendment(
            quantity, None if order.price is None else at, post_only=self.chance.random() < 0.5
        )
        if order.trigger is not None and order.price is None:
            amendment = replace(amendment, trigger=at)
        before = self.exchange.open_orders(account), self.exchange.ledger(account)
        answer = self.exchange.amend(account, order.client_id, amendment, Time(self.now))
        if not isinstance(answer, list):
            assert (self.exchange.open_orders(account), self.exchange.ledger(account)) == before

    def exchange_one(self, account: str, which: int, lots: int, price: int) -> None:
        waiting = self.exchange.open_orders(account)
        if not waiting:
            return
        old = waiting[which % len(waiting)].order
        market = self.markets[old.symbol]
        order = replace(
            self.make(self.chance.choice(NAMES), old.symbol, old.side, lots),
            type=OrderType.LIMIT,
            price=price * market.tick_size,
        )
        before = self.exchange.open_orders(account), self.exchange.ledger(account)
        answer = self.exchange.replace(account, old.client_id, order, Time(self.now))
        if not isinstance(answer, list):
            assert (self.exchange.open_orders(account), self.exchange.ledger(account)) == before

    def advance(self, passed: int) -> None:
        self.now += passed
        self.exchange.advance(Time(self.now))

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


@settings(max_examples=25, derandomize=True, deadline=None)
@given(seed=st.integers(0, 2**32), crowded=st.booleans())
def test_the_laws_hold_whatever_happens(seed: int, crowded: bool) -> None:
    life = BookLife(Random(seed))
    life.first_money(crowded)
    for _ in range(STEPS):
        life.step()
        life.nothing_appears_or_vanishes()
        life.balances_are_the_sums_of_their_rows_and_holds_those_of_the_open_orders()
        life.the_book_never_crosses_and_shows_all_that_waits()
        life.every_order_lives_by_the_table()
