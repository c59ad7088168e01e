"""Starting points by name: what differs from the defaults of `settings`, and for whom it is.

Law: a preset holds raw values, as a file would, and passes the same checks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_PRESET = "micro"


@dataclass(frozen=True, slots=True)
class Preset:
    """What the preset is for, and its values by key and section."""

    about: str
    values: Mapping[str, Any] = field(default_factory=dict)


PRESETS: Mapping[str, Preset] = {
    "micro": Preset(
        "2.86 USDT on five pairs under the rules and fees of July 2025, with tier floors of 2.50. These are the "
        "defaults of every key. An example of trading with almost nothing, not a profitable strategy."
    ),
    "small": Preset(
        "50 USDT (or USD: set stake_currency and the pairs follow) under the latest known rules and fees, "
        "up to 25 an order and two open trades. An example too.",
        {
            "dry_run_wallet": "50",
            "max_open_trades": 2,
            "sizing": {"max_order_size_usdt": "25"},
            "rules": {"rules_on": "latest", "fees_on": "latest"},
        },
    ),
}
