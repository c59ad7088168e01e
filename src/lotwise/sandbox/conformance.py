"""What of Kraken's REST interface the sandbox does, as data: it routes, admits and refuses by this table,
so that the table cannot say anything else than what happens.

Source of endpoints, parameters and permissions: Kraken's documentation of 2026-05-27.
"""

from dataclasses import dataclass
from enum import StrEnum

from lotwise.domain.orders import OrderType


class Support(StrEnum):
    """How far something goes here as it does at Kraken."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"


class Permission(StrEnum):
    """What an API key may do, in the words of GetApiKeyInfo."""

    QUERY_FUNDS = "query-funds"
    QUERY_OPEN = "query-open-trades"
    QUERY_CLOSED = "query-closed-trades"
    MODIFY = "modify-trades"
    CLOSE = "close-trades"
    QUERY_LEDGER = "query-ledger"
    WEBSOCKETS = "create-ws-token"
    WITHDRAW = "withdraw-funds"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. What is not supported is refused under its name, unless its value is one of
    `default`: those mean the same as leaving it out. What is ignored says so in its note."""

    name: str
    support: Support = Support.YES
    note: str = ""
    default: tuple[str, ...] = ()
    required: bool = False
    refusal: str = ""
    """Kraken's words for it where they are not "EGeneral:Invalid arguments" with its name."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. `permissions` are alternatives: a key needs all of one of them. `cost` is what it
    adds to the key's counter (private endpoints only)."""

    name: str
    private: bool
    parameters: tuple[Parameter, ...] = ()
    permissions: tuple[frozenset[Permission], ...] = (frozenset(),)
    cost: int = 1
    support: Support = Support.YES
    note: str = ""

    @property
    def path(self) -> str:
        """Its path on the wire."""
        return f"/0/{'private' if self.private else 'public'}/{self.name}"


@dataclass(frozen=True, slots=True)
class Row:
    """One more line of the table: an order type or an error text."""

    name: str
    support: Support
    note: str = ""


_P, _R = Parameter, Permission
_NO, _PARTLY = Support.NO, Support.PARTLY
_OFF = ("", "0", "false", "False")


def _names(text: str) -> tuple[Parameter, ...]:
    return tuple(_P(name) for name in text.split())


def _ignored(name: str, why: str = "ignored: it changes nothing on a spot market") -> Parameter:
    return _P(name, _PARTLY, why)


_PAIR = _P("pair", required=True)
_ASSET_VERSION = _P("assetVersion", _NO, "names stay as they are", ("", "0"))
_REBASE = _ignored("rebase_multiplier", "ignored: it concerns tokenized equities, which are not listed")
_PAGE = _names("start end ofs without_count")
_CONSOLIDATE = _ignored("consolidate_taker", "ignored: each trade is told by itself")
_NAMED = (*_names("txid cl_ord_id"),)

PUBLIC: tuple[Endpoint, ...] = (
    Endpoint("Time", False),
    Endpoint("SystemStatus", False),
    Endpoint(
        "Assets", False, (_P("asset"), _P("aclass", _NO, "currency only", ("", "currency")), _ASSET_VERSION)
    ),
    Endpoint(
        "AssetPairs",
        False,
        (
            _P("pair"),
            _P("info", _PARTLY, "info, fees, margin and leverage; the last two are empty"),
            _P("country_code", _PARTLY, "in the EEA pairs with USDT are left out (since 2025-03-24)"),
            _P("aclass_base", _NO, "currency only", ("", "currency")),
            _P("execution_venue", _NO, "international only", ("", "international")),
            _ASSET_VERSION,
        ),
    ),
    Endpoint("Ticker", False, (_P("pair"), _P("asset_class", _NO, "currency only", ("", "currency")))),
    Endpoint("OHLC", False, (_PAIR, *_names("interval since"))),
    Endpoint("Depth", False, (_PAIR, _P("count"))),
    Endpoint(
        "Trades", False, (_PAIR, _P("since"), _P("count")), support=_PARTLY, note="the last 1000 trades"
    ),
    Endpoint("Spread", False, (_PAIR, _P("since")), support=_PARTLY, note="the last ones only"),
)

_ORDERS = (
    _P("pair", required=True),
    _P("type", required=True),
    _P("ordertype", required=True),
    _P("volume", required=True),
    *_names("price price2 oflags timeinforce expiretm userref cl_ord_id stptype deadline validate"),
    *_names("close[ordertype] close[price] close[price2]"),
    _P("trigger", _NO, "last trade only", ("", "last")),
    _P("displayvol", _NO, "no icebergs", ("",)),
    _P(
        "leverage",
        _NO,
        "refused as for an account without margin",
        ("", "none", "0", "1"),
        refusal="EOrder:Cannot open position",
    ),
    _P("reduce_only", _NO, "no positions", _OFF),
    _P("starttm", _NO, "no scheduled orders", ("", "0", "+0")),
    _ignored("broker", "ignored"),
)
_OPEN, _CLOSED = frozenset({_R.QUERY_OPEN}), frozenset({_R.QUERY_CLOSED})
_FUNDS, _LEDGER = (frozenset({_R.QUERY_FUNDS}),), (frozenset({_R.QUERY_LEDGER}),)
_MODIFY, _CANCEL = frozenset({_R.MODIFY}), frozenset({_R.CLOSE})

PRIVATE: tuple[Endpoint, ...] = (
    Endpoint("Balance", True, (_REBASE,), _FUNDS),
    Endpoint("BalanceEx", True, (_REBASE,), _FUNDS, note="credit lines are not offered"),
    Endpoint("TradeBalance", True, (_P("asset"), _REBASE), (_OPEN,), support=_PARTLY, note="no positions"),
    Endpoint(
        "TradeVolume",
        True,
        (
            _P("pair"),
            _P("fee_schedule", _NO, "the whole schedule is in AssetPairs", _OFF),
            _ignored("fee-info", "ignored, as since 2020"),
            _REBASE,
        ),
        _FUNDS,
    ),
    Endpoint("OpenOrders", True, (*_names("trades userref cl_ord_id"), _REBASE), (_OPEN,)),
    Endpoint(
        "ClosedOrders",
        True,
        (*_names("trades userref cl_ord_id closetime"), *_PAGE, _CONSOLIDATE, _REBASE),
        (_CLOSED,),
    ),
    Endpoint(
        "QueryOrders",
        True,
        (_P("txid", required=True), *_names("trades userref"), _CONSOLIDATE, _REBASE),
        (_OPEN, _CLOSED),
    ),
    Endpoint(
        "TradesHistory",
        True,
        (*_names("type ledgers"), *_PAGE, _ignored("trades"), _CONSOLIDATE, _REBASE),
        (_CLOSED,),
        cost=2,
    ),
    Endpoint("QueryTrades", True, (_P("txid", required=True), _ignored("trades"), _REBASE), (_CLOSED,)),
    Endpoint(
        "Ledgers",
        True,
        (_P("asset"), _P("aclass", _NO, "currency only", ("", "currency")), _P("type"), *_PAGE, _REBASE),
        _LEDGER,
        cost=2,
    ),
    Endpoint("QueryLedgers", True, (_P("id", required=True), _ignored("trades"), _REBASE), _LEDGER),
    Endpoint("AddOrder", True, _ORDERS, (_MODIFY,), cost=0),
    Endpoint("AddOrderBatch", True, permissions=(_MODIFY,), cost=0, support=_NO),
    Endpoint(
        "AmendOrder",
        True,
        (
            *_NAMED,
            *_names("order_qty limit_price trigger_price post_only deadline"),
            _ignored("pair", "ignored: needed for tokenized equities only"),
            _P("display_qty", _NO, "no icebergs", ("",)),
        ),
        (_MODIFY, _CANCEL),
        cost=0,
    ),
    Endpoint(
        "EditOrder",
        True,
        (
            _P("txid", required=True),
            _PAIR,
            *_names("volume price price2 oflags userref deadline validate"),
            _P("displayvol", _NO, "no icebergs", ("",)),
            _ignored("cancel_response", "ignored, as documented"),
        ),
        (_MODIFY | _CANCEL,),
        cost=0,
    ),
    Endpoint("CancelOrder", True, (*_NAMED, _P("userref")), (_MODIFY, _CANCEL), cost=0),
    Endpoint("CancelOrderBatch", True, permissions=(_MODIFY, _CANCEL), cost=0, support=_NO),
    Endpoint("CancelAll", True, (), (_MODIFY, _CANCEL), cost=0),
    Endpoint("CancelAllOrdersAfter", True, (_P("timeout", required=True),), (_MODIFY, _CANCEL), cost=0),
    Endpoint("GetWebSocketsToken", True, (), (frozenset({_R.WEBSOCKETS}),)),
    Endpoint("GetApiKeyInfo", True),
)

ENDPOINTS = {endpoint.path: endpoint for endpoint in (*PUBLIC, *PRIVATE)}

ORDER_TYPES = (
    *(Row(kind.value, Support.YES) for kind in OrderType),
    *(
        Row(name, _NO, "refused as an invalid argument")
        for name in ("iceberg", "settle-position", "trailing-stop", "trailing-stop-limit")
    ),
)

ERRORS = (
    Row("EGeneral:Invalid arguments", Support.YES, "with the parameter's name behind it where it is known"),
    Row("EGeneral:Invalid arguments:volume minimum not met", Support.YES),
    Row("EGeneral:Invalid arguments:cl_ord_id not unique", Support.YES, "among open orders only"),
    Row("EGeneral:Unknown method", Support.YES),
    Row("EGeneral:Permission denied", Support.YES),
    Row("EGeneral:Temporary lockout", _NO, "wrong keys are refused, but lock nobody out"),
    Row("EAPI:Invalid key", Support.YES, "unknown or expired"),
    Row("EAPI:Invalid signature", Support.YES),
    Row("EAPI:Invalid nonce", Support.YES),
    Row("EAPI:Rate limit exceeded", Support.YES),
    Row("EService:Unavailable", Support.YES, "in maintenance, or for a pair that has no price yet"),
    Row("EService:Market in cancel_only mode", Support.YES),
    Row("EService:Market in post_only mode", Support.YES),
    Row("EService:Market in limit_only mode", Support.YES),
    Row("EService:Market in reduce_only mode", Support.YES, "the text is formed after the others"),
    Row("EService:Deadline elapsed", Support.YES),
    Row("EOrder:Insufficient funds", Support.YES),
    Row("EOrder:Cost minimum not met", Support.YES),
    Row("EOrder:Invalid price", Support.YES, "with the pair and its decimals behind it"),
    Row("EOrder:Tick size check failed", Support.YES),
    Row("EOrder:Orders limit exceeded", Support.YES),
    Row("EOrder:Rate limit exceeded", Support.YES),
    Row("EOrder:Unknown order", Support.YES),
    Row("EOrder:Invalid order", Support.YES, "an edit of what cannot be edited"),
    Row("EOrder:Post only order", Support.YES, "an amendment that would trade at once"),
    Row("EOrder:Cannot open position", Support.YES, "any leverage"),
    Row("EOrder:Order minimum not met", _NO, "REST says volume minimum not met since 2024"),
    Row("EQuery:Unknown asset", Support.YES),
    Row("EQuery:Unknown asset pair", Support.YES),
)

DOUBTS = (
    "Public answers stand under the name asked for when it has a slash (SOL/USDT): two public clients rely "
    "on it.",
    "Order of the checks: key, signature, nonce, permission, counter, then the form of the arguments, the "
    "pair, its counter, its status, tick, size, cost, open orders, and funds last. Kraken documents none.",
    "A nonce window may let one nonce come twice: lower nonces pass, and nothing says that they must differ.",
    "The fee is taken in quote unless fcib is asked for: the documentation names base as a sell's default, "
    "real sells from 2024 to 2026 say fciq.",
    "Ticker, Depth and Trades show prices with at least 5 decimals, as answers of November 2025 do; Depth's "
    "quantities have at least 3 and more where there are more, where Kraken cuts them.",
    "Balances show at least Kraken's decimals of an asset (4 of USD) and more where a deposit has more.",
    "A trade is told with its pair's decimals; the balances and the ledger's rows change in those of the "
    "assets (4 of USD and EUR), amount and fee each rounded half to even, and what rounds to nothing has "
    "no row (Kraken support, 2025-05, in freqtrade #11765; a sale of 2017-07 in ccxt #8204: told 68.42692"
    " less 0.16422, booked 68.4269 less 0.1642; rotki #13038 of 2026-09). Toward zero where what rounding"
    " up would take is not free: assumed.",
    "A relative price is cut down to the tick (Kraken's notice of September 2017) and told as worked out.",
    "price2 with + or - is taken from the trigger; with # the way that makes the limit easier to fill.",
    "A closed order lies in a range of time (closetime both) when its opening or its closing does.",
    "EditOrder: the volume given is the whole order's, what was filled before is taken off it.",
    "A GTD order without expiretm, and expiretm without GTD, are invalid arguments.",
    "An elapsed deadline is refused as such; one not 2 to 60 s ahead is an invalid argument.",
    "A request refused by a counter adds nothing to it; an order refused otherwise costs its fixed part.",
    "cl_ord_id: any 18 printable ASCII characters pass; one public client measured that capitals do not.",
    "GetApiKeyInfo's words for permissions are documented for four of them; the others are formed alike.",
    "trade_id in TradesHistory counts the orders and trades of all pairs, not the trades of each.",
    "An order that waits for its trigger is told as open; stopprice holds its trigger.",
    "An order by cost (viqc) is told in base afterwards, and without that flag.",
    "A txid or ledger id that nothing belongs to is left out of QueryOrders, QueryTrades and QueryLedgers.",
    "Private endpoints answer POST only; a GET is an unknown method.",
)
"""What the documentation and other public facts leave open, and how the sandbox took it."""
