"""Who may ask for what: API keys, their nonces and counters, and the tokens of WebSocket sessions.

Laws: a request is signed by the key it names and its nonce is fresh, or it is refused before anything
else is looked at; a refused request changes nothing but a nonce that was rightly signed. Secrets appear
in no repr and no error.
"""

from base64 import b32encode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha512

from lotwise.domain.values import EPOCH, Time, require
from lotwise.kraken import limits
from lotwise.kraken.limits import Counter, Verification
from lotwise.kraken.rest import Payload
from lotwise.kraken.signature import Credentials, accepts_nonce, credentials, nonce_of, verify
from lotwise.sandbox.conformance import Endpoint, Permission
from lotwise.sandbox.wire import Refused, Request, path_of

INVALID_KEY = "EAPI:Invalid key"
INVALID_SIGNATURE = "EAPI:Invalid signature"
INVALID_NONCE = "EAPI:Invalid nonce"
PERMISSION_DENIED = "EGeneral:Permission denied"
RATE_LIMITED = "EAPI:Rate limit exceeded"

TOKENS_KEPT = 1_000
NOT_YET = -1
ALL_PERMISSIONS = frozenset(Permission) - {Permission.WITHDRAW}
"""What a client here can use: nothing can be withdrawn, though a key may say that it could."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of an account. `expires` is the first moment at which it is no longer taken."""

    credentials: Credentials
    account: str
    permissions: frozenset[Permission] = ALL_PERMISSIONS
    name: str = "sandbox"
    nonce_window: int = 0
    expires: Time | None = None
    created: Time = EPOCH

    @property
    def key(self) -> str:
        """The public part."""
        return self.credentials.key


def made_up_key(seed: int, number: int) -> tuple[str, str]:
    """(key, secret in base64) of Kraken's lengths, the same for the same seed and number. For a sandbox
    only: who knows the seed knows the secret."""
    key, secret = (sha512(f"{part} {seed} {number}".encode()).digest() for part in ("key", "secret"))
    return b64encode(key[:42]).decode(), b64encode(secret).decode()


def made_up_iban(account: str) -> str:
    """The public number of an account, the same for all of its keys, in Kraken's form (its documentation of
    GetApiKeyInfo, read 2026-11-23). No true one has 00 as its check digits."""
    letters = b32encode(sha512(account.encode()).digest()).decode()
    return f"AA00 SAND {letters[:4]} {letters[4:8]}"


@dataclass(slots=True)
class _Token:
    key: str
    issued: Time
    used: bool = False


class KeyRing:
    """All API keys and what they did so far. `limited` False lifts the counter."""

    def __init__(self, seed: int, limited: bool) -> None:
        self._seed = seed
        self._limited = limited
        self._keys: dict[str, ApiKey] = {}
        self._nonces: dict[str, int] = {}
        self._used: dict[str, Time] = {}
        self._counters: dict[str, Counter] = {}
        self._tokens: dict[str, _Token] = {}
        self._tokens_issued = 0

    def add(self, key: ApiKey) -> None:
        """Let a key in; BadField when it is there already."""
        require(key.key not in self._keys, "key", "exists already")
        self._keys[key.key] = key

    def find(self, key: str) -> ApiKey:
        """The key; Refused when there is none."""
        if key not in self._keys:
            raise Refused(INVALID_KEY)
        return self._keys[key]

    def all(self) -> tuple[ApiKey, ...]:
        """All keys in the order in which they came."""
        return tuple(self._keys.values())

    def authenticate(self, request: Request, parameters: Mapping[str, str], now: Time) -> ApiKey:
        """Whose request this is; Refused unless the key, its signature and its nonce are right."""
        key = self.find(request.header("api-key"))
        if key.expires is not None and key.expires <= now:
            raise Refused(INVALID_KEY)
        text = parameters.get("nonce", "")
        nonce = nonce_of(text)
        if nonce is None:
            raise Refused(INVALID_NONCE)
        signature, path = request.header("api-sign"), path_of(request.target)
        if not verify(key.credentials.secret, path, text, request.body, signature):
            raise Refused(INVALID_SIGNATURE)
        highest = self._nonces.get(key.key, NOT_YET)
        if not accepts_nonce(highest, nonce, key.nonce_window):
            raise Refused(INVALID_NONCE)
        self._nonces[key.key] = max(highest, nonce)
        self._used[key.key] = now
        return key

    def admit(self, key: ApiKey, endpoint: Endpoint) -> None:
        """Refused unless the key has the permissions of the endpoint."""
        for needed in endpoint.permissions:
            if needed <= key.permissions:
                return
        raise Refused(PERMISSION_DENIED)

    def charge(self, key: ApiKey, verification: Verification, cost: int, now: Time) -> None:
        """Count a call; Refused when the key asks too often."""
        if not self._limited:
            return
        counter = self._counters.get(key.key, Counter())
        charged = limits.charge(counter, limits.REST[verification], cost, now)
        if charged is None:
            raise Refused(RATE_LIMITED)
        self._counters[key.key] = charged

    def issue_token(self, key: ApiKey, now: Time) -> str:
        """A token to open WebSocket sessions with; the oldest ones beyond TOKENS_KEPT end."""
        self._tokens_issued += 1
        token = b64encode(sha512(f"token {self._seed} {self._tokens_issued}".encode()).digest()[:33]).decode()
        self._tokens[token] = _Token(key.key, now)
        if len(self._tokens) > TOKENS_KEPT:
            del self._tokens[next(iter(self._tokens))]
        return token

    def key_of_token(self, token: str, now: Time) -> str | None:
        """The key that a token stands for: for 15 minutes, and on once it was used in them."""
        known = self._tokens.get(token)
        if known is None or not (known.used or now < known.issued + limits.TOKEN_LIFETIME):
            return None
        known.used = True
        return known.key

    def info(self, key: ApiKey) -> Payload:
        """GetApiKeyInfo of a key."""
        return {
            "apiKeyName": key.name,
            "apiKey": key.key,
            "nonce": str(max(0, self._nonces.get(key.key, NOT_YET))),
            "nonceWindow": key.nonce_window,
            "permissions": [word.value for word in Permission if word in key.permissions],
            "iban": made_up_iban(key.account),
            "validUntil": str((key.expires or 0) // 1000),
            "queryFrom": "0",
            "queryTo": "0",
            "createdTime": str(key.created // 1000),
            "modifiedTime": str(key.created // 1000),
            "ipAllowlist": [],
            "lastUsed": str(self._used.get(key.key, 0) // 1000),
        }

    def state(self) -> Payload:
        """What a restart must not lose, as JSON-able values; the keys themselves are handed in again."""
        return {
            "nonces": dict(self._nonces),
            "used": dict(self._used),
            "counters": {key: [str(c.level), c.time] for key, c in self._counters.items()},
            "tokens": {name: [t.key, t.issued, t.used] for name, t in self._tokens.items()},
            "tokens_issued": self._tokens_issued,
        }

    def restore(self, state: Payload) -> None:
        """Go on from a saved state."""
        self._nonces = dict(state["nonces"])
        self._used = {key: Time(time) for key, time in state["used"].items()}
        self._counters = {
            key: Counter(Decimal(level), Time(time)) for key, (level, time) in state["counters"].items()
        }
        self._tokens = {
            name: _Token(key, Time(issued), used) for name, (key, issued, used) in state["tokens"].items()
        }
        self._tokens_issued = state["tokens_issued"]


def plain_key(key: ApiKey) -> Payload:
    """A key with its secret, as JSON's kinds of data."""
    return {
        "key": key.key,
        "secret": b64encode(key.credentials.secret).decode(),
        "account": key.account,
        "permissions": sorted(permission.value for permission in key.permissions),
        "name": key.name,
        "nonce_window": key.nonce_window,
        "expires": key.expires,
        "created": key.created,
    }


def key_of(plain: Payload) -> ApiKey:
    """The key of `plain_key`."""
    return ApiKey(
        credentials(plain["key"], plain["secret"]),
        plain["account"],
        frozenset(map(Permission, plain["permissions"])),
        plain["name"],
        plain["nonce_window"],
        None if plain["expires"] is None else Time(plain["expires"]),
        Time(plain["created"]),
    )
