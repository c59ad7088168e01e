"""What stands in the way of a run on Kraken: looked at by its start and by `lotwise doctor` alike.

Law: a finding that is bad is one sentence (what was seen: what to do) and one exit code; doctor shows it as a
row, a run ends with it before anything is sent or written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from lotwise.app.accounts import account_name
from lotwise.app.allotment import reach, remedy, share_of
from lotwise.app.kraken import STATUS_PAGE, Place, clock, trouble
from lotwise.app.live import live_settings
from lotwise.app.rules import LATEST, known_markets
from lotwise.app.settings import Settings
from lotwise.app.summary import money_up
from lotwise.app.terminal import UNAVAILABLE, UNSAFE, Problem
from lotwise.domain.market import Listing
from lotwise.domain.values import Amount, Time, plain
from lotwise.engine.records import Listed
from lotwise.engine.state import State
from lotwise.kraken.signature import Credentials
from lotwise.markets import UnknownMarket
from lotwise.venues.kraken.facts import (
    Clocks,
    KeyInfo,
    System,
    clocks,
    greeting,
    key_info,
    listed_in,
    prices,
)
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest
from lotwise.venues.kraken.socket import connect
from lotwise.venues.kraken.stream import Line

DAY = 86_400_000
WHOLE = 1_000
"""Milliseconds of the unit in which Kraken tells its time."""

ONLINE, MAINTENANCE = "online", "maintenance"
CURRENCIES = ("USD", "EUR", "USDC", "USDT", "GBP")
"""What the default pairs may be paid with, as Kraken lists them."""


class Verdict(StrEnum):
    FINE = "fine"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, what was seen, the remedy where one is needed, and the exit code where
    no live run can begin."""

    check: str
    verdict: Verdict
    seen: str
    remedy: str = ""
    code: int = 0

    @property
    def problem(self) -> Problem:
        """The end of a run that met it."""
        return Problem(f"{self.seen}: {self.remedy}", self.code)


def fine(check: str, seen: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Verdict.FINE, seen)


def warning(check: str, seen: str, what_to_do: str) -> Finding:
    """A run may begin all the same."""
    return Finding(check, Verdict.WARNING, seen, what_to_do)


def bad(check: str, seen: str, what_to_do: str, code: int = UNSAFE) -> Finding:
    """No live run can begin."""
    return Finding(check, Verdict.BAD, seen, what_to_do, code)


def unanswered(check: str, no: Refused | NoAnswer, place: Place) -> Finding:
    """A call that brought nothing."""
    return bad(check, *trouble(no, place))


def must(findings: Iterable[Finding]) -> list[Finding]:
    """The findings; Problem for the first that is bad."""
    found = list(findings)
    for finding in found:
        if finding.verdict is Verdict.BAD:
            raise finding.problem
    return found


def clock_found(seen: Clocks) -> Finding:
    """Our clock beside Kraken's, which tells whole seconds, cut off: what is left is known to a second."""
    low, high = seen.ahead - WHOLE - seen.took // 2, seen.ahead + seen.took // 2
    if low <= 0 <= high:
        return fine("clock", f"ours is Kraken's, to {(high - low) / 1000:.1f} s")
    words = f"our clock is {(low + high) / 2000:+.1f} s off Kraken's"
    if not seen.wrong:
        return fine("clock", words)
    return bad("clock", words, "set it (NTP): orders carry a deadline, and bars close by it")


def system_found(told: System, place: Place) -> list[Finding]:
    """How the exchange is, and what comes."""
    words = f"{place.name} is {told.status}"
    if told.status == ONLINE:
        found = [fine("status", words)]
    elif told.status == MAINTENANCE:
        what = f"wait until it is online ({STATUS_PAGE})"
        found = [bad("status", f"{place.name} is in maintenance", what, UNAVAILABLE)]
    else:
        found = [warning("status", words, f"wait: nothing is bought until it is online ({STATUS_PAGE})")]
    if told.ahead:
        seen = f"maintenance within 72 hours: {'; '.join(told.ahead)}"
        found.append(warning("maintenance ahead", seen, "stops that the run watches are not watched then"))
    else:
        found.append(fine("maintenance ahead", "none is told for the next 72 hours"))
    if told.incidents:
        seen = f"not over yet: {'; '.join(told.incidents)}"
        found.append(warning("incidents", seen, f"read on at {STATUS_PAGE} whether it touches your pairs"))
    return found


def key_found(info: KeyInfo) -> list[Finding]:
    """Whether the key may do what it must and no more."""
    may_withdraw, may_trade, window = "key may withdraw", "key may trade", "key's nonce window"
    lacks = ", ".join(sorted(info.lacks))
    return [
        bad(may_withdraw, "this key may withdraw money", "make one that cannot; lotwise refuses it")
        if info.may_withdraw
        else fine(may_withdraw, "no"),
        bad(may_trade, f"this key lacks {lacks}", "allow it on Kraken's key page")
        if lacks
        else fine(may_trade, "yes"),
        bad(
            window,
            f"this key has a nonce window of {info.nonce_window}",
            "set it to 0 on Kraken's key page: within a window an order that the network doubles is two",
        )
        if info.nonce_window
        else fine(window, "0"),
    ]


def bounds_found(info: KeyInfo, now: Time) -> list[Finding]:
    """From where and until when a key works."""
    addresses, expiry = "key's addresses", "key's expiry"
    found = [
        fine(addresses, "restricted")
        if info.address_bound
        else warning(addresses, "any", "bind the key to this machine's address")
    ]
    if info.valid_until is None:
        return [*found, warning(expiry, "never", "give it an end, and a date to renew it")]
    days = (info.valid_until - now) // DAY
    if days >= 7:
        return [*found, fine(expiry, f"in {days} days")]
    return [*found, warning(expiry, f"in {days} days", "renew it: make another of the same account")]


async def streams_found(place: Place, private: bool) -> Finding:
    """Whether Kraken greets us where prices (and our orders' fates) are told."""
    addresses = [place.public_stream, *([place.private_stream] if private else [])]
    for address in addresses:
        try:
            await greeting(Line(address, connect, clock))
        except NoAnswer as no:
            where = "the network" if place.ws_url is None else "the address (--ws-url)"
            seen = f"the stream at {address} does not answer as Kraken's does ({no})"
            return bad("streams", seen, f"look at {where}, and at a proxy between", UNAVAILABLE)
    return fine("streams", "answer")


async def pairs_found(
    rest: Rest, settings: Settings, listings: Mapping[str, Listed], held: Mapping[str, Amount]
) -> list[Finding]:
    """The pairs that Kraken does not list, and where it lists none, which currency to use. Raises Refused,
    NoAnswer."""
    absent = [symbol for symbol in settings.pairs if symbol not in listings]
    if not absent:
        return []
    seen = f"Kraken lists none of {', '.join(absent)}"
    if listings:
        return [warning("pairs", seen, "the run goes without; take them out of `pairs`")]
    found = await _elsewhere(rest, settings)
    if not found:
        return [bad("pairs", seen, "name others in `pairs`", UNAVAILABLE)]
    there = ", ".join(f"{len(coins)} of them in {quote}" for quote, coins in found.items())
    best = _held(found, held)
    what = f"choose --stake {best}, which the account holds" if best else f"choose --stake {_most(found)}"
    return [bad("pairs", seen, f"it lists {there}; {what}", UNAVAILABLE)]


async def _elsewhere(rest: Rest, settings: Settings) -> dict[str, list[str]]:
    """In which other currencies Kraken lists which of our coins. Raises Refused, NoAnswer."""
    bases = [symbol.partition("/")[0] for symbol in settings.pairs]
    return await listed_in(rest, bases, [one for one in CURRENCIES if one != settings.stake_currency])


def _held(found: Mapping[str, list[str]], held: Mapping[str, Amount]) -> str | None:
    """The one of these currencies that the account has most of, in its own units."""
    there = [held[quote] for quote in found if quote in held and held[quote].number > 0]
    return max(there, key=lambda one: one.number).asset if there else None


def _most(found: Mapping[str, list[str]]) -> str:
    """The one in which most coins are listed."""
    return max(found, key=lambda quote: len(found[quote]))


def listings_found(settings: Settings, listings: Mapping[str, Listed]) -> Finding:
    """How old the built-in rules are beside Kraken's own of this moment: a run goes by the second, `lotwise
    fit` and a run on candles by the first."""
    markets = known_markets(settings)
    known = {symbol: markets.listing(symbol, LATEST) for symbol in listings}
    days = sorted({one.observed for one in known.values() if isinstance(one, Listing)})
    seen = "a run reads them at its start, then hears of changes; "
    seen += f"the built-in ones are of {days[0]} to {days[-1]}" if days else "none are built in"
    other = [symbol for symbol, one in known.items() if _rules(one) != _rules(listings[symbol].listing)]
    if not other:
        return fine("rules", f"{seen}, and equal")
    what = "trust what stands here, and not `lotwise fit`, until lotwise is renewed"
    return warning("rules", f"{seen}; not so now: {', '.join(other)}", what)


def _rules(told: Listing | UnknownMarket) -> tuple[object, ...]:
    if not isinstance(told, Listing):
        return ()
    return told.tick_size, told.lot_step, told.min_quantity, told.min_notional


async def money_found(
    rest: Rest, settings: Settings, listings: Mapping[str, Listed], held: Mapping[str, Amount]
) -> tuple[Finding, Decimal]:
    """What a first live run would touch, and what it could buy with it. Raises Refused, NoAnswer."""
    asset, fraction = settings.stake_currency, settings.live.fraction
    available = held[asset].number if asset in held else Decimal(0)
    amount = share_of(available, fraction)
    if amount <= 0:
        holds = ", ".join(str(one) for one in held.values() if one.number > 0) or "nothing"
        own = _held(await _elsewhere(rest, settings), held)
        seen = f"the account has no {asset} to trade with (it holds {holds})"
        what = f"choose --stake {own}, or deposit {asset}" if own else f"deposit {asset}"
        return bad("money", seen, what, UNAVAILABLE), amount
    quotes = await prices(rest, listings, clock)
    found = reach(live_settings(settings), listings, quotes, Amount(amount, asset))
    seen = f"{plain(amount)} {asset} ({plain(fraction)} of {plain(available)}, live.fraction): {found.told()}"
    if found.fits:
        return fine("money", seen), amount
    return bad("money", seen, remedy(found, fraction, available), UNAVAILABLE), amount


async def left_found(rest: Rest, settings: Settings, listings: Mapping[str, Listed], state: State) -> Finding:
    """What a run that goes on can buy with what it has left: none is no reason to leave what it holds or
    has ordered alone. Raises Refused, NoAnswer."""
    free = state.ledger.free(settings.stake_currency)
    quotes = await prices(rest, listings, clock)
    found = reach(live_settings(settings), listings, quotes, free)
    seen = f"{free} of this run are free: {found.told()}"
    if found.fits:
        return fine("money", seen)
    if state.holdings or state.orders:
        return warning("money", seen, "it goes on with what it holds and has ordered")
    needed = "" if found.needed is None else f" with at least {money_up(found.needed.number, free.asset)}"
    what = f"begin another{needed}: a --journal of its own, and live.fraction as that takes"
    return bad("money", seen, what, UNAVAILABLE)


async def check_clock(rest: Rest) -> None:
    """Raises Problem for a clock by which orders would come too late, or seem to; Refused, NoAnswer."""
    must([clock_found(await clocks(rest, clock))])


async def check_key(rest: Rest, key: Credentials, place: Place) -> str:
    """A name of the key's account. Raises Problem for a key that can withdraw or cannot trade, or of which
    Kraken does not tell."""
    try:
        info = await key_info(rest)
    except (Refused, NoAnswer) as no:
        raise trouble(no, place).problem from None
    must(key_found(info))
    return account_name(info, key)
