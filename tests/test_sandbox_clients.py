"""Kraken's public clients, unmodified but for their base URL, against a sandbox on loopback."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from lotwise.sandbox.service import Hosted, Sandbox, hosted

ccxt = pytest.importorskip("ccxt")
ccxt_pro = pytest.importorskip("ccxt.pro")
ccxt_async = pytest.importorskip("ccxt.async_support")
kraken = pytest.importorskip("kraken.spot")

SECONDS = 20.0
"""No test takes longer."""


@pytest.fixture
def sandbox() -> Iterator[Hosted]:
    """One whose time stands still until it is moved, so that the crowd does too."""
    with hosted(Sandbox(speed=0, rate_limits=False)) as made:
        yield made


def options(sandbox: Hosted) -> dict[str, Any]:
    sockets = {
        "publicV2": f"{sandbox.ws_url}/v2",
        "privateV2": f"{sandbox.auth_ws_url}/v2",
        "private": sandbox.auth_ws_url,
    }
    urls = {"api": {"public": sandbox.url, "private": sandbox.url, "ws": sockets}}
    return {"apiKey": sandbox.key, "secret": sandbox.secret, "enableRateLimit": False, "urls": urls}


def bounded(work: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(SECONDS):
            await work()

    asyncio.run(run())


async def until(holds: Callable[[], Any]) -> None:
    while not holds():
        await asyncio.sleep(0.02)


# ccxt


def test_ccxt_reads_markets_ticker_book_and_candles(sandbox: Hosted) -> None:
    exchange = ccxt.kraken(options(sandbox))
    markets = exchange.load_markets()
    assert {"BTC/USD", "SOL/USDT", "DOGE/USD"} <= set(markets)
    assert markets["SOL/USD"]["limits"]["amount"]["min"] == 0.06
    ticker = exchange.fetch_ticker("BTC/USD")
    book = exchange.fetch_order_book("BTC/USD", 5)
    assert (ticker["bid"], ticker["ask"]) == (book["bids"][0][0], book["asks"][0][0])
    assert book["bids"][0][0] < book["asks"][0][0]
    assert len(book["bids"]) == len(book["asks"]) == 5
    assert exchange.fetch_ohlcv("BTC/USD")
    assert exchange.fetch_trades("BTC/USD")


def test_ccxt_creates_edits_finds_and_cancels_an_order(sandbox: Hosted) -> None:
    exchange = ccxt.kraken(options(sandbox))
    placed = exchange.create_order("SOL/USDT", "limit", "buy", 1, 90, {"clientOrderId": "mine"})
    assert exchange.fetch_balance()["USDT"]["free"] < 1000 == exchange.fetch_balance()["USDT"]["total"]
    exchange.edit_order(placed["id"], "SOL/USDT", "limit", "buy", 2, 91)
    (found,) = exchange.fetch_open_orders("SOL/USDT")
    assert (found["id"], found["amount"], found["price"]) == (placed["id"], 2.0, 91.0)
    exchange.cancel_order(placed["id"])
    assert exchange.fetch_open_orders() == []
    (closed,) = exchange.fetch_closed_orders("SOL/USDT")
    assert (closed["id"], closed["status"]) == (placed["id"], "canceled")


def test_ccxt_sees_what_its_market_order_paid(sandbox: Hosted) -> None:
    exchange = ccxt.kraken(options(sandbox))
    placed = exchange.create_order("SOL/USDT", "market", "buy", 0.5)
    (trade,) = exchange.fetch_my_trades("SOL/USDT")
    assert (trade["order"], trade["amount"], trade["takerOrMaker"]) == (placed["id"], 0.5, "taker")
    assert trade["fee"]["cost"] == pytest.approx(trade["cost"] * 0.008)
    assert exchange.fetch_balance()["SOL"]["total"] == 10.5


def test_ccxt_sees_an_order_that_was_filled_in_part(sandbox: Hosted) -> None:
    exchange = ccxt.kraken(options(sandbox))
    (price, waiting, *_) = exchange.fetch_order_book("MANA/USDT", 1)["asks"][0]
    placed = exchange.create_order("MANA/USDT", "limit", "buy", waiting + 10, price)
    order = exchange.fetch_order(placed["id"])
    assert (order["status"], order["filled"], order["remaining"]) == ("open", waiting, pytest.approx(10))


def test_ccxt_has_an_order_canceled_that_must_only_wait_and_would_not(sandbox: Hosted) -> None:
    exchange = ccxt.kraken(options(sandbox))
    placed = exchange.create_order("SOL/USDT", "limit", "buy", 1, 200, {"postOnly": True})
    order = exchange.fetch_order(placed["id"])
    assert (order["status"], order["filled"]) == ("canceled", 0.0)
    assert order["info"]["reason"] == "Post only order"


def test_ccxt_is_told_in_krakens_words_that_an_order_is_too_small(sandbox: Hosted) -> None:
    exchange = ccxt.kraken(options(sandbox))
    words = "EGeneral:Invalid arguments:volume minimum not met"
    with pytest.raises(ccxt.InvalidOrder, match=words):
        exchange.create_order("SOL/USDT", "limit", "buy", 0.01, 130)


def test_ccxt_works_asynchronously_as_it_does_otherwise(sandbox: Hosted) -> None:
    async def work() -> None:
        async with ccxt_async.kraken(options(sandbox)) as exchange:
            await exchange.load_markets()
            ticker = await exchange.fetch_ticker("ETH/USD")
            assert ticker["bid"] < ticker["ask"]
            book = await exchange.fetch_order_book("ETH/USD")
            placed = await exchange.create_order("ETH/USD", "limit", "buy", 0.1, book["bids"][0][0] * 0.9)
            await exchange.edit_order(placed["id"], "ETH/USD", "limit", "buy", 0.05, 2000)
            (found,) = await exchange.fetch_open_orders()
            assert (found["id"], found["amount"]) == (placed["id"], 0.05)
            await exchange.cancel_order(placed["id"])
            sold = await exchange.create_order("ETH/USD", "market", "sell", 0.1)
            closed = {order["id"]: order["status"] for order in await exchange.fetch_closed_orders()}
            assert closed == {placed["id"]: "canceled", sold["id"]: "closed"}
            (trade,) = await exchange.fetch_my_trades()
            assert trade["order"] == sold["id"]
            assert (await exchange.fetch_balance())["ETH"]["total"] == 0.9

    bounded(work)


def test_ccxt_pro_watches_book_ticker_trades_and_candles(sandbox: Hosted) -> None:
    async def work() -> None:
        async with ccxt_pro.kraken(options(sandbox)) as exchange:
            first = await exchange.watch_order_book("BTC/USD")
            assert len(first["bids"]) == len(first["asks"]) == 10
            ticker = await exchange.watch_ticker("BTC/USD")
            assert ticker["bid"] == first["bids"][0][0]
            news = [asyncio.create_task(exchange.watch_trades("BTC/USD"))]
            news.append(asyncio.create_task(exchange.watch_ohlcv("BTC/USD")))
            for _ in range(20):
                update = asyncio.create_task(exchange.watch_order_book("BTC/USD"))
                while not update.done():
                    sandbox.do(lambda admin: admin.advance(1))
                    await asyncio.sleep(0.02)
                book = await update
                assert book["bids"][0][0] < book["asks"][0][0]
            trades, candles = await asyncio.gather(*news)
            assert trades[-1]["symbol"] == "BTC/USD"
            assert len(candles[-1]) == 6
            told = await exchange.fetch_order_book("BTC/USD", 10)
            assert [level[:2] for level in told["bids"]] == [level[:2] for level in book["bids"]]
            assert [level[:2] for level in told["asks"]] == [level[:2] for level in book["asks"]]

    bounded(work)


def test_ccxt_pro_watches_its_orders_trades_and_balance_while_it_trades(sandbox: Hosted) -> None:
    async def work() -> None:
        async with ccxt_pro.kraken(options(sandbox)) as exchange:
            orders = asyncio.create_task(exchange.watch_orders())
            trades = asyncio.create_task(exchange.watch_my_trades())
            balance = await exchange.watch_balance()
            assert balance["USDT"]["total"] == 1000
            await asyncio.sleep(0.1)
            placed = await exchange.create_order_ws("SOL/USDT", "market", "buy", 0.5)
            assert {order["id"] for order in await orders} == {placed["id"]}
            assert {trade["order"] for trade in await trades} == {placed["id"]}
            await until(lambda: exchange.balance["spot"]["USDT"]["total"] < 1000)
            assert exchange.balance["spot"]["SOL"]["total"] == 10.5
            waiting = await exchange.create_order_ws("SOL/USDT", "limit", "buy", 0.5, 90)
            await exchange.edit_order_ws(waiting["id"], "SOL/USDT", "limit", "buy", 0.4, 91)
            (found,) = await exchange.fetch_open_orders()
            assert (found["id"], found["amount"]) == (waiting["id"], 0.4)
            await exchange.cancel_order_ws(waiting["id"])
            assert await exchange.fetch_open_orders() == []

    bounded(work)


# python-kraken-sdk


def test_python_kraken_sdk_reads_and_trades_over_rest(sandbox: Hosted) -> None:
    keys = {"key": sandbox.key, "secret": sandbox.secret, "url": sandbox.url}
    with kraken.Market(url=sandbox.url) as market, kraken.User(**keys) as user, kraken.Trade(**keys) as trade:
        assert market.get_asset_pairs(pair="SOLUSDT")["SOLUSDT"]["wsname"] == "SOL/USDT"
        assert float(market.get_ticker(pair="SOLUSDT")["SOLUSDT"]["c"][0]) > 0
        assert market.get_order_book(pair="SOLUSDT", count=3)["SOLUSDT"]["asks"]
        assert float(user.get_account_balance()["USDT"]) == 1000
        placed = trade.create_order(
            ordertype="limit", side="buy", pair="SOLUSDT", volume=1, price=90, userref=7, oflags=["post"]
        )
        (txid,) = placed["txid"]
        trade.amend_order(extra_params={"txid": txid, "order_qty": "2", "limit_price": "91"})
        assert user.get_open_orders(userref=7)["open"][txid]["vol"] == "2.00000000"
        assert trade.cancel_order(txid=txid)["count"] == 1
        (sold,) = trade.create_order(ordertype="market", side="sell", pair="SOLUSDT", volume=1)["txid"]
        closed = user.get_closed_orders()["closed"]
        assert (closed[txid]["status"], closed[sold]["status"]) == ("canceled", "closed")
        (mine,) = user.get_trades_history()["trades"].values()
        assert (mine["ordertxid"], mine["vol"]) == (sold, "1.00000000")


def test_python_kraken_sdk_raises_its_own_exceptions(sandbox: Hosted) -> None:
    from kraken.exceptions import KrakenInsufficientFundsError, KrakenInvalidSignatureError

    trade = kraken.Trade(key=sandbox.key, secret=sandbox.secret, url=sandbox.url)
    with trade, pytest.raises(KrakenInsufficientFundsError):
        trade.create_order(ordertype="limit", side="buy", pair="SOLUSDT", volume=100, price=90)
    other = kraken.User(key=sandbox.key, secret="c2VjcmV0", url=sandbox.url)
    with other, pytest.raises(KrakenInvalidSignatureError):
        other.get_account_balance()


def test_python_kraken_sdk_finds_every_checksum_of_a_book_right(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(sandbox: Hosted) -> None:
        valid: list[bool] = []

        class Book(kraken.SpotOrderBookClient):  # type: ignore[misc, name-defined]
            WS_URL = sandbox.ws_url

            async def on_book_update(self, pair: str, message: dict[str, Any]) -> None:
                valid.append(self.get(pair=pair)["valid"])

        book = Book(depth=10)
        await book.start()
        await book.add_book(pairs=["BTC/USD", "SOL/USDT"])
        await until(lambda: len(valid) >= 100)
        await book.close()
        assert all(valid)

    # At sixty times real time, the sooner for a hundred changes.
    with hosted(Sandbox(speed=60)) as sandbox:
        # This client makes its REST client itself and hands it no URL.
        monkeypatch.setattr(kraken.Market, "URL", sandbox.url)
        bounded(lambda: work(sandbox))


def test_python_kraken_sdk_hears_of_its_orders_over_its_private_connection() -> None:
    async def work(sandbox: Hosted) -> None:
        heard: list[dict[str, Any]] = []

        async def on_message(message: dict[str, Any]) -> None:
            heard.append(message)

        client = kraken.SpotWSClient(
            sandbox.key,
            sandbox.secret,
            on_message,
            no_public=True,
            rest_url=sandbox.url,
            ws_url=sandbox.ws_url,
            auth_ws_url=sandbox.auth_ws_url,
        )
        await client.start()
        await until(lambda: sum(message.get("channel") == "status" for message in heard) == 1)
        await client.subscribe(params={"channel": "executions", "snap_orders": True})
        await client.subscribe(params={"channel": "balances"})
        await until(lambda: any(message.get("channel") == "balances" for message in heard))
        order = {
            "order_type": "limit",
            "side": "buy",
            "symbol": "SOL/USDT",
            "order_qty": 1,
            "limit_price": 90,
        }
        await client.send_message(message={"method": "add_order", "params": order})
        await until(lambda: "new" in told(heard))
        await client.close()
        assert told(heard) == ["pending_new", "new"]

    def told(heard: list[dict[str, Any]]) -> list[str]:
        rows = (row for message in heard if message.get("channel") == "executions" for row in message["data"])
        return [row["exec_type"] for row in rows]

    with hosted(Sandbox()) as sandbox:
        bounded(lambda: work(sandbox))
