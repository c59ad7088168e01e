"""Our symbols ("BTC/USD") and assets ("BTC") in Kraken's words, and back.

Kraken has four names for a pair: the REST key (XXBTZUSD), the altname (XBTUSD), the wsname (XBT/USD)
and, in WebSocket v2, ours (BTC/USD). Its old assets have a code with X or Z before the name, its new
ones have none. Source: 1,262 spot pairs in public tables of 2021-04 to 2026-09; all of them translate
both ways but ETH2.S/ETH, which pairs a coin with its own staked form.
"""

from dataclasses import dataclass
from functools import lru_cache

from lotwise.domain.market import split_symbol
from lotwise.domain.values import BadField, require

_ALTNAMES = {"BTC": "XBT", "DOGE": "XDG"}

_CODES = {
    "BTC": "XXBT", "DOGE": "XXDG", "ETC": "XETC", "ETH": "XETH", "LTC": "XLTC", "MLN": "XMLN",
    "REP": "XREP", "XLM": "XXLM", "XMR": "XXMR", "XRP": "XXRP", "ZEC": "XZEC",
    "AUD": "ZAUD", "CAD": "ZCAD", "EUR": "ZEUR", "GBP": "ZGBP", "JPY": "ZJPY", "USD": "ZUSD",
}  # fmt: skip
_ASSETS = {word: asset for words in (_ALTNAMES, _CODES) for asset, word in words.items()}

FLEXIBLE = ".F"
"""Behind a balance's code: a part of the asset that earns and is spent all the same (Kraken support, 2024; on
its way out since 2025-11-13). Other endings (.S staked, .M, .B, .P, .T) are bound, and stay apart."""

# Pairs of old assets whose key is made of their codes; XDGUSD and XBTAUD, say, are not among them.
_BASES_BY_CODED_QUOTE = {
    "BTC": "DOGE ETC ETH LTC MLN REP XLM XMR XRP ZEC",
    "ETH": "ETC MLN REP",
    "USD": "BTC ETC ETH EUR GBP LTC MLN REP USDT XLM XMR XRP ZEC",
    "EUR": "BTC ETC ETH LTC MLN REP XLM XMR XRP ZEC",
    "GBP": "BTC ETH XLM",
    "JPY": "BTC ETH LTC USD XRP",
    "CAD": "BTC ETH USD XRP",
    "AUD": "XLM",
    "USDQ": "BTC",
    "USDR": "BTC",
}
_KEYED_BY_CODES = frozenset(
    f"{base}/{quote}" for quote, bases in _BASES_BY_CODED_QUOTE.items() for base in bases.split()
)

_QUOTE_NAMES = "USD EUR GBP AUD CAD CHF JPY AED XBT ETH SOL DOT POL DAI USDT USDC USDD USDQ USDR PYUSD"
_QUOTES = sorted(_QUOTE_NAMES.split(), key=len, reverse=True)


@dataclass(frozen=True, slots=True)
class PairNames:
    """One pair in our word and Kraken's three others."""

    symbol: str
    rest_key: str
    altname: str
    wsname: str


def asset_from_kraken(code: str) -> str:
    """Our name of an asset code or altname: XXBT, XBT and XBT.F are BTC, DOT.S is an asset of its own."""
    name = code.removesuffix(FLEXIBLE)
    return _ASSETS.get(name, name)


def asset_to_kraken(asset: str) -> str:
    """Kraken's code of an asset, as in balances: XXBT of BTC, ZUSD of USD, SOL of SOL."""
    return _CODES.get(asset, asset)


@lru_cache(maxsize=4096)
def pair_names(symbol: str) -> PairNames:
    """Kraken's names of one of our symbols; BadField when it is no BASE/QUOTE."""
    base, quote = split_symbol(symbol)
    alt_base, alt_quote = _ALTNAMES.get(base, base), _ALTNAMES.get(quote, quote)
    altname = alt_base + alt_quote
    by_codes = symbol in _KEYED_BY_CODES
    rest_key = asset_to_kraken(base) + asset_to_kraken(quote) if by_codes else altname
    return PairNames(symbol, rest_key, altname, f"{alt_base}/{alt_quote}")


_IRREGULAR = {pair_names(symbol).rest_key: symbol for symbol in _KEYED_BY_CODES}
# Cut by its ending it would be XRPRL/USD; RLUSD as an ending would make ME/RLUSD of MERL/USD.
_IRREGULAR["XRPRLUSD"] = "XRP/RLUSD"


def symbol_or_name(name: str) -> str:
    """Our symbol of a pair, or Kraken's name of one that is none of ours."""
    try:
        return symbol_from_kraken(name)
    except BadField:
        return name


def symbol_from_kraken(name: str) -> str:
    """Our symbol of any of Kraken's four names of a pair; BadField when no known quote ends it.

    A name without a slash is cut at the longest known quote: where Kraken gives a wsname, use that.
    """
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    base, slash, quote = name.partition("/")
    if not slash:
        quote = next((quote for quote in _QUOTES if name.endswith(quote)), "")
        base = name.removesuffix(quote)
    require(bool(base and quote), "pair", f"{name!r} is no pair name of Kraken's")
    return f"{_ASSETS.get(base, base)}/{_ASSETS.get(quote, quote)}"
