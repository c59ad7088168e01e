"""What Kraken says of an account: each answer whole (all its pages), or none."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, TypeVar

from lotwise.domain.market import Liquidity
from lotwise.domain.orders import Fill
from lotwise.domain.values import Amount, Time
from lotwise.kraken.rest_account import OrderFate, TradeInfo, order_fate, trade_info
from lotwise.kraken.rest_money import LedgerInfo, balances_of, ledger_info
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest

PAGE = 50
MOST_PAGES = 40
"""More rows than 2,000 since the last look are not read: the look-up then has no answer."""

EACH_TRADE = {"consolidate_taker": "false"}
"""Else Kraken tells the trades that a taker made at once as one (its default, documentation of 2026-05-27),
and it may have another id than those that its streams tell."""

STRANGERS = ("EQuery:", "EOrder:", "ETrade:", "EGeneral:Invalid arguments")
"""How an error begins that may be about ids which are not the account's; which one it is nobody tells."""

Row = TypeVar("Row")


class Account:
    """The private reads. All raise Refused and NoAnswer; an answer without Kraken's form is NoAnswer. Urgent
    ones pass all others (rest.py)."""

    def __init__(self, rest: Rest, urgent: bool = False) -> None:
        self._ask = partial(rest.private, urgent=urgent)

    async def balances(self) -> dict[str, Amount]:
        """All of each asset, set aside for orders or not."""
        told = await self._ask("BalanceEx")
        read = _formed(lambda: balances_of(told))
        return {asset: Amount(total, asset) for asset, (total, _) in read.items()}

    async def open_orders(self, client_id: str | None = None) -> list[OrderFate]:
        """The orders that wait, with the ids of their trades; of one client id only when it is given."""
        named = {} if client_id is None else {"cl_ord_id": client_id}
        told = await self._ask("OpenOrders", {"trades": "true", **named})
        return _formed(lambda: [order_fate(txid, row) for txid, row in told["open"].items()])

    async def closed_orders(self, since: Time, client_id: str | None = None) -> list[OrderFate]:
        """The orders that ended since a time."""
        named = {} if client_id is None else {"cl_ord_id": client_id}
        asked = {"trades": "true", "start": str(since // 1000), "closetime": "close", **EACH_TRADE, **named}
        return await self._pages("ClosedOrders", asked, "closed", order_fate)

    async def order(self, txid: str) -> OrderFate:
        """One order by Kraken's id."""
        told = await self._ask("QueryOrders", {"txid": txid, "trades": "true", **EACH_TRADE})
        return _formed(lambda: order_fate(txid, told[txid]))

    async def trades(self, since: Time) -> list[TradeInfo]:
        """The account's trades since a time."""
        asked = {"start": str(since // 1000), **EACH_TRADE}
        return await self._pages("TradesHistory", asked, "trades", trade_info)

    async def trades_named(self, txids: tuple[str, ...]) -> list[TradeInfo]:
        """Trades by their ids, at most 20 in one call."""
        found: list[TradeInfo] = []
        for first in range(0, len(txids), 20):
            some = txids[first : first + 20]
            told = await self._ask("QueryTrades", {"txid": ",".join(some)})
            found += _formed(lambda told=told: [trade_info(t, row) for t, row in told.items()])  # type: ignore[misc]
        return found

    async def ledger(self, since: Time) -> list[LedgerInfo]:
        """The changes of the account's balances since a time."""
        return await self._pages("Ledgers", {"start": str(since // 1000)}, "ledger", ledger_info)

    async def _pages(
        self, endpoint: str, asked: Mapping[str, str], name: str, read: Callable[[str, Any], Row]
    ) -> list[Row]:
        rows: dict[str, Row] = {}
        for page in range(MOST_PAGES):
            told = await self._ask(endpoint, {**asked, "ofs": str(page * PAGE)})
            new = _formed(lambda told=told: {key: read(key, row) for key, row in told[name].items()})  # type: ignore[misc]
            rows |= new
            if len(new) < PAGE:
                return list(rows.values())
        raise NoAnswer(f"{endpoint}: more than {MOST_PAGES * PAGE} rows")


class Lists:
    """One look at the account since a time: each list is asked for once, when it is needed, whether or not
    there is an answer. `only`: the client id of the one order that is looked for, if it is one."""

    def __init__(self, account: Account, since: Time, only: str | None = None) -> None:
        self._account = account
        self._since = since
        self._only = only
        self._asked: dict[str, asyncio.Future[Any]] = {}

    async def find(self, client_id: str) -> OrderFate | None:
        """The order among those that wait and those that ended; None when neither list has it."""
        account = self._account
        for name, ask in (
            ("open", partial(account.open_orders, self._only)),
            ("closed", partial(account.closed_orders, self._since, self._only)),
        ):
            for info in await self._once(name, ask):
                if info.cl_ord_id == client_id:
                    found: OrderFate = info
                    return found
        return None

    async def order(self, txid: str) -> OrderFate:
        """One order by Kraken's id."""
        found: OrderFate = await self._once(txid, partial(self._account.order, txid))
        return found

    async def trades(self) -> list[TradeInfo]:
        """All trades."""
        found: list[TradeInfo] = await self._once("trades", partial(self._account.trades, self._since))
        return found

    async def _once(self, name: str, ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        if name not in self._asked:
            answer = self._asked[name] = asyncio.get_running_loop().create_future()
            try:
                answer.set_result(await ask())
            except (Refused, NoAnswer) as no:
                answer.set_exception(no)
        return await self._asked[name]


def of_strangers(no: Refused) -> bool:
    """Whether a refusal may say no more than that one of the ids is not the account's."""
    return all(text.startswith(STRANGERS) for text in no.texts)


def fill_of(trade: TradeInfo, client_id: str) -> Fill:
    """A trade as a fill of one of our orders. Fees are in quote: our orders ask for that."""
    quote = trade.symbol.partition("/")[2]
    return Fill(
        trade.txid,
        client_id,
        trade.symbol,
        trade.side,
        trade.price,
        trade.volume,
        Amount(trade.cost, quote),
        Amount(trade.fee, quote),
        Liquidity(trade.liquidity),
        trade.time,
    )


def _formed(read: Callable[[], Row]) -> Row:
    """What an answer says, if it has Kraken's form; else it is no answer."""
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as bad:
        raise NoAnswer(f"an answer has not Kraken's form: {type(bad).__name__}: {str(bad)[:100]}") from None
