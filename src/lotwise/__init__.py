"""lotwise: crypto spot trading for small accounts, and the tour of one piece of data.

A tick becomes a `MarketUpdate` (venues/feeds.py). A strategy (strategies/) gives a confidence, which
is a wish: an `Opportunity` without a size. The engine (engine/engine.py: `handle`, the one function to
read) leads it up a ladder of checks (engine/checks.py) and asks the law of the program how large the
order may be: `size_order` (domain/sizing.py) answers `Sized` or `Refused`, under the rules in force
(`Market`, told by markets.py from dated facts in kraken/). An `Order` goes to a venue
(venues/simulated.py over exchange/), what happened comes back as reports, and every answer is a record
whose fold is the whole state (engine/state.py), written to the journal (store/journal.py). Positions
are left by engine/exits.py. app/ joins it all and shows it to people.
"""

from lotwise.domain.market import FeeAsset, Liquidity, Market
from lotwise.domain.orders import Opportunity
from lotwise.domain.policy import Policy, fixed
from lotwise.domain.sizing import Bound, Reason, Refused, Sized, size_order
from lotwise.domain.values import Amount, BadField, NotExact, Side, amount, exact

__all__ = [
    "Amount",
    "BadField",
    "Bound",
    "FeeAsset",
    "Liquidity",
    "Market",
    "NotExact",
    "Opportunity",
    "Policy",
    "Reason",
    "Refused",
    "Side",
    "Sized",
    "amount",
    "exact",
    "fixed",
    "size_order",
]
