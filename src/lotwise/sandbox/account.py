"""The private endpoints that look: what an account has, did and pays, and what its key may do."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import reduce
from itertools import islice
from typing import TypeVar

from lotwise.domain.market import Quote
from lotwise.domain.orders import Fill, OrderType
from lotwise.domain.values import EXACT, Amount, Side, Time, round_down, steps_down
from lotwise.exchange.accounts import ClosedOrder, Row
from lotwise.exchange.booking import OpenOrder
from lotwise.kraken import rest_money
from lotwise.kraken.limits import TOKEN_LIFETIME
from lotwise.kraken.rest import Payload
from lotwise.kraken.rest_account import TradeInfo, order_payload, trade_payload
from lotwise.kraken.rest_money import LedgerInfo, ledger_payload
from lotwise.kraken.rest_orders import userref_of
from lotwise.sandbox.calls import Call, invalid
from lotwise.sandbox.conformance import Permission
from lotwise.sandbox.desk import ZERO
from lotwise.sandbox.keys import PERMISSION_DENIED
from lotwise.sandbox.wire import Refused

T = TypeVar("T")

PAGE = 50
MAX_OFFSET = 10**9
MAX_ORDER_IDS = 50
MAX_TRADE_IDS = 20
UNIT = Decimal("0.0001")
FINE = Decimal("0.000000000001")
"""To this an inverse price is cut."""

DOLLARS = frozenset({"USD", "USDT", "USDC"})
"""Assets that are worth one another here, and in which trades count for the fee tier."""

TRADE_TYPES = ("all", "no position", "any position", "closed position", "closing position")
SPOT_TRADE_TYPES = TRADE_TYPES[:2]
LEDGER_TYPES = (
    *("all", "trade", "deposit", "withdrawal", "transfer", "margin", "adjustment", "rollover"),
    *("credit", "settled", "staking", "dividend", "sale", "nft_rebate"),
)


def balance(call: Call) -> Payload:
    """Balance."""
    return rest_money.balance({asset: total for asset, (total, _) in _balances(call).items()})


def balance_ex(call: Call) -> Payload:
    """BalanceEx."""
    return rest_money.balance_ex(_balances(call))


def trade_balance(call: Call) -> Payload:
    """TradeBalance: what the balances would fetch at the best bids, in the asset asked for."""
    wanted = call.desk.assets(call.text("asset") or "ZUSD")
    if len(wanted) != 1:
        raise invalid("asset")
    quotes, desk = call.desk.exchange.quotes(), call.desk
    worth = {asset: _worth(asset, wanted[0], quotes) for asset in desk.assets()}
    equity = _sum(EXACT.multiply(total, worth[asset]) for asset, (total, _) in _balances(call).items())
    waiting = _sum(
        EXACT.multiply(EXACT.multiply(order.rest, order.order.price), worth[order.terms.quote])
        for order in desk.exchange.open_orders(call.account)
        if order.order.side is Side.BUY and order.order.price is not None
    )
    return rest_money.trade_balance(round_down(equity, UNIT), round_down(waiting, UNIT))


def trade_volume(call: Call) -> Payload:
    """TradeVolume."""
    traded = call.desk.exchange.volume(call.account, call.now)
    symbols = call.desk.symbols(call.text("pair")) if call.text("pair") else ()
    volume = _sum(cost for asset, cost in traded.items() if asset in DOLLARS)
    return rest_money.trade_volume(volume, call.desk.schedule, symbols)


def open_orders(call: Call) -> Payload:
    """OpenOrders."""
    wanted, waiting = _wanted(call), call.desk.exchange.open_orders(call.account)
    return {"open": _orders(call, [(order, None) for order in waiting if wanted(order)])}


def closed_orders(call: Call) -> Payload:
    """ClosedOrders, newest first, in pages."""
    by, wanted = call.choice("closetime", ("both", "open", "close")), _wanted(call)
    within = _range(call, lambda txid: _opened(call, txid))
    found = [
        closed
        for closed in call.desk.closed(call.account, call.now)
        if wanted(closed.order)
        and ((by != "close" and within(closed.order.accepted)) or (by != "open" and within(closed.time)))
    ]
    page, count = _page(call, found)
    return {"closed": _orders(call, [(closed.order, closed) for closed in page]), **count}


def query_orders(call: Call) -> Payload:
    """QueryOrders: those that are known, in the order asked for."""
    wanted = {call.desk.issued("O", txid) for txid in call.ids("txid", MAX_ORDER_IDS)}
    found: list[tuple[OpenOrder, ClosedOrder | None]] = [
        (order, None) for order in call.desk.exchange.open_orders(call.account) if order.venue_id in wanted
    ]
    if len(found) < len(wanted):
        ended = call.desk.closed(call.account, call.now)
        found += ((closed.order, closed) for closed in ended if closed.order.venue_id in wanted)
    assert call.key is not None
    for _, closed in found:
        needed = Permission.QUERY_OPEN if closed is None else Permission.QUERY_CLOSED
        if needed not in call.key.permissions:
            raise Refused(PERMISSION_DENIED)
    of_userref = _wanted(call)
    return _orders(call, [known for known in found if of_userref(known[0])])


def trades_history(call: Call) -> Payload:
    """TradesHistory, newest first, in pages."""
    if call.choice("type", TRADE_TYPES) not in SPOT_TRADE_TYPES:
        return {"trades": {}, "count": 0}
    within = _range(call, lambda txid: _traded(call, txid))
    fills = reversed(call.desk.exchange.history(call.account).fills)
    known = call.now - call.desk.history_lag
    found = [(order, fill) for order, fill in fills if fill.time <= known and within(fill.time)]
    page, count = _page(call, found)
    return {"trades": _trades(call, page, call.flag("ledgers")), **count}


def query_trades(call: Call) -> Payload:
    """QueryTrades: those that are known."""
    wanted = {call.desk.issued("T", txid) for txid in call.ids("txid", MAX_TRADE_IDS)}
    fills = call.desk.exchange.history(call.account).fills
    return _trades(call, [known for known in fills if known[1].trade_id in wanted], True)


def ledgers(call: Call) -> Payload:
    """Ledgers, newest first, in pages."""
    asked = call.text("asset")
    assets = call.desk.assets("" if asked == "all" else asked)
    kind = call.choice("type", LEDGER_TYPES)
    within = _range(call, lambda ledger_id: _booked(call, ledger_id))
    found = [
        row
        for row in reversed(call.desk.exchange.history(call.account).rows)
        if (not asked or row.asset in assets) and kind in ("all", row.kind.value) and within(row.time)
    ]
    page, count = _page(call, found)
    return {"ledger": _rows(call, page), **count}


def query_ledgers(call: Call) -> Payload:
    """QueryLedgers: those that are known."""
    wanted = set(call.ids("id", MAX_TRADE_IDS))
    rows = call.desk.exchange.history(call.account).rows
    return _rows(call, [row for row in rows if call.desk.ledger_id(row.number) in wanted])


def websockets_token(call: Call) -> Payload:
    """GetWebSocketsToken."""
    assert call.key is not None
    return {"token": call.keys.issue_token(call.key, call.now), "expires": TOKEN_LIFETIME // 1000}


def api_key_info(call: Call) -> Payload:
    """GetApiKeyInfo."""
    assert call.key is not None
    return call.keys.info(call.key)


def _balances(call: Call) -> dict[str, tuple[Decimal, Decimal]]:
    ledger = call.desk.exchange.ledger(call.account)
    return {
        asset: (ledger.total(asset).number, (ledger.total(asset) - ledger.free(asset)).number)
        for asset in sorted(ledger.assets())
    }


def _worth(asset: str, wanted: str, quotes: Mapping[str, Quote]) -> Decimal:
    """What one of an asset fetches in another, by their pair; 0 when there is none."""
    if asset == wanted or {asset, wanted} <= DOLLARS:
        return Decimal(1)
    for other in sorted(DOLLARS if wanted in DOLLARS else {wanted}):
        if f"{asset}/{other}" in quotes:
            return quotes[f"{asset}/{other}"].bid
        if f"{other}/{asset}" in quotes:
            price = EXACT.multiply(quotes[f"{other}/{asset}"].ask, FINE)
            return EXACT.multiply(Decimal(steps_down(Decimal(1), price)), FINE)
    return ZERO


def _wanted(call: Call) -> Callable[[OpenOrder], bool]:
    """Whether userref and cl_ord_id, where they are given, are an order's."""
    name, userref = call.text("cl_ord_id"), userref_of(call.parameters)

    def wanted(order: OpenOrder) -> bool:
        tag = call.desk.tag(call.account, order.order.client_id)
        return name in ("", tag.cl_ord_id) and userref in (None, tag.userref)

    return wanted


def _orders(call: Call, orders: Iterable[tuple[OpenOrder, ClosedOrder | None]]) -> Payload:
    told, trades = {}, call.flag("trades")
    for order, closed in orders:
        info = call.desk.info(call.account, order, closed)
        told[info.txid] = order_payload(info, call.desk.digits(info.symbol), trades)
    return told


def _range(call: Call, of_id: Callable[[str], Time | None]) -> Callable[[Time], bool]:
    """Whether a time lies after `start` and not after `end`; both in seconds, or the id of what happened
    then."""

    def bound(name: str) -> Time | None:
        text = call.text(name)
        if "-" not in text:
            return call.moment(name)
        at = of_id(text)
        if at is None:
            raise invalid(name)
        return at

    start, end = bound("start"), bound("end")
    return lambda time: (start is None or time > start) and (end is None or time <= end)


def _page(call: Call, found: list[T]) -> tuple[list[T], Payload]:
    """The page from `ofs` on, and the count of all unless it is not wanted."""
    offset = call.whole("ofs", 0, 0, MAX_OFFSET)
    page = list(islice(found, offset, offset + PAGE))
    return page, {} if call.flag("without_count") else {"count": len(found)}


def _opened(call: Call, txid: str) -> Time | None:
    known = [*call.desk.exchange.open_orders(call.account)]
    known += (closed.order for closed in call.desk.exchange.history(call.account).closed)
    issued = call.desk.issued("O", txid)
    return next((order.accepted for order in known if order.venue_id == issued), None)


def _traded(call: Call, txid: str) -> Time | None:
    issued = call.desk.issued("T", txid)
    fills = call.desk.exchange.history(call.account).fills
    return next((fill.time for _, fill in fills if fill.trade_id == issued), None)


def _booked(call: Call, ledger_id: str) -> Time | None:
    rows = call.desk.exchange.history(call.account).rows
    return next((row.time for row in rows if call.desk.ledger_id(row.number) == ledger_id), None)


def _trades(call: Call, fills: list[tuple[str, Fill]], with_ledgers: bool) -> Payload:
    types = _types(call, {order for order, _ in fills})
    ids: dict[str, list[str]] = {fill.trade_id: [] for _, fill in fills}
    for row in call.desk.exchange.history(call.account).rows if with_ledgers else ():
        if row.reference in ids:
            ids[row.reference].append(call.desk.ledger_id(row.number))
    told: Payload = {}
    for order, fill in fills:
        info = TradeInfo(
            call.desk.txid(fill.trade_id),
            call.desk.txid(order),
            fill.symbol,
            fill.time,
            fill.side,
            types.get(order, OrderType.LIMIT),
            fill.price,
            fill.cost.number,
            fill.fee.number,
            fill.quantity,
            int(fill.trade_id[1:]),
            fill.liquidity,
            tuple(ids[fill.trade_id]),
        )
        told[info.txid] = trade_payload(info, call.desk.digits(fill.symbol), with_ledgers)
    return told


def _types(call: Call, orders: set[str]) -> dict[str, OrderType]:
    known = [*call.desk.exchange.open_orders(call.account)]
    known += (closed.order for closed in call.desk.exchange.history(call.account).closed)
    return {order.venue_id: order.order.type for order in known if order.venue_id in orders}


def _rows(call: Call, rows: list[Row]) -> Payload:
    told: Payload = {}
    for row in rows:
        trade = row.kind.value == "trade"
        # Money that came or went refers to a transfer, of which nothing is known here but its row.
        reference = call.desk.txid(row.reference) if trade else call.desk.ledger_id(-row.number)
        ledger_id = call.desk.ledger_id(row.number)
        amount = Amount(row.amount, row.asset)
        info = LedgerInfo(ledger_id, reference, row.time, row.kind.value, amount, row.fee, row.balance)
        told[ledger_id] = ledger_payload(info)
    return told


def _sum(numbers: Iterable[Decimal]) -> Decimal:
    return reduce(EXACT.add, numbers, ZERO)


HANDLERS: Mapping[str, Callable[[Call], Payload]] = {
    "Balance": balance,
    "BalanceEx": balance_ex,
    "TradeBalance": trade_balance,
    "TradeVolume": trade_volume,
    "OpenOrders": open_orders,
    "ClosedOrders": closed_orders,
    "QueryOrders": query_orders,
    "TradesHistory": trades_history,
    "QueryTrades": query_trades,
    "Ledgers": ledgers,
    "QueryLedgers": query_ledgers,
    "GetWebSocketsToken": websockets_token,
    "GetApiKeyInfo": api_key_info,
}
