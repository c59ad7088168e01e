"""Double entry: every entry sums to zero in each asset, and a balance is the sum of its postings.

Accounts: `free` may be spent; `held/<client id>` is set aside for one order; `market` is the other
side of our trades; `fees` is what the exchange kept; `external` is the world outside.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from lotwise.domain.orders import Fill, Order
from lotwise.domain.values import EXACT, Amount, Side

FREE = "free"
MARKET = "market"
FEES = "fees"
EXTERNAL = "external"
HELD = "held/"

OURS = (FREE, HELD)
"""Accounts whose balance belongs to us start with one of these, and never go below zero."""


def held(client_id: str) -> str:
    """The account that holds what this order may still cost."""
    return HELD + client_id


@dataclass(frozen=True, slots=True)
class Posting:
    """One account's gain (or loss, below zero) in one entry."""

    account: str
    amount: Amount


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the books; Unbalanced unless it sums to zero in each asset."""

    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        sums: dict[str, Decimal] = {}
        for posting in self.postings:
            asset, number = posting.amount.asset, posting.amount.number
            sums[asset] = EXACT.add(sums.get(asset, Decimal(0)), number)
        if any(sums.values()):
            raise Unbalanced(f"an entry leaves {sums}: {self.postings}")


class Unbalanced(Exception):
    """An entry that makes or loses money; a bug."""


class Overdrawn(Exception):
    """An entry that takes from one of our accounts more than it holds."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Balances by "account:ASSET", all different from zero. Immutable: `post` gives the next one."""

    balances: Mapping[str, Decimal] = field(default_factory=dict)

    def balance(self, account: str, asset: str) -> Amount:
        """What one account holds of an asset."""
        return Amount(self.balances.get(f"{account}:{asset}", Decimal(0)), asset)

    def free(self, asset: str) -> Amount:
        """What may be spent."""
        return self.balance(FREE, asset)

    def total(self, asset: str) -> Amount:
        """What is ours, set aside or not."""
        total = Decimal(0)
        for account, number in self.balances.items():
            if account.startswith(OURS) and account.endswith(f":{asset}"):
                total = EXACT.add(total, number)
        return Amount(total, asset)

    def assets(self) -> set[str]:
        """The assets of which we own something."""
        return {account.rpartition(":")[2] for account in self.balances if account.startswith(OURS)}


def post(ledger: Ledger, entry: Entry) -> Ledger:
    """The ledger after one entry; Overdrawn when an account of ours would go below zero."""
    balances = dict(ledger.balances)
    for posting in entry.postings:
        key = f"{posting.account}:{posting.amount.asset}"
        total = EXACT.add(balances.get(key, Decimal(0)), posting.amount.number)
        if total:
            balances[key] = total
        else:
            balances.pop(key, None)
    for posting in entry.postings:
        key = f"{posting.account}:{posting.amount.asset}"
        if posting.account.startswith(OURS) and balances.get(key, Decimal(0)) < 0:
            raise Overdrawn(f"{posting.account} would hold {balances[key]} {posting.amount.asset}")
    return Ledger(balances)


def move(amount: Amount, source: str, target: str) -> tuple[Posting, Posting]:
    """The two postings that carry an amount from one account to another."""
    return Posting(source, -amount), Posting(target, amount)


def deposit(amount: Amount) -> Entry:
    """Money from outside (a negative amount leaves)."""
    return Entry(move(amount, EXTERNAL, FREE))


def correction(amount: Amount) -> Entry:
    """By how much the exchange's books of a trade differ from what it told (below zero: it took more)."""
    return Entry(move(amount, FEES, FREE))


def reserve(order: Order) -> Entry:
    """Set aside what the order may cost."""
    return Entry(move(order.reserve, FREE, held(order.client_id)))


def release(ledger: Ledger, order: Order) -> Entry:
    """Free what an ended order still holds."""
    account = held(order.client_id)
    return Entry(move(ledger.balance(account, order.reserve.asset), account, FREE))


def settlement(fill: Fill) -> Entry:
    """A trade: what is given leaves the order's hold, what is got is free at once; the fee leaves
    whichever of the two it is taken in."""
    base = Amount(fill.quantity, fill.symbol.partition("/")[0])
    given, got = (fill.cost, base) if fill.side is Side.BUY else (base, fill.cost)
    hold = held(fill.client_id)
    fee_from = hold if fill.fee.asset == given.asset else FREE
    return Entry((*move(given, hold, MARKET), *move(got, MARKET, FREE), *move(fill.fee, fee_from, FEES)))


def top_up(ledger: Ledger, fill: Fill) -> Entry:
    """What a fill takes beyond its order's hold, moved there: the exchange's fee may have risen since the
    order was sized, and its word stands. It comes from what is free, and where that is not enough from what
    is set aside for other orders: the exchange will refuse one of those."""
    base = Amount(fill.quantity, fill.symbol.partition("/")[0])
    given = fill.cost if fill.side is Side.BUY else base
    taken = given + fill.fee if fill.fee.asset == given.asset else given
    asset, hold = given.asset, held(fill.client_id)
    missing = (taken - ledger.balance(hold, asset)).number
    others = sorted(a for a in ledger.balances if a.startswith(HELD) and a != f"{hold}:{asset}")
    postings: list[Posting] = []
    for account in (FREE, *(a.removesuffix(f":{asset}") for a in others if a.endswith(f":{asset}"))):
        part = min(missing, ledger.balance(account, asset).number)
        if part > 0:
            postings += move(Amount(part, asset), account, hold)
            missing = EXACT.subtract(missing, part)
    if missing > 0:
        postings += move(Amount(missing, asset), FREE, hold)  # there is no more: `post` says so
    return Entry(tuple(postings))
