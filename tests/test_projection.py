"""Projections: the exact course of a plan, the compiled rule, and the paths drawn under it."""

import json
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from lotwise.app.cli import cli
from lotwise.domain.market import PPM, break_even_move
from lotwise.domain.sizing import (
    CEILING_64,
    OVERFLOW,
    UNBOUNDED,
    Purse,
    Reason,
    Terms,
    choose_lots,
)
from lotwise.domain.values import BadField
from lotwise.research import compiled
from lotwise.research.compiled import CHUNK, TREE_DEPTH, simulate, size_batch, walk
from lotwise.research.projection import LockOut, Odds, Plan, money, project, settle

D = Decimal
MAKER, TAKER = D("0.004"), D("0.008")
ORIGINAL = Plan(D("2.86"), trades=10, gain=D("0.01"))
EVEN_ODDS = Plan(D("2.86"), trades=20, gain=D("0.02"))
"""Long enough to leave the shared tree; a loss of 0.02 at a win rate of 0.5 makes its edge zero."""


def a_plan(balance: str, trades: int, gain: str, **policy: str) -> Plan:
    return Plan(D(balance), trades, D(gain), **{name: D(text) for name, text in policy.items()})


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["project", *arguments])


def ask_original(*arguments: str) -> Result:
    return ask("--balance", "2.86", "--trades", "10", "--gain", "0.01", *arguments)


def test_before_fees_ten_trades_of_one_percent_turn_286_into_about_314() -> None:
    course = project(ORIGINAL, D(0))
    assert (course.final, course.profit) == (D("3.14361433"), D("0.28361433"))
    assert course.growth == D("0.099165")
    assert course.lock_out is None


def test_a_one_percent_target_loses_money_with_taker_orders() -> None:
    assert project(ORIGINAL, MAKER).profit == D("0.05370149")
    assert project(ORIGINAL, TAKER).profit < 0


def test_both_fees_are_taken_on_the_notional_of_their_side() -> None:
    # Half of 10 is bought: fee 0.05. It sells for 5.50: fee 0.055. 0.50 - 0.105 is left.
    course = project(a_plan("10", 1, "0.1", fraction="0.5", minimum="1"), D("0.01"))
    assert course.profit == D("0.395")
    assert course.growth == D("0.0395")


def test_growth_is_rounded_down_when_it_is_a_loss_too() -> None:
    course = project(a_plan("3", 1, "-0.1", fraction="1", minimum="1", cap="1"), D(0))
    assert (course.profit, course.growth) == (D("-0.1"), D("-0.033334"))


def test_the_cap_limits_what_a_trade_can_gain() -> None:
    assert project(a_plan("50", 3, "0.01", cap="10"), D(0)).profit == D("0.3")


def test_a_balance_of_many_digits_doubles_to_the_last_one() -> None:
    balance = "1234567890123456789012.00000007"
    assert project(a_plan(balance, 1, "1", fraction="1", cap=balance), D(0)).profit == D(balance)


def test_a_share_below_the_minimum_is_raised_to_it() -> None:
    # 0.95 x 2.6 is 2.47.
    assert project(a_plan("2.6", 1, "0.01"), D(0)).profit == D("0.025")


def test_gains_of_the_break_even_move_keep_the_balance_and_a_ppm_less_does_not() -> None:
    move = break_even_move(TAKER, TAKER)
    assert project(a_plan("100", 50, str(move)), TAKER).profit > 0
    assert project(a_plan("100", 50, str(move - D("0.000001"))), TAKER).profit < 0


def test_losing_trades_end_in_a_lock_out_that_says_when_and_why_and_what_would_do() -> None:
    plan = a_plan("2.55", 10, "-0.01", minimum="2.5")
    course = project(plan, D(0))
    # 2.55, 2.525, 2.5, 2.475: each trade is the minimum and loses 0.025.
    assert course.final == D("2.475")
    assert course.lock_out == LockOut(4, Reason.BELOW_FLOOR, needed=D("2.5"))


def test_a_plan_whose_first_trade_is_refused_keeps_its_balance() -> None:
    course = project(a_plan("50", 10, "0.01", cap="2"), D(0))
    assert (course.final, course.profit, course.growth) == (50, 0, 0)
    assert course.lock_out == LockOut(1, Reason.CAP_BELOW_MINIMUM, needed=None)


@given(
    lots=st.integers(0, 10**15), kept=st.integers(0, 3 * PPM), fee=st.integers(0, PPM - 1)
)  # fmt: skip
def test_every_rounding_of_a_round_trip_is_against_us_by_less_than_a_unit(
    lots: int, kept: int, fee: int
) -> None:
    change, fees = settle(lots, kept, fee)
    proceeds, rate = Fraction(lots * kept, PPM), Fraction(fee, PPM)
    assert -3 < change - (proceeds - lots - (lots + proceeds) * rate) <= 0
    assert fees >= (lots + proceeds // 1) * rate
    assert change + lots >= -fees


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("balance", "0"),
        ("balance", "0.000000001"),
        ("gain", "-1"),
        ("gain", "0.0000001"),
        ("gain", "1000.1"),
        ("fraction", "0"),
        ("fraction", "1.1"),
        ("fraction", "0.9500001"),
        ("cap", "0"),
        ("minimum", "-1"),
    ],
)
def test_a_plan_refuses_a_field_that_makes_no_sense(field: str, wrong: str) -> None:
    values = {"balance": D("2.86"), "gain": D("0.01")} | {field: D(wrong)}
    with pytest.raises(BadField) as bad:
        Plan(trades=1, **values)
    assert bad.value.field == field


# SHIB/USDT: a tick of 10^-8 and a lot of 10^-5 make quanta of 10^-13; DOGE with its fee in the coin.
SHIB = Terms(1300, 1274, 10**5, 16 * 10**9, -1, 5 * 10**12, 25 * 10**12, 16 * 10**9, 5 * 10**12, 4000, 0)
DOGE = Terms(
    20000, 19400, 10**5, 13 * 10**8, 2 * 10**10, 5 * 10**12, 25 * 10**12, 13 * 10**8, 5 * 10**12, 4000, 1
)


@pytest.mark.parametrize("terms", [SHIB, DOGE])
def test_a_batch_decides_as_the_rule_does_one_by_one(terms: Terms) -> None:
    purse = Purse(0, 19, 20, cap=10**14, risk=-1, raise_to_minimum=1)
    random = np.random.default_rng(1)
    near = random.integers(2 * 10**13, 12 * 10**13, 1000)
    edges = np.array([-(2**63), -1, 0, 1, 25 * 10**12, 25 * 10**12 + 10**11, 2**62 - 1, 2**62, 2**63 - 1])
    frees = np.concatenate([near, edges])
    outcomes, lots = size_batch(frees, purse, terms)
    one_by_one = [choose_lots(purse._replace(free=int(free)), terms, UNBOUNDED) for free in frees]
    assert list(zip(outcomes.tolist(), lots.tolist(), strict=True)) == [found[:2] for found in one_by_one]
    assert len(set(outcomes.tolist())) > 3, "the balances meet several bounds and refusals"


def test_a_batch_falls_back_to_pythons_integers_where_the_compiled_rule_overflows() -> None:
    purse = Purse(2**63 - 1, 19, 20, cap=2**70, risk=-1, raise_to_minimum=1)
    within = purse._replace(cap=10**14)
    assert compiled.choose_lots_64(within, SHIB, CEILING_64)[0] == OVERFLOW
    for mine in (purse, within):
        outcomes, lots = size_batch(np.array([mine.free]), mine, SHIB)
        assert (outcomes[0], lots[0]) == choose_lots(mine, SHIB, UNBOUNDED)[:2]


@pytest.mark.parametrize("trades", [1, TREE_DEPTH, TREE_DEPTH + 7])
def test_paths_that_always_win_all_end_where_the_exact_course_does(trades: int) -> None:
    plan = Plan(D("2.86"), trades, D("0.0123"))
    walks = walk(plan, MAKER, Odds(D(1), D("0.02"), paths=3))
    assert {money(int(final)) for final in walks.finals} == {project(plan, MAKER).final}


def test_paths_that_always_lose_are_locked_out_at_the_trade_of_the_exact_course() -> None:
    losing = Plan(D("2.86"), 30, D("-0.01"))
    course = project(losing, MAKER)
    walks = walk(Plan(D("2.86"), 30, D("0.01")), MAKER, Odds(D(0), D("0.01"), paths=5))
    assert course.lock_out
    before = course.lock_out.trade - 1
    assert walks.locked_out.tolist() == [0] * before + [5] * (30 - before)
    assert {money(int(final)) for final in walks.finals} == {course.final}


def splitmix(counter: int) -> int:
    """SplitMix64 after its reference in C, on Python's integers."""
    bits = counter % 2**64
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
    return bits ^ bits >> 31


def test_a_path_is_the_rule_and_the_draws_of_its_own_counter_step_by_step() -> None:
    seed, paths, loss = 7, CHUNK + 5, D("0.015")
    walks = walk(EVEN_ODDS, MAKER, Odds(D("0.5"), loss, paths, seed))
    for path in (0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 4):
        free, costs = 286000000, 0
        for trade in range(EVEN_ODDS.trades):
            draw = splitmix(splitmix(seed) + 0x9E3779B97F4A7C15 * (path * 2**14 + trade))
            purse = Purse(free, 19, 20, cap=10**9, risk=-1, raise_to_minimum=1)
            terms = Terms(1, 1, 1, 1, -1, 0, 250000000, 1, 0, 4000, 0)
            _, lots, _ = choose_lots(purse, terms, UNBOUNDED)
            change, fees = settle(lots, 1020000 if draw < 2**63 else 985000, 4000)
            free, costs = free + change, costs + fees
        assert (walks.finals[path], walks.costs[path]) == (free, costs)


def test_one_seed_gives_one_answer_whatever_the_number_of_threads() -> None:
    odds = Odds(D("0.5"), D("0.02"), paths=3 * CHUNK + 1, seed=11)
    one, two = (walk(EVEN_ODDS, MAKER, odds, threads) for threads in (1, 2))
    other = walk(EVEN_ODDS, MAKER, Odds(D("0.5"), D("0.02"), paths=3 * CHUNK + 1, seed=12))
    assert all(np.array_equal(mine, yours) for mine, yours in zip(one, two, strict=True))
    assert not np.array_equal(one.finals, other.finals)


def test_without_an_edge_the_mean_result_is_a_loss_of_the_costs() -> None:
    paths = 200_000
    walks = walk(EVEN_ODDS, MAKER, Odds(D("0.5"), D("0.02"), paths))
    # Each path's result beside its costs is a fair game: its mean is 0 within the sampling error,
    # of which five standard errors are allowed. A trade's proceeds lose at most one unit by rounding.
    beside_costs = walks.finals - 286000000 + walks.costs
    tolerance = 5 * float(beside_costs.std()) / paths**0.5 + EVEN_ODDS.trades
    assert abs(float(beside_costs.mean())) < tolerance
    assert float(walks.costs.mean()) > 10 * tolerance, "the tolerance would show a missing fee"


def test_a_single_trade_wins_as_often_as_its_win_rate() -> None:
    plan = Plan(D("2.86"), 1, D("0.05"))
    found = simulate(plan, MAKER, Odds(D("0.3"), D("0.03"), paths=100_000))
    # The share of losses has a standard error of 0.00145.
    assert abs(found.loss_probability - D("0.7")) < D("0.0073")
    assert (found.p05, found.p95) == (found.median, project(plan, MAKER).final)
    assert found.lock_out_by_trade == (0,)


@pytest.mark.parametrize(("paths", "ranks"), [(20, (0, 9, 18)), (20_001, (1000, 10000, 19000))])
def test_quantiles_shares_and_histogram_tell_of_the_same_paths(paths: int, ranks: tuple[int, ...]) -> None:
    odds = Odds(D("0.5"), D("0.02"), paths)
    found = simulate(EVEN_ODDS, MAKER, odds)
    walks = walk(EVEN_ODDS, MAKER, odds)
    finals = sorted(walks.finals.tolist())
    assert [found.p05, found.median, found.p95] == [money(finals[rank]) for rank in ranks]
    assert found.mean == money(sum(finals) // odds.paths)
    assert found.mean_costs == money(-(-sum(walks.costs.tolist()) // odds.paths))
    losses = sum(final < 286000000 for final in finals)
    assert found.loss_probability == D(-(-losses * PPM // odds.paths)) / PPM
    assert list(found.lock_out_by_trade) == sorted(found.lock_out_by_trade)
    assert found.lock_out_probability == found.lock_out_by_trade[-1] > 0
    assert sum(part.paths for part in found.histogram) == odds.paths
    for part in found.histogram:
        assert part.paths == sum(part.low <= money(final) <= part.high for final in finals)


def test_what_passes_64_bits_is_refused_and_not_wrapped_around() -> None:
    odds = Odds(D("0.5"), D("0.02"), paths=10)
    for huge, field in (
        (a_plan("1" + "0" * 12, 10, "0.01"), "balance"),
        (a_plan("2.86", 10, "0.01", minimum="1" + "0" * 25), "minimum"),
        (a_plan("2.86", 100, "9", cap="1" + "0" * 25), "balance"),
    ):
        with pytest.raises(BadField) as bad:
            walk(huge, MAKER, odds)
        assert bad.value.field == field


@pytest.mark.parametrize("gain", ["300", "560", "1000"])
def test_gains_without_measure_come_out_exactly_or_are_refused(gain: str) -> None:
    plan = a_plan("2.86", 4, gain, cap="1" + "0" * 25)
    try:
        walks = walk(plan, MAKER, Odds(D(1), D("0.02"), paths=1))
    except BadField as bad:
        assert bad.field == "balance"
    else:
        assert money(int(walks.finals[0])) == project(plan, MAKER).final


def test_the_command_answers_in_stable_fields() -> None:
    answer = json.loads(ask_original("--json").output)
    assert answer["gross"] == {
        "final": "3.14361433", "profit": "0.28361433", "growth": "0.099165", "lock_out": None,
    }  # fmt: skip
    assert answer["net"]["final"] == "2.91370149"
    assert D(answer["net_taker"]["profit"]) < 0
    assert (answer["fee_rate"], answer["taker_fee_rate"], answer["fees_as_of"]) == (
        "0.004", "0.008", "2026-07-09",
    )  # fmt: skip
    assert answer["break_even_move"] == "0.008033"
    assert answer["monte_carlo"] is None


def test_the_command_draws_paths_when_it_is_given_the_odds() -> None:
    arguments = ("--fee-rate=0.0025", "--win-rate=0.55", "--loss=0.02", "--paths=5000", "--seed=3")
    answer = json.loads(ask_original(*arguments, "--json").output)
    odds = Odds(D("0.55"), D("0.02"), 5000, 3)
    found = simulate(ORIGINAL, D("0.0025"), odds)
    assert D(answer["monte_carlo"]["median"]) == found.median
    assert [D(share) for share in answer["monte_carlo"]["lock_out_by_trade"]] == list(found.lock_out_by_trade)
    lines = ask_original(*arguments).output.splitlines()
    assert lines[0].startswith("At these odds this plan loses 0.")
    assert any("█" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_the_screen_says_first_whether_the_plan_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = ask_original().output
    assert " ".join(text.split()).startswith(
        "If every trade gains, this plan makes 0.0537 (+1.87 %) after fees with maker orders; with taker"
        " orders (0.8 % a side since 2026-07-09) it loses 0.1610 (-5.63 %)."
    )
    assert "\x1b[3" not in text and max(map(len, text.splitlines())) <= 80
    assert "no promise" in text


def test_the_screen_says_at_which_trade_a_plan_is_locked_out_and_what_would_do() -> None:
    text = " ".join(ask("--balance", "2.55", "--trades", "10", "--gain", "-0.01").output.split())
    assert "Locked out (gross): trade 4 is refused with 2.475 left, BELOW_FLOOR; 2.5 would do." in text


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--balance", "0"),
        ("--balance", "-2.86"),
        ("--balance", "NaN"),
        ("--balance", "1e99"),
        ("--trades", "0"),
        ("--trades", "10001"),
        ("--trades", "1.5"),
        ("--gain", "-1"),
        ("--gain", "Infinity"),
        ("--fraction", "1.01"),
        ("--cap", "x"),
        ("--minimum", "-1"),
        ("--fee-rate", "1"),
        ("--fee-rate", "0.0000001"),
        ("--win-rate", "1.1"),
        ("--win-rate", "-0.1"),
        ("--loss", "1"),
        ("--loss", "-0.01"),
        ("--paths", "0"),
        ("--paths", "10000001"),
        ("--seed", "-1"),
    ],
)
def test_bad_input_ends_with_2_and_names_the_option(option: str, value: str) -> None:
    arguments = {
        "--balance": "2.86",
        "--trades": "10",
        "--gain": "0.01",
        "--win-rate": "0.5",
        "--loss": "0.02",
    }
    result = ask(*(text for pair in (arguments | {option: value}).items() for text in pair))
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.output or f"Invalid value for {option}" in result.output


@pytest.mark.parametrize(("given", "missing"), [("--win-rate", "--loss"), ("--loss", "--win-rate")])
def test_odds_are_given_whole_or_not_at_all(given: str, missing: str) -> None:
    result = ask_original(given, "0.5")
    assert result.exit_code == 2
    assert f"Invalid value for {missing}: is missing beside {given}" in result.output


def test_without_numba_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "lotwise.research.compiled")
    result = ask_original("--win-rate", "0.5", "--loss", "0.02")
    assert result.exit_code == 2
    assert "pip install 'lotwise[research]'" in result.output
    assert ask_original("--json").exit_code == 0, "everything else works without it"
