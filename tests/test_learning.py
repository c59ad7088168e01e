"""An exchange that changes its rules: one refusal teaches, what became too small is shown and left alone."""

import asyncio
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from lotwise.app.loop import Moment, answer, run
from lotwise.app.wire import Run, Source, built_in_market, open_run
from lotwise.domain.market import Market
from lotwise.domain.orders import SIZE_REJECTIONS, Rejected, RejectionKind
from lotwise.domain.values import BadField, Time
from lotwise.engine.records import Event, Learned, Listed, MarketUpdate, Record, Rescue, Stranded, Submit
from lotwise.engine.rescue import WayOut
from lotwise.markets import EVIDENCE_AGE, Evidence, raised, taught_by_acceptance, taught_by_refusal
from lotwise.store.journal import Journal
from lotwise.venues.simulated import ACCOUNT, listed
from tests.runs import settings_of

NOW = Time(1_753_747_200_000)
DAY = 86_400_000
D = Decimal
SOL = Market("SOL/USDT", D("0.01"), D("0.00000001"), D("0.02"), D("0.5"), 5, D("0.0025"), D("0.004"))


def refused(kind: RejectionKind, quantity: str, notional: str, known: Evidence | None = None) -> Evidence:
    return taught_by_refusal(known, kind, D(quantity), D(notional), (SOL, NOW))


def test_after_a_refusal_the_minimum_lies_above_what_was_refused() -> None:
    taught = refused(RejectionKind.MIN_QUANTITY, "0.03", "4.5")
    assert raised(SOL, taught, NOW).min_quantity == D("0.03000001")
    assert raised(SOL, taught, NOW).min_notional == D("0.5")
    taught = refused(RejectionKind.MIN_NOTIONAL, "0.03", "4.5", taught)
    assert (taught.min_quantity, taught.min_notional) == (D("0.03000001"), D("4.50001"))


def test_a_refusal_that_the_listing_does_not_explain_contradicts_it() -> None:
    assert refused(RejectionKind.MIN_QUANTITY, "0.03", "4.5").contradicts
    assert not refused(RejectionKind.MIN_QUANTITY, "0.01", "1.5").contradicts


def test_the_largest_refusal_counts() -> None:
    larger = refused(RejectionKind.MIN_QUANTITY, "0.05", "7.5")
    assert refused(RejectionKind.MIN_QUANTITY, "0.03", "4.5", larger).min_quantity == D("0.05000001")


@pytest.mark.parametrize("kind", [k for k in RejectionKind if "min" not in k])
def test_a_refusal_of_another_kind_teaches_nothing_about_minimums(kind: RejectionKind) -> None:
    with pytest.raises(BadField, match="teaches nothing"):
        refused(kind, "0.03", "4.5")


def test_an_acceptance_disproves_what_lies_above_it_and_nothing_else() -> None:
    taught = refused(
        RejectionKind.MIN_NOTIONAL, "0.03", "4.5", refused(RejectionKind.MIN_QUANTITY, "0.03", "4.5")
    )
    assert taught_by_acceptance(taught, D("0.04"), D("6")) == taught
    left = taught_by_acceptance(taught, D("0.03"), D("6"))
    assert left is not None and (left.min_quantity, left.min_notional) == (None, D("4.50001"))
    assert taught_by_acceptance(left, D("0.03"), D("4")) is None


def test_evidence_ages() -> None:
    taught = refused(RejectionKind.MIN_QUANTITY, "0.03", "4.5")
    assert raised(SOL, taught, Time(NOW + EVIDENCE_AGE)).min_quantity > SOL.min_quantity
    assert raised(SOL, taught, Time(NOW + EVIDENCE_AGE + 1)) == SOL


class Changing:
    """Rules that change at random times: minimums, ticks and fees, up and down; the same for one seed."""

    def __init__(self, calm: dict[str, Market], seed: int, changes: int, hours: int) -> None:
        random = Random(seed)
        self.history = {symbol: [(Time(0), market)] for symbol, market in calm.items()}
        for hour in sorted(random.sample(range(24, hours), changes)):
            symbol = random.choice(sorted(calm))
            market = self.history[symbol][-1][1]
            self.history[symbol].append(
                (Time(NOW + hour * 3_600_000), self.changed(market, calm[symbol], random))
            )

    def changed(self, market: Market, calm: Market, random: Random) -> Market:
        factor = D(random.choice(["0.5", "1", "1.5", "2", "4", "8"]))
        match random.choice(["ordermin", "ordermin", "costmin", "tick", "fees"]):
            case "ordermin":
                return replace(market, min_quantity=calm.min_quantity * factor)
            case "costmin":
                return replace(market, min_notional=calm.min_notional * factor)
            case "tick":
                return replace(market, tick_size=calm.tick_size * random.choice([1, 5, 10]))
            case _:
                return replace(
                    market, maker_fee=calm.maker_fee * factor / 2, taker_fee=calm.taker_fee * factor / 2
                )

    def __call__(self, symbol: str, time: Time) -> Market:
        return [market for since, market in self.history[symbol] if since <= time][-1]

    def changes_before(self, symbol: str, time: Time) -> int:
        return sum(0 < since <= time for since, _ in self.history[symbol])


def rescue_after_a_raise(joined: Run, symbol: str, journal: Journal) -> bool:
    """Raise the minimum above what is held on a pair, if anything is, and rescue it: at the stated cost."""
    engine, venue = joined.engine, joined.venue
    holding, market = engine.state.holdings.get(symbol), engine.rules(symbol, engine.state.time)
    if holding is None or not isinstance(market, Market):
        return False
    quote, before = engine.quotes[symbol], engine.equity()
    high = replace(market, min_quantity=holding.position.quantity * 2)
    venue.rules = lambda *_: high

    async def answered(event: Event) -> list[Record]:
        moment = Moment(journal)
        await answer(engine, venue, moment, event)
        return moment.records

    asyncio.run(answered(listed(high, engine.state.time)))
    asyncio.run(answered(replace(quote, bid=min(quote.bid, holding.stop))))
    assert holding.stuck, "its target rests, and nothing else of it can be sold"
    engine.quotes = {**engine.quotes, symbol: quote}
    venue.exchange.quote(quote)
    way = engine.rescue(symbol, engine.state.time)
    assert isinstance(way, WayOut) and way.top_up is not None
    asyncio.run(answered(Rescue(symbol, engine.state.time)))
    assert symbol not in engine.state.holdings
    assert before - engine.equity() == way.cost
    return True


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_hundred_changes_of_rules_cost_at_most_one_refusal_each(
    tmp_path: Path, seed: int, say: list[str]
) -> None:
    hours = 90 * 24
    settings = settings_of(
        dry_run_wallet="60", max_open_trades=4, paper__bars=hours, seed=seed, entry__style="maker"
    )
    with Journal(tmp_path / "changing.journal") as journal:
        joined = open_run(settings, Source("changing", built_in_market(settings)), journal, None)
        calm = {s: m for s in settings.pairs if isinstance(m := joined.engine.plan.markets(s, NOW), Market)}
        world = Changing(calm, seed, 200, hours)
        joined.venue.rules = world
        records: list[Record] = []

        def watch(_: MarketUpdate, moment: list[Record]) -> None:
            records.extend(moment)
            ours, theirs = joined.engine.state.ledger, joined.venue.exchange.ledger(ACCOUNT)
            for asset in ours.assets() | theirs.assets():
                assert ours.total(asset) == theirs.total(asset)

        run(joined, watch)
        rescued = sum(rescue_after_a_raise(joined, symbol, journal) for symbol in settings.pairs)
    state = joined.engine.state
    orders = {r.order.client_id: r.order for r in records if isinstance(r, Submit)}
    refusals = Counter(
        (orders[r.client_id].symbol, world.changes_before(orders[r.client_id].symbol, r.time))
        for r in records
        if isinstance(r, Rejected) and r.rejection.kind in SIZE_REJECTIONS
    )
    assert state.totals.orders >= 100
    assert max(refusals.values(), default=0) <= 1, "one refusal for a change of a pair's rules at most"
    for symbol, holding in state.holdings.items():
        market = world(symbol, state.time)
        if holding.position.quantity >= market.min_quantity:
            assert not holding.stuck, f"{symbol} could be sold and is not"
        else:
            assert holding.stuck, f"{symbol} cannot be sold and nobody says so"
    kinds = Counter(type(record).__name__ for record in records)
    assert kinds["Listed"] > 0
    totals = (
        f"{state.totals.orders} orders, {sum(refusals.values())} refusals, {kinds['Stranded']} stranded,"
        f" {rescued} rescued at the stated cost"
    )
    say.append(f"200 changes of rules, seed {seed}: {totals}")


def test_a_holding_that_became_too_small_is_stranded_and_freed_when_the_rule_is_relaxed(
    tmp_path: Path,
) -> None:
    """SOL's minimum rises to three times the holding for two days, then falls back."""
    settings = settings_of(dry_run_wallet="10", paper__bars=24 * 20, pairs="SOL/USDT")
    with Journal(tmp_path / "raised.journal") as journal:
        joined = open_run(settings, Source("raised", built_in_market(settings)), journal, None)
        calm = joined.engine.plan.markets("SOL/USDT", NOW)
        assert isinstance(calm, Market)
        high = replace(calm, min_quantity=calm.min_quantity * 30)
        bought: list[int] = []

        def rules(symbol: str, time: Time) -> Market:
            started = bool(bought) and bought[0] < time <= bought[0] + 4 * DAY
            return high if started else calm

        joined.venue.rules = rules
        seen: list[Record] = []

        def watch(update: MarketUpdate, moment: list[Record]) -> None:
            seen.extend(moment)
            if joined.engine.state.holdings and not bought:
                bought.append(update.time)

        run(joined, watch)
    kinds = [type(record).__name__ for record in seen]
    assert bought, "the run must buy"
    assert "Listed" in kinds
    listed = [record for record in seen if isinstance(record, Listed)]
    assert [record.listing.min_quantity for record in listed[:2]] == [high.min_quantity, calm.min_quantity]
    assert not [r for r in seen if isinstance(r, Learned) and r.evidence and r.evidence.contradicts]
    assert sum(isinstance(record, Stranded) for record in seen) <= 2
    assert joined.engine.state.totals.size_rejections <= 1
