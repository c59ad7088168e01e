"""ccxt, unmodified, trades on the sandbox's core: its HTTP session is handed the core's answers."""

import io
from typing import Any
from urllib.parse import urlsplit

import pytest

from lotwise.kraken.signature import credentials
from lotwise.sandbox.keys import made_up_key
from lotwise.sandbox.wire import Request
from tests.sandbox_client import NOW, Client, client, core

ccxt = pytest.importorskip("ccxt")
requests = pytest.importorskip("requests")


class Door:
    """What requests calls an adapter: takes a prepared request to the core, and its answer back."""

    def __init__(self, a: Client) -> None:
        self.client = a

    def send(self, request: Any, **_: object) -> Any:
        url = urlsplit(request.url)
        target = url.path + (f"?{url.query}" if url.query else "")
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        answered = self.client.core.handle(
            Request(request.method, target, dict(request.headers), body), self.client.now
        )
        response = requests.Response()
        response.status_code = answered.status
        response.headers.update(answered.headers)
        response.raw = io.BytesIO(answered.body)
        response.request, response.url = request, request.url
        return response

    def close(self) -> None:
        pass


@pytest.fixture
def a() -> Client:
    return client(money="1000 USDT, 10 SOL, 1 BTC")


@pytest.fixture
def kraken(a: Client) -> Any:
    key, secret = made_up_key(1, 0)
    assert credentials(key, secret) == a.credentials
    made = ccxt.kraken({"apiKey": key, "secret": secret, "enableRateLimit": False})
    made.session.mount("https://", Door(a))
    return made


def test_ccxt_reads_the_markets_as_they_are_listed(kraken: Any) -> None:
    markets = kraken.load_markets()
    assert set(markets) == {"BTC/USD", "SOL/USDT", "DOGE/USD", "SHIB/USDT"}
    for symbol, row in markets.items():
        ours = core().exchange.markets()[symbol]
        assert row["precision"] == {"amount": float(ours.lot_step), "price": float(ours.tick_size)}
        assert row["limits"]["amount"]["min"] == float(ours.min_quantity)
        assert row["limits"]["cost"]["min"] == float(ours.min_notional)
        assert row["active"] is True


def test_ccxt_reads_prices_book_trades_and_candles(kraken: Any) -> None:
    kraken.create_order("SOL/USDT", "market", "buy", 1)
    ticker = kraken.fetch_ticker("SOL/USDT")
    assert (ticker["bid"], ticker["ask"], ticker["last"]) == (99.9, 100.1, 100.1)
    assert kraken.fetch_order_book("SOL/USDT")["bids"][0][:2] == [99.9, 3.0]
    (trade,) = kraken.fetch_trades("SOL/USDT")
    assert (trade["side"], trade["price"], trade["amount"]) == ("buy", 100.1, 1.0)
    assert kraken.fetch_ohlcv("SOL/USDT")[-1][1:] == [100.1, 100.1, 100.1, 100.1, 1.0]
    assert kraken.fetch_time() == NOW
    assert kraken.fetch_status()["status"] == "ok"
    assert set(kraken.fetch_currencies()) == {"BTC", "USD", "SOL", "USDT", "DOGE", "SHIB"}


def test_ccxt_places_changes_finds_and_cancels_an_order(kraken: Any) -> None:
    placed = kraken.create_order(
        "SOL/USDT", "limit", "buy", 1, 99, {"postOnly": True, "clientOrderId": "mine"}
    )
    balance = kraken.fetch_balance()["USDT"]
    assert (balance["free"], balance["used"], balance["total"]) == (900.604, 99.396, 1000.0)
    kraken.edit_order(placed["id"], "SOL/USDT", "limit", "buy", 2, 98.5)
    (found,) = kraken.fetch_open_orders("SOL/USDT")
    assert (found["id"], found["clientOrderId"]) == (placed["id"], "mine")
    assert (found["status"], found["amount"], found["price"]) == ("open", 2.0, 98.5)
    assert found["postOnly"] is True
    kraken.cancel_order(placed["id"])
    assert kraken.fetch_open_orders() == []
    assert kraken.fetch_order(placed["id"])["status"] == "canceled"
    with pytest.raises(ccxt.OrderNotFound):
        kraken.cancel_order(placed["id"])


def test_ccxt_sees_its_trades_fees_and_ledger(kraken: Any) -> None:
    placed = kraken.create_order("SOL/USDT", "market", "sell", 1)
    (order,) = kraken.fetch_closed_orders("SOL/USDT")
    assert (order["id"], order["status"], order["filled"]) == (placed["id"], "closed", 1.0)
    assert (float(order["fee"]["cost"]), order["fee"]["currency"]) == (0.7992, "USDT")
    (trade,) = kraken.fetch_my_trades("SOL/USDT")
    assert (trade["order"], trade["cost"], trade["fee"]["cost"]) == (placed["id"], 99.9, 0.7992)
    assert trade["takerOrMaker"] == "taker"
    (same,) = kraken.fetch_order_trades(placed["id"], "SOL/USDT", None, None, {"trades": [trade["id"]]})
    assert (same["id"], same["order"]) == (trade["id"], placed["id"])
    fee = kraken.fetch_trading_fee("SOL/USDT")
    assert (fee["maker"], fee["taker"]) == (0.004, 0.008)
    assert {row["type"] for row in kraken.fetch_ledger("SOL")} == {"transaction", "trade"}


def test_ccxt_buys_by_cost_and_sets_stops(kraken: Any) -> None:
    kraken.create_market_buy_order_with_cost("SOL/USDT", 100)
    (bought,) = kraken.fetch_closed_orders("SOL/USDT")
    assert 99.99 < bought["cost"] <= 100
    kraken.create_order("SOL/USDT", "limit", "sell", 1, 90, {"stopLossPrice": 95})
    (stop,) = kraken.fetch_open_orders("SOL/USDT")
    assert (stop["stopLossPrice"], stop["price"], stop["side"]) == (95.0, 90.0, "sell")
    assert kraken.cancel_all_orders()
    assert kraken.cancel_all_orders_after(60_000)["result"]["triggerTime"] == "2026-09-21T14:14:20Z"


def test_ccxt_knows_what_went_wrong(kraken: Any, a: Client) -> None:
    for raised, order in (
        (ccxt.InsufficientFunds, ("SOL/USDT", "limit", "buy", 100, 99)),
        (ccxt.InvalidOrder, ("SOL/USDT", "limit", "buy", 0.001, 99)),
        (ccxt.ExchangeNotAvailable, ("SHIB/USDT", "market", "buy", 200_000)),
    ):
        with pytest.raises(raised):
            kraken.create_order(*order)
    with pytest.raises(ccxt.ExchangeError, match="EQuery:Unknown asset pair"):
        kraken.public_get_ticker({"pair": "NOPE"})
    kraken.secret = made_up_key(1, 1)[1]
    with pytest.raises(ccxt.ExchangeError, match="EAPI:Invalid signature"):
        kraken.fetch_balance()
