"""What Kraken's error texts mean for an order, and what one may do after each.

Law: only a text that is known to prove it says that an order was not taken; every other text leaves
the order's fate open, and it is looked up. Source: Kraken's documentation (May 2026), its own
command-line client, two public clients, and texts seen in accounts up to September 2026. A text has
the form <E|W><Category>:<text>[:<extra>]; the longest known beginning decides.
"""

from enum import StrEnum

from lotwise.domain.orders import Rejection, RejectionKind


class Retry(StrEnum):
    """What one may do after an error."""

    NEVER = "never"
    """The request must change, or the account."""
    REFRESH = "refresh"
    """Read rules, balance or session anew and decide anew."""
    WAIT = "wait"
    """It was not carried out, and may be later."""
    VERIFY = "verify"
    """It may have been carried out: look it up first."""


_K = RejectionKind
_TEXTS: dict[Retry, dict[RejectionKind, tuple[str, ...]]] = {
    Retry.NEVER: {
        _K.LOT_STEP: ("EGeneral:Invalid arguments:volume",),
        _K.POST_ONLY: ("EOrder:Post only order",),
        _K.PERMISSION: (
            "EGeneral:Permission denied",
            "EAPI:Invalid key",
            "EAPI:Invalid signature",
            "EAuth:Account temporary disabled",
            "EAuth:Account unconfirmed",
            "EAuth:Failed",
            "EAccount:Invalid permissions",
            "EOrder:Trading agreement required",
            "EBM:limit exceeded:CAL",
        ),
        _K.INVALID: (
            "EGeneral:Invalid arguments",
            "EGeneral:Invalid arguments:ordertype",
            "EGeneral:Invalid arguments:Index unavailable",
            "EGeneral:Unknown method",
            "EAPI:Bad request",
            "EAPI:Feature disabled",
            "EOrder:Invalid order",
            "EOrder:Positions limit exceeded",
            "EOrder:Unknown position",
            "EOrder:Cannot open position",
            "EOrder:Cannot open opposing position",
            "EOrder:Margin allowance exceeded",
            "EOrder:Margin level too low",
            "EOrder:Margin position size exceeded",
            "EOrder:Insufficient margin",
            "EOrder:Reduce only:Non-PC",
            "EOrder:Reduce only:No position exists",
            "EOrder:Reduce only:Position is closed",
            "ETrade:Invalid request",
            "ETrade:Locked",
            "EQuery:Unknown asset",
            "EFunding:Max fee exceeded",
            "WDatabase:No change",
        ),
    },
    Retry.REFRESH: {
        # The first is what REST says since 2024; the second is the documented one.
        _K.MIN_QUANTITY: (
            "EGeneral:Invalid arguments:volume minimum not met",
            "EOrder:Order minimum not met",
        ),
        _K.MIN_NOTIONAL: ("EOrder:Cost minimum not met",),
        _K.TICK: ("EOrder:Tick size check failed",),
        _K.PRICE: ("EOrder:Invalid price", "EGeneral:Invalid arguments:price"),
        _K.FUNDS: ("EOrder:Insufficient funds",),
        _K.UNKNOWN_PAIR: ("EQuery:Unknown asset pair",),
        _K.PERMISSION: ("ESession:Invalid session",),
        _K.INVALID: ("EOrder:Unknown order",),
    },
    Retry.WAIT: {
        _K.RATE_LIMIT: (
            "EOrder:Rate limit exceeded",
            "EOrder:Domain rate limit exceeded",
            "EAPI:Rate limit exceeded",
            "EAuth:Rate limit exceeded",
            "EAuth:Too many requests",
            "EGeneral:Too many requests",
            "EGeneral:Temporary lockout",
            "EService:Throttled",
        ),
        _K.ORDERS_LIMIT: ("EOrder:Orders limit exceeded", "EOrder:Scheduled orders limit exceeded"),
        _K.PAIR_OFFLINE: (
            "EService:Market in cancel_only mode",
            "EService:Market in post_only mode",
            "EService:Market in limit_only mode",
        ),
        _K.DEADLINE: ("EService:Deadline elapsed",),
        _K.INVALID: ("EAPI:Invalid nonce",),
    },
    Retry.VERIFY: {
        # Known texts, but they say nothing of the order.
        _K.UNRECOGNISED: ("EGeneral:Internal error", "EService:Unavailable", "EService:Busy"),
    },
}

_MEANING = {
    text: (kind, retry) for retry, kinds in _TEXTS.items() for kind, texts in kinds.items() for text in texts
}

# The first text of a kind speaks for it. Kraken has no known text for a quantity above a maximum.
_SPOKEN = {kind: texts[0] for kinds in reversed(_TEXTS.values()) for kind, texts in kinds.items()}
_SPOKEN[_K.MAX_QUANTITY] = _SPOKEN[_K.LOT_STEP]


def rejection_of(text: str) -> Rejection:
    """The error as a rejection; the text is kept as it came."""
    return Rejection(_meaning(text)[0], text)


def retry_of(text: str) -> Retry:
    """What one may do after this error; VERIFY after an unknown one."""
    return _meaning(text)[1]


_OF_A_COPY = ("EAPI:Invalid nonce", "EGeneral:Invalid arguments:cl_ord_id")
"""What a second copy of a request is told whose first was taken: a proxy may send one anew."""


def proves_not_accepted(text: str) -> bool:
    """Whether the error proves that the exchange did not take the request; a warning (W...) does not, nor
    does what a second copy of it would be told."""
    return text.startswith("E") and retry_of(text) is not Retry.VERIFY and not text.startswith(_OF_A_COPY)


def text_of(kind: RejectionKind) -> str:
    """What Kraken says to a rejection of this kind."""
    return _SPOKEN[kind]


def _meaning(text: str) -> tuple[RejectionKind, Retry]:
    # "EService: Throttled: 1" and "EService:Throttled:1" are one text.
    known = ":".join(part.strip() for part in text.split(":"))
    while known and known not in _MEANING:
        known = known.rpartition(":")[0]
    return _MEANING.get(known, (RejectionKind.UNRECOGNISED, Retry.VERIFY))
