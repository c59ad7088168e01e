"""The sandbox's core: a request and a time in, a response out.

Laws: no I/O and no clock; equal requests at equal times give equal bytes; whatever the bytes, the answer
is Kraken's envelope. `handle` is the door for HTTP and checks who asks; `command` is the one for sessions
that are known already. All else is found by the table in conformance.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lotwise.domain.market import FeeSchedule, MarketStatus
from lotwise.domain.values import EPOCH, Amount, BadField, Time, require
from lotwise.exchange.exchange import Exchange
from lotwise.kraken import rest
from lotwise.kraken.fees import SINCE_JULY_2026
from lotwise.kraken.limits import Verification
from lotwise.kraken.rest import Payload
from lotwise.kraken.rest_account import OrderInfo
from lotwise.sandbox import account, market, trading
from lotwise.sandbox.calls import Call, check, refused_by
from lotwise.sandbox.conformance import ENDPOINTS, Endpoint, Support
from lotwise.sandbox.desk import UNAVAILABLE, Desk
from lotwise.sandbox.keys import ApiKey, KeyRing
from lotwise.sandbox.wire import (
    INVALID_ARGUMENTS,
    UNKNOWN_METHOD,
    Refused,
    Request,
    Response,
    answer,
    parameters_of,
    path_of,
    refusal,
)

Before = Callable[[Request, Time], Response | None]
"""A fault at the door: answers in the core's place, or None lets the request in."""

After = Callable[[Request, Response, Time], Response | None]
"""A fault on the way out: another answer for what was carried out, or None leaves it."""

HANDLERS = {**market.HANDLERS, **account.HANDLERS, **trading.HANDLERS}
OPEN_IN_MAINTENANCE = ("Time", "SystemStatus")
_STATUSES = dict(
    zip(
        rest.SYSTEM_WORDS,
        (MarketStatus.ONLINE, MarketStatus.CANCEL_ONLY, MarketStatus.CANCEL_ONLY, MarketStatus.POST_ONLY),
        strict=True,
    )
)


@dataclass(frozen=True, slots=True)
class Settings:
    """seed: of ids, tokens and made-up keys; rate_limits: whether to count calls and orders as Kraken
    does; schedule: the fee ladder that AssetPairs and TradeVolume tell (that the exchange charges it is its
    builder's affair)."""

    seed: int = 0
    rate_limits: bool = True
    schedule: FeeSchedule = SINCE_JULY_2026


class Core:
    """Kraken's REST interface over a simulated exchange."""

    def __init__(self, exchange: Exchange, settings: Settings = Settings()) -> None:
        self.exchange = exchange
        self.desk = Desk(exchange, settings.seed, settings.schedule, settings.rate_limits)
        self.keys = KeyRing(settings.seed, settings.rate_limits)
        self.before: list[Before] = []
        self.after: list[After] = []
        self._system = rest.SYSTEM_WORDS[0]

    # Accounts

    def open_account(self, name: str, verification: Verification = Verification.PRO) -> None:
        """Let an account in, or give it another level."""
        require(bool(name), "account", "has no name")
        self.desk.verifications[name] = verification

    def add_key(self, key: ApiKey) -> None:
        """Let a key of an account in; BadField when the account is not there, or the key is."""
        require(key.account in self.desk.verifications, "account", f"{key.account!r} was not opened")
        self.keys.add(key)

    def deposit(self, name: str, amount: Amount, now: Time = EPOCH) -> None:
        """Bring money to an account; a negative amount leaves, or raises Overdrawn."""
        require(name in self.desk.verifications, "account", f"{name!r} was not opened")
        self.exchange.deposit(name, amount, now)

    def account_of(self, key: str) -> str:
        """The account of an API key; Refused when there is none such."""
        return self.keys.find(key).account

    def token_account(self, token: str, now: Time) -> str | None:
        """The API key that a WebSocket token stands for, or None."""
        return self.keys.key_of_token(token, now)

    def order(self, key: str, client_id: str) -> OrderInfo | None:
        """One of the account's orders by the name that the exchange's reports use."""
        name = self.account_of(key)
        waiting = self.exchange.open_order(name, client_id)
        if waiting is not None:
            return self.desk.info(name, waiting)
        ended = reversed(self.exchange.history(name).closed)
        closed = next((closed for closed in ended if closed.order.order.client_id == client_id), None)
        return None if closed is None else self.desk.info(name, closed.order, closed)

    # The system

    def system_status(self) -> str:
        """One of online, maintenance, cancel_only, post_only."""
        return self._system

    def set_system_status(self, status: str) -> None:
        """Put all pairs in a status; BadField unless it is one of Kraken's."""
        require(status in _STATUSES, "status", f"{status!r} is not one of {' '.join(_STATUSES)}")
        self._system = status
        for symbol in self.exchange.markets():
            if self.exchange.status(symbol) is not MarketStatus.OFFLINE:
                self.exchange.set_status(symbol, _STATUSES[status])

    def advance(self, now: Time) -> None:
        """Let everything happen that is due by now. Nothing else makes time pass."""
        self.desk.advance(now)

    # The doors

    def handle(self, request: Request, now: Time) -> Response:
        """The answer to an HTTP request."""
        for fault in self.before:
            at_the_door = fault(request, now)
            if at_the_door is not None:
                return at_the_door
        response = self._answer(request, now)
        for change in self.after:
            response = change(request, response, now) or response
        return response

    def command(self, key: str, endpoint: str, parameters: Mapping[str, str], now: Time) -> Payload | str:
        """The result of a private endpoint for a key that was let in already, or Kraken's error text; no
        nonce, no signature, and nothing on the key's counter."""
        self.advance(now)
        try:
            return self._run(ENDPOINTS[f"/0/private/{endpoint}"], self.keys.find(key), parameters, now)
        except Refused as refused:
            return refused.text

    def _answer(self, request: Request, now: Time) -> Response:
        endpoint = ENDPOINTS.get(path_of(request.target))
        if endpoint is None or request.method not in (("POST",) if endpoint.private else ("GET", "POST")):
            return refusal(UNKNOWN_METHOD, 200 if request.target.startswith("/0/") else 404)
        self.advance(now)
        try:
            parameters = parameters_of(request, endpoint.private)
            if not endpoint.private:
                return answer(self._run(endpoint, None, parameters, now))
            key = self.keys.authenticate(request, parameters, now)
            self.keys.charge(key, self.desk.verification(key.account), endpoint.cost, now)
            return answer(self._run(endpoint, key, parameters, now))
        except Refused as refused:
            return refusal(refused.text)

    def _run(
        self, endpoint: Endpoint, key: ApiKey | None, parameters: Mapping[str, str], now: Time
    ) -> Payload:
        if key is not None:
            self.keys.admit(key, endpoint)
        if self._system == "maintenance" and endpoint.name not in OPEN_IN_MAINTENANCE:
            raise Refused(UNAVAILABLE)
        if endpoint.support is Support.NO:
            raise Refused(INVALID_ARGUMENTS)
        if endpoint.name == "SystemStatus":
            return rest.system_status(self._system, now)
        check(endpoint, parameters)
        try:
            return HANDLERS[endpoint.name](Call(self.desk, self.keys, key, parameters, now))
        except BadField as bad:
            raise refused_by(bad) from None

    # Restarts

    def state(self) -> Payload:
        """What a restart must not lose beside the exchange's own state and the keys, JSON-able."""
        return {"desk": self.desk.state(), "keys": self.keys.state(), "system": self._system}

    def restore(self, state: Payload) -> None:
        """Go on from a saved state; the same accounts' keys must have been added again."""
        self.desk.restore(state["desk"])
        self.keys.restore(state["keys"])
        self._system = state["system"]
