"""What is kept of a key beside the journals: its lock, its mark of nonces, and a name of its account.

Laws: one process trades with a key; a journal is gone on with by its own account alone. Files are named by
a hash that tells nothing of the key.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lotwise.app.terminal import UNSAFE, Problem
from lotwise.domain.orders import OrderState
from lotwise.domain.values import Time
from lotwise.engine.records import Opened
from lotwise.engine.state import State
from lotwise.kraken.signature import Credentials
from lotwise.venues.kraken.account import Account, of_strangers
from lotwise.venues.kraken.facts import KeyInfo
from lotwise.venues.kraken.rest import Refused, Rest
from lotwise.venues.kraken.venue import CLOSED_ORDERS_LAG, MARGIN

HOME = Path.home() / ".lotwise"
"""One place for each user, whatever the working directory."""

ASKED_AT_ONCE = 20
"""Trades that are asked for by id in one call; the last ones of a journal prove its account."""


def lock_of(key: Credentials) -> FileLock:
    """The lock of who trades with a key; entering it raises filelock's Timeout when another has it."""
    return FileLock(_file(key, "lock"), timeout=0)


def lock_of_account(account: str) -> FileLock:
    """The lock of who trades on an account, by its name here: two keys of one account are one trader."""
    HOME.mkdir(mode=0o700, exist_ok=True)
    return FileLock(HOME / f"{account}.account", timeout=0)


def nonces_of(key: Credentials) -> Path:
    """Where the highest nonce of a key is marked. Only for who has its lock: the mark lies ahead, and the
    calls of another would be refused after one above it."""
    return _file(key, "nonce")


@contextmanager
def own_nonces(key: Credentials) -> Iterator[Path | None]:
    """The mark of nonces for calls beside those of runs: None while one trades with the key."""
    lock = lock_of(key)
    try:
        lock.acquire()
    except Timeout:
        yield None
        return
    try:
        yield nonces_of(key)
    finally:
        lock.release()


def account_name(info: KeyInfo, key: Credentials) -> str:
    """The same for all keys of an account, where Kraken tells its number; tells nothing of it."""
    return _short(info.account or key.key)


async def known_as(name: str, told: Opened, state: State, rest: Rest) -> str:
    """What a journal calls the account that a key tells as `name`: the name it was begun with, where the
    journal's trades or orders are that account's (a key that was renewed), else `name`. Raises Refused,
    NoAnswer."""
    before = str(told.settings.get("account", ""))
    return before if before == name or await _has(Account(rest), state) else name


async def check_account(name: str, told: Opened, state: State, rest: Rest) -> str:
    """What a journal calls this account; Problem where it is another's. Raises Refused, NoAnswer."""
    known = await known_as(name, told, state, rest)
    if known != told.settings.get("account"):
        text = "this key is of another account than the journal's: none of its orders is found with it"
        raise Problem(f"{text}; give the key of the run's account, or another --journal", UNSAFE)
    return known


async def _has(account: Account, state: State) -> bool:
    """Whether an account made the last trades of a journal, or its last orders where nothing was traded."""
    orders = [known for known in (*state.ended.values(), *state.orders.values()) if known.venue_id]
    fills = sorted((fill for known in orders for fill in known.fills), key=lambda fill: fill.time)
    if not fills:
        return bool(orders) and await _has_one(account, orders)
    ours = {(fill.trade_id, fill.symbol, fill.quantity, fill.price) for fill in fills}
    try:
        trades = await account.trades_named(tuple(fill.trade_id for fill in fills[-ASKED_AT_ONCE:]))
    except Refused as no:
        if of_strangers(no):
            return False
        raise
    return any((trade.txid, trade.symbol, trade.volume, trade.price) in ours for trade in trades)


async def _has_one(account: Account, orders: list[OrderState]) -> bool:
    """Whether one of these waits there, or ended there after the last of them was made."""
    ours = {(known.venue_id, known.order.client_id) for known in orders}
    waiting = await account.open_orders()
    if any((info.txid, info.cl_ord_id) in ours for info in waiting):
        return True
    last = max(known.order.time for known in orders)
    ended = await account.closed_orders(Time(max(0, last - CLOSED_ORDERS_LAG - MARGIN)))
    return any((info.txid, info.cl_ord_id) in ours for info in ended)


def _file(key: Credentials, ending: str) -> Path:
    HOME.mkdir(mode=0o700, exist_ok=True)
    return HOME / f"{_short(key.key)}.{ending}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
