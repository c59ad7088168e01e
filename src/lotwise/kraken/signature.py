"""How a private request proves whose it is: the API key, its signature and its nonce.

Laws: the secret appears in no repr and no error; signatures are compared in constant time. Source:
Kraken's documentation (2026-05-27), whose sample request, secret and signature are a test here.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from lotwise.domain.values import BadField

MAX_NONCE = 2**64 - 1
_NONCE_DIGITS = len(str(MAX_NONCE))


@dataclass(frozen=True, slots=True)
class Credentials:
    """A public key and the secret that signs for it."""

    key: str
    secret: bytes = field(repr=False)


def credentials(key: str, secret: str) -> Credentials:
    """A key pair as Kraken shows it, the secret in base64; BadField, without the text, when it is none."""
    try:
        decoded = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        raise BadField("secret", "is not base64; copy it as the exchange shows it") from None
    if not key or not decoded:
        raise BadField("secret", "key and secret must not be empty")
    return Credentials(key, decoded)


def sign(secret: bytes, path: str, nonce: str, body: bytes) -> str:
    """API-Sign of a request: `path` begins with /0/private/, `body` is sent as it is signed."""
    message = path.encode() + sha256(nonce.encode() + body).digest()
    mac = _keyed(secret).copy()
    mac.update(message)
    return base64.b64encode(mac.digest()).decode()


@lru_cache(maxsize=256)
def _keyed(secret: bytes) -> hmac.HMAC:
    # Two thirds of the work of a signature are the same for all of a secret.
    return hmac.new(secret, digestmod="sha512")


def verify(secret: bytes, path: str, nonce: str, body: bytes, signature: str) -> bool:
    """Whether the signature is that of the request."""
    right = sign(secret, path, nonce, body).encode()
    return hmac.compare_digest(right, signature.encode(errors="replace"))


def nonce_of(text: str) -> int | None:
    """The nonce as an unsigned 64-bit number, or None when it is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= _NONCE_DIGITS):
        return None
    nonce = int(text)
    return nonce if nonce <= MAX_NONCE else None


def accepts_nonce(highest: int, nonce: int, window: int = 0) -> bool:
    """Whether a key takes this nonce after its highest so far (-1: none yet).

    It must be higher; a key's nonce window lets it be lower by less than that (Kraken's support page on
    nonce windows). Within a window Kraken does not rule out that a nonce comes twice.
    """
    return nonce > highest - window
