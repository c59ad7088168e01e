"""Which rules a run or a screen goes by: Kraken's dated facts under the settings' pins and floors."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import lru_cache

from lotwise.app.settings import Settings
from lotwise.app.terminal import Problem
from lotwise.domain.market import Market
from lotwise.domain.values import Time
from lotwise.kraken.fees import FEE_SCHEDULES
from lotwise.kraken.listings import LISTINGS
from lotwise.markets import DEFAULT_TIERS, Markets, UnknownMarket

LATEST = date.max
"""The day whose rules are the latest known ones: no clock is asked."""

Rules = Callable[[str, Time], Market | UnknownMarket]


def known_markets(settings: Settings) -> Markets:
    """Kraken's dated rules and fees under the policy's tier floors."""
    return Markets(LISTINGS, FEE_SCHEDULES, settings.sizing.tier_min_costs.model_dump(), DEFAULT_TIERS)


def rules_in_force(settings: Settings) -> Rules:
    """The rules of a pair at a time, as the settings pin them."""
    markets, rules = known_markets(settings), settings.rules
    market = markets.floors_alone if rules.rules_on == "floors" else markets.market

    @lru_cache(maxsize=4096)
    def on(symbol: str, day: date) -> Market | UnknownMarket:
        rules_on = day if rules.rules_on == "dated" else rules.rules_on
        fees_on = day if rules.fees_on == "dated" else rules.fees_on
        found = market(symbol, _pinned(rules_on), _pinned(fees_on), rules.volume_30d)
        return replace(found, fee_asset=settings.sizing.fee_asset) if isinstance(found, Market) else found

    dated = "dated" in (rules.rules_on, rules.fees_on)
    return lambda symbol, time: on(symbol, day_of(time) if dated else LATEST)


def none_known(remedies: Mapping[str, str]) -> Problem:
    """No pair has rules, so that nothing can be traded or said; with what to do about each."""
    lines = (f"{symbol}: {remedy}" for symbol, remedy in remedies.items())
    return Problem("\n  ".join(["no pair can be traded, for the rules of none are known:", *lines]))


def _pinned(day: date | str) -> date:
    return day if isinstance(day, date) else LATEST


def day_of(time: Time) -> date:
    """The UTC day of a time."""
    return datetime.fromtimestamp(time / 1000, tz=UTC).date()


def time_of(day: date) -> Time:
    """The beginning of a UTC day."""
    return Time(int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000)
