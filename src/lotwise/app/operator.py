"""The owner's word to a run that is on: a Unix socket beside its journal, one line in, two lines out.

    panic flatten           what is asked: entries, orders, flatten or lift
    heard                   at once: the run is alive and does it
    {"done": true, ...}     the receipt, when it is done or a minute and a half has passed

Laws: only who may read the journal's folder and is the run's own user can speak here; what is asked becomes
an event of the run like any other, and goes on when the asker has left.
"""

import asyncio
import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from lotwise.app.terminal import to_json
from lotwise.domain.orders import Fill, OrderState
from lotwise.domain.values import Side, Time
from lotwise.engine.engine import Engine
from lotwise.engine.records import Event, Extent, Panic, Restricted, Trading
from lotwise.engine.state import RESTING, State
from lotwise.venues.kraken.inbox import Inbox

LIFT = "lift"
WORDS = (*(extent.value for extent in Extent), LIFT)
HEARD = "heard"

PATIENCE = 2.0
"""Seconds within which a run says that it has heard."""

AGAIN, AT_MOST = 5.0, 90.0
"""What is not done yet is asked for again after so many seconds, and for so many in all; then the receipt
says what is left. An order whose fate is unknown needs more than a minute to be proven absent."""

LOOK = 0.1
LONGEST_LINE = 1_000_000

Receipt = dict[str, Any]


class Operator:
    """Carries out the owner's words in a run."""

    def __init__(self, engine: Engine, inbox: Inbox, clock: Callable[[], Time]) -> None:
        self._state = engine.state
        self._inbox = inbox
        self._clock = clock
        self._words = 0

    async def carry_out(self, word: str) -> Receipt:
        """Have the engine do it, again until it is done: what was done, and what is left."""
        state, open_before = self._state, list(self._state.orders)
        known = {fill.trade_id for fill in _sales(state)}
        with suppress(TimeoutError):
            async with asyncio.timeout(AT_MOST):
                await self._until_done(word)
        sold = [fill for fill in _sales(state) if fill.trade_id not in known]
        return _receipt(state, word, open_before, sold)

    async def _until_done(self, word: str) -> None:
        self._words += 1
        ours = self._words
        while ours == self._words:  # a later word takes its place
            # Not again before it was answered: what it asks for takes its time at the exchange.
            self._inbox.put([self._event(word)])
            await self._inbox.answered()
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN):
                    while not _done(self._state, word):
                        await asyncio.sleep(LOOK)
                    return

    def _event(self, word: str) -> Event:
        if word == LIFT:
            return Restricted(Trading.ACTIVE, "the owner lifted the restriction", self._clock())
        return Panic(Extent(word), self._clock())


def _done(state: State, word: str) -> bool:
    """Whether no more can be done of it now. What is too small to be sold stays, and with it a sale that
    waits for it and could not be placed again."""
    if word == LIFT:
        return state.trading is Trading.ACTIVE
    if state.trading is Trading.ACTIVE:
        return False
    if word != Extent.FLATTEN:
        return word == Extent.ENTRIES or not state.orders
    stuck = {symbol for symbol, held in state.holdings.items() if held.stuck}
    kept = (o.order.symbol in stuck and o.order.purpose in RESTING for o in state.orders.values())
    return stuck == state.holdings.keys() and all(kept)


def _sales(state: State) -> list[Fill]:
    """The fills of sales among the orders that are still known."""
    orders = (*state.ended.values(), *state.orders.values())
    return [fill for known in orders if known.order.side is Side.SELL for fill in known.fills]


def _receipt(state: State, word: str, open_before: list[str], sold: list[Fill]) -> Receipt:
    """What was done and what is left, as plain values."""
    were_open = [state.order(name) for name in open_before if name in state.orders or name in state.ended]
    return {
        "asked": word,
        "done": _done(state, word) and not (word == Extent.FLATTEN and state.holdings),
        "trading": state.trading.value,
        "orders": [] if word in (LIFT, Extent.ENTRIES) else [_order(known) for known in were_open],
        "sold": [
            {
                "symbol": fill.symbol,
                "quantity": fill.quantity,
                "price": fill.price,
                "got": fill.cost.number,
                "fee": str(fill.fee),
                "trade_id": fill.trade_id,
            }
            for fill in sold
        ],
        "holdings": [
            {"symbol": symbol, "quantity": held.position.quantity, "stuck": held.stuck}
            for symbol, held in sorted(state.holdings.items())
        ],
        "balances": {
            asset: {"total": state.ledger.total(asset).number, "free": state.ledger.free(asset).number}
            for asset in sorted(state.ledger.assets())
        },
    }


def _order(known: OrderState) -> dict[str, Any]:
    order = known.order
    head = {"client_id": order.client_id, "symbol": order.symbol, "side": order.side.value}
    return {**head, "quantity": order.quantity, "filled": known.filled, "status": known.status.value}


def socket_of(journal: Path) -> Path:
    """Where a run with this journal listens: beside the file itself, as its lock."""
    return Path(f"{os.path.realpath(journal)}.socket")


async def serve(operator: Operator, journal: Path, tell: Callable[[str], None]) -> None:
    """Listen for the owner, for ever. The journal's lock is held by us: whoever left a socket is gone."""
    path = socket_of(journal)
    try:
        path.unlink(missing_ok=True)
        before = os.umask(0o177)  # nobody else may connect, from the first moment on
        try:
            server = await asyncio.start_unix_server(partial(_converse, operator), path, limit=1_000)
        finally:
            os.umask(before)
    except OSError as trouble:
        tell(f"`lotwise panic` cannot speak to this run, only end it: {path}: {trouble}")
        await asyncio.Event().wait()
        return
    try:
        await server.serve_forever()
    finally:
        server.close()  # a word under way does not hold up the end
        path.unlink(missing_ok=True)


async def _converse(operator: Operator, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One question. Who does not say one in time, or has left, is not waited for."""
    with suppress(TimeoutError, ValueError, ConnectionError), closing(writer):
        async with asyncio.timeout(PATIENCE):
            line = await reader.readline()
        kind, _, word = line.decode(errors="replace").strip().partition(" ")
        if kind != "panic" or word not in WORDS:
            writer.write(f"write: panic {'|'.join(WORDS)}\n".encode())
            return
        writer.write(f"{HEARD}\n".encode())
        answer = await operator.carry_out(word)
        writer.write(f"{to_json(answer)}\n".encode())
        await writer.drain()


class Unheard(Exception):
    """Nobody said in time that the word was heard."""


class NoReceipt(Exception):
    """It was heard, but what became of it was not told in time."""


def ask(journal: Path, word: str) -> Receipt:
    """Say a word to the run of a journal: its receipt. Raises Unheard, NoReceipt."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(PATIENCE)
        try:
            line.connect(str(socket_of(journal)))
            line.sendall(f"panic {word}\n".encode())
            answers = line.makefile("rb")
            heard = answers.readline(LONGEST_LINE)
        except OSError:
            raise Unheard from None
        if heard.strip() != HEARD.encode():
            raise Unheard
        line.settimeout(AT_MOST + PATIENCE)
        try:
            told = json.loads(answers.readline(LONGEST_LINE))
        except (OSError, ValueError):
            raise NoReceipt from None
    assert isinstance(told, dict), f"{told} is no receipt"
    return told


def listener(journal: Path) -> int | None:
    """The process that listens for a journal's owner, as the system says, though it may not answer; None:
    there is none, or none of ours."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(PATIENCE)
        try:
            line.connect(str(socket_of(journal)))
            if sys.platform == "linux":
                size = struct.calcsize("3i")
                told = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
                process, user, _ = struct.unpack("3i", told)
                return process if user == os.getuid() else None
            return struct.unpack("i", line.getsockopt(0, 2, 4))[0]  # macOS: SOL_LOCAL, LOCAL_PEERPID
        except OSError:
            return None
