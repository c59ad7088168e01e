"""What became too small to be sold: the way out is told with its cost, and costs that."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lotwise.app.cli import cli
from lotwise.domain.market import Market, Quote
from lotwise.domain.sizing import Refused
from lotwise.domain.values import Amount, Time
from lotwise.engine.records import Stranded
from lotwise.engine.rescue import WayOut, way_out
from lotwise.store.journal import read
from tests.test_engine import CALM, HOUR, SOL, START, bars, of, told

D = Decimal
BOUGHT = (10000, 10010, 9999, 10000)
DROP = (9000, 9010, 8990, 9000)


def stranded(tmp_path: Path, wallet: str = "10", cap: str = "3") -> Path:
    """The journal of a run whose holding of about 0.03 fell below a minimum that rose to 0.05."""

    def rising(calm: Market, time: Time) -> Market:
        return replace(calm, min_quantity=D("0.05")) if time >= START + 24 * HOUR else calm

    rows = [CALM, BOUGHT, *[CALM] * 22, *[DROP] * 30]
    _, records = told(
        tmp_path,
        {SOL: [1]},
        {SOL: bars(SOL, *rows)},
        rising,
        dry_run_wallet=wallet,
        sizing__max_order_size_usdt=cap,
    )
    assert of(records, Stranded)
    return tmp_path / "engine.journal"


def rescue(path: Path, *options: str, **how: Any) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["rescue", SOL, "--journal", str(path), *options], **how)
    return result.exit_code, result.stdout


def test_a_rescue_costs_what_was_told_before(tmp_path: Path) -> None:
    path = stranded(tmp_path)
    code, text = rescue(path, "--json")
    before = json.loads(text.splitlines()[0])
    assert code == 3 and before["done"] is False and D(before["cost"]) > 0
    code, text = rescue(path, "--yes", "--json")
    after = json.loads(text.splitlines()[0])
    assert code == 0 and after["done"] is True
    assert after["cost"] == before["cost"]
    code, text = rescue(path)
    assert code == 2, "there is nothing left to rescue"


@pytest.mark.parametrize("fee_in_base", [False, True])
def test_the_way_out_buys_the_least_that_the_exchange_takes_and_sells_all(fee_in_base: bool) -> None:
    market = Market(SOL, D("0.01"), D("0.00000001"), D("0.05"), D("0.5"), 5, D("0.004"), D("0.008"))
    market = replace(market, fee_asset="base") if fee_in_base else market  # type: ignore[arg-type]
    quote = Quote(SOL, Time(0), D(100), D("100.01"))
    way = way_out(D("0.03"), market, quote, Amount(D(20), "USDT"), D("0.001"))
    assert isinstance(way, WayOut) and way.top_up is not None
    assert way.sells >= D("0.05") and way.top_up.quantity >= D("0.05")
    smaller = way.top_up.quantity - market.lot_step
    assert smaller < market.min_quantity or fee_in_base, "no smaller purchase would do"
    assert way.cost > 0


def test_what_can_be_sold_as_it_is_needs_no_purchase() -> None:
    market = Market(SOL, D("0.01"), D("0.00000001"), D("0.02"), D("0.5"), 5, D("0.004"), D("0.008"))
    way = way_out(D("0.03"), market, Quote(SOL, Time(0), D(100), D(101)), Amount(D(0), "USDT"), D(0))
    assert isinstance(way, WayOut) and way.top_up is None and way.sells == D("0.03")
    assert way.cost == D("0.024"), "the fee alone: 0.8 % of 3"


def test_a_balance_that_is_too_small_for_the_way_out_is_told_what_it_takes() -> None:
    market = Market(SOL, D("0.01"), D("0.00000001"), D("0.05"), D("0.5"), 5, D("0.004"), D("0.008"))
    quote = Quote(SOL, Time(0), D(100), D("100.01"))
    no = way_out(D("0.03"), market, quote, Amount(D(1), "USDT"), D(0))
    assert isinstance(no, Refused) and no.needed is not None
    assert isinstance(way_out(D("0.03"), market, quote, Amount(no.needed, "USDT"), D(0)), WayOut)


def test_nothing_is_done_without_a_yes(tmp_path: Path) -> None:
    path = stranded(tmp_path)
    rows = list(read(path))
    code, text = rescue(path, input="n\n")
    assert code == 3 and "costs" in text and "Done" not in text
    code, text = rescue(path)
    assert code == 2 and "costs" in text and "Done" not in text, "there is nobody to ask"
    code, text = rescue(path, "--json")
    assert code == 3 and json.loads(text)["done"] is False and list(read(path)) == rows
    code, text = rescue(path, "--yes")
    assert code == 0 and "Done" in text and list(read(path)) != rows


def test_a_pair_that_is_not_stuck_is_told_what_is(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["rescue", "ADA/USDT", "--journal", str(stranded(tmp_path))])
    assert result.exit_code == 2 and "nothing is held on ADA/USDT; stuck are: SOL/USDT" in result.output
