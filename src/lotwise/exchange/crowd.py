"""Everybody else: a seeded crowd that keeps a book alive around a fair price.

Laws: time goes in whole steps, so that however it is told the time, equal times give equal bytes; the fair
price is not the crowd's to move, and it promises nothing: the crowd trades either side with equal odds.
All that says how much and how often is an assumption, not a measurement: see CrowdSettings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from lotwise.domain.orders import OrderType
from lotwise.domain.values import Side, Time, require
from lotwise.exchange.book import opposite
from lotwise.exchange.book_matcher import BookMatcher
from lotwise.exchange.dice import Dice
from lotwise.exchange.paths import Path

STEP = 1000
"""Milliseconds between two moves of the crowd."""

SIDES = (Side.BUY, Side.SELL)
FAR = 3.0
"""A nearest order so many half spreads away is made anew."""

REACH = 0.01
"""The farthest of its orders stand so far from the fair price, and it pays no worse."""


@dataclass(frozen=True, slots=True)
class CrowdSettings:
    """Assumptions. turnover: quote units traded in an hour; trades: how many in an hour; half_spread: the
    nearest orders stand so far from the fair price (a fraction); resting: what waits on each side within
    REACH, in hours of turnover (far orders are larger, and each is a quarter to seven quarters of what is
    usual); levels: orders on each side. Raises BadField."""

    turnover: float = 60_000.0
    trades: int = 720
    half_spread: float = 0.0003
    resting: float = 0.5
    levels: int = 20

    def __post_init__(self) -> None:
        require(self.turnover > 0, "turnover", "must be above 0")
        require(0 < self.trades <= 3600, "trades", "must be from 1 to 3600")
        require(0 < self.half_spread < REACH, "half_spread", f"must be between 0 and {REACH}")
        require(self.resting > 0, "resting", "must be above 0")
        require(2 <= self.levels <= 1000, "levels", "must be from 2 to 1000")

    def offset(self, level: int) -> float:
        """How far from the fair price a level stands: near ones close together, far ones wide apart."""
        part = level / (self.levels - 1)
        return self.half_spread + (REACH - self.half_spread) * part * part


class Taking(NamedTuple):
    """One of the crowd wants to trade at once: `limit` in ticks."""

    side: Side
    lots: int
    limit: int
    type: OrderType


Take = Callable[[Taking], int]
"""Carries out a taking; the lots it got."""


def join(matcher: BookMatcher, wanted: Taking, take: Take) -> int:
    """Let one of the crowd take what its limit reaches and wait with the rest; its number, 0 when nothing is
    left. What follows from a trade may bring another order within reach, so it looks again each time."""
    lots = wanted.lots
    while lots > 0:
        other = matcher.book.best(opposite(wanted.side))
        if other is None or (wanted.limit < other if wanted.side is Side.BUY else wanted.limit > other):
            return matcher.add_crowd(wanted.side, wanted.limit, lots)
        lots -= take(wanted._replace(lots=lots))
    return 0


class Crowd:
    """The crowd of one pair. `due` is the time of its next step. Each of its levels is one order or none."""

    def __init__(self, settings: CrowdSettings, path: Path, dice: Dice, due: Time) -> None:
        self.settings = settings
        self.path = path
        self.dice = dice
        self.due = due
        self.numbers = {side: [0] * settings.levels for side in SIDES}
        """The latest order of each level, nearest first; it may be gone."""
        self.offsets = [settings.offset(level) for level in range(settings.levels)]

    def skip(self) -> None:
        """Let one step pass without a move."""
        self.due = Time(self.due + STEP)

    def step(self, matcher: BookMatcher, take: Take) -> None:
        """Live through one step; `take` carries out its trades."""
        now, self.due = self.due, Time(self.due + STEP)
        matcher.book.time = now
        move = _Move(self, matcher, take)
        move.withdraw()
        for side in SIDES:
            if move.is_far(side, self.numbers[side][0]):
                move.place(side, 0)
        chance = self.dice.word()
        move.place(SIDES[chance & 1], (chance >> 1 & 0xFFFF) * self.settings.levels >> 16)
        if (chance >> 17 & 0xFFFF) * 3600 >> 16 < self.settings.trades:
            move.trade(SIDES[chance >> 33 & 1])


class _Move:
    """What a crowd does in one step, around one fair price. `tick` and `lot` are the market's steps in
    those of its book."""

    def __init__(self, crowd: Crowd, matcher: BookMatcher, take: Take) -> None:
        self.crowd = crowd
        self.matcher = matcher
        self.take = take
        price = crowd.path.at(crowd.due - STEP)
        self.tick, self.lot = matcher.tick_steps, matcher.lot_steps
        self.fair = price / (matcher.float_tick * self.tick)
        self.lots_of_one = 1.0 / (price * matcher.float_lot * self.lot)

    def bound(self, side: Side, offset: float) -> int:
        """The price so far from the fair one, rounded away from it."""
        tick = self.tick
        if side is Side.BUY:
            return max(1, int(self.fair * (1.0 - offset))) * tick
        return (int(self.fair * (1.0 + offset)) + 1) * tick

    def withdraw(self) -> None:
        """Take back the orders that the fair price has come too close to."""
        book, nearest = self.matcher.book, self.crowd.settings.half_spread / 2
        for side in SIDES:
            bound, close = self.bound(side, nearest), []
            sign = 1 if side is Side.BUY else -1
            for resting in book.queue(side):
                if (resting.price - bound) * sign <= 0:
                    break
                if resting.owner is None:
                    close.append(resting.number)
            for number in close:
                book.cancel(number)

    def is_far(self, side: Side, number: int) -> bool:
        """Whether a side's nearest order is gone or stands too far away to be the nearest."""
        if number not in self.matcher.book:
            return True
        price = self.matcher.book[number].price
        bound = self.bound(side, FAR * self.crowd.settings.half_spread)
        return price < bound if side is Side.BUY else price > bound

    def place(self, side: Side, level: int) -> None:
        """Put an order on a level in place of what stood there; what it meets on its way it takes."""
        book, numbers = self.matcher.book, self.crowd.numbers[side]
        if numbers[level] in book:
            book.cancel(numbers[level])
        numbers[level] = 0
        near, large = self.crowd.dice.fractions()
        price = self.bound(side, self.crowd.offsets[level] * (0.9 + 0.2 * near))
        settings = self.crowd.settings
        share = (0.5 + level / settings.levels) / settings.levels
        lots = self.lots(settings.turnover * settings.resting * share * (0.25 + 1.5 * large))
        numbers[level] = join(self.matcher, Taking(side, lots, price, OrderType.LIMIT), self.take)

    def trade(self, side: Side) -> None:
        """One of the crowd takes what is best, often little and sometimes much."""
        settings = self.crowd.settings
        one, other = self.crowd.dice.fractions()
        lots = self.lots(settings.turnover / settings.trades * 4.0 * one * other)
        self.take(Taking(side, lots, self.bound(opposite(side), REACH), OrderType.MARKET))

    def lots(self, quote: float) -> int:
        """The lots for so much quote, and no fewer than an order must have."""
        return max(self.matcher.least_lots, int(quote * self.lots_of_one) * self.lot)
