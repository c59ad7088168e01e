"""`lotwise size`: the sizing rule as a filter, JSON lines in, one decision a line out."""

import difflib
import json
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, TextIO

import click

from lotwise.app.terminal import Problem, json_option, to_json
from lotwise.domain.market import FeeAsset, Market, split_symbol
from lotwise.domain.orders import Opportunity
from lotwise.domain.policy import Policy
from lotwise.domain.sizing import Refused, Sized, size_order
from lotwise.domain.values import Amount, BadField, NotExact, exact, require

REQUEST = ("symbol", "price", "free", "fee_rate", "fee_asset", "market", "policy")
MARKET = ("tick_size", "lot_step", "min_quantity", "min_notional", "max_quantity", "quote_precision")
POLICY = ("fraction", "cap", "risk_target", "floor", "reserve", "stop", "exit_headroom", "raise_to_minimum")


@click.command(name="size")
@click.argument("file", type=click.File("r", encoding="utf-8", errors="replace"), default="-")
@json_option
def command(file: TextIO, as_json: bool) -> None:
    """Size orders: JSON lines in (FILE, or standard input), one decision a line out, same order.

    \b
    In:  {"symbol":"SOL/USDT","price":"150.12","free":"2.86",
          "fee_rate":"0.004","fee_asset":"quote",
          "market":{"tick_size":"0.01","lot_step":"0.00000001",
                    "min_quantity":"0.01","min_notional":"0.5",
                    "max_quantity":null,"quote_precision":8},
          "policy":{"fraction":"0.95","cap":"10","risk_target":null,
                    "floor":"2.5","reserve":"0","stop":"0.02",
                    "exit_headroom":"1","raise_to_minimum":true}}
    Out: {"decision":"sized", ...},
         {"decision":"refused","reason":...,"needed":...,"short":...}, or
         {"decision":"error","line":n,"field":...,"error":...}; then the
         exit code is 2.

    Output is JSON with or without --json. Decimals are strings; see docs/sizing.md for the rule.
    """
    if file.isatty():
        click.echo(
            "Reading JSON lines from the terminal; end with Ctrl-D. See lotwise size --help.", err=True
        )
    errors = 0
    for answer in answers(file):
        errors += answer["decision"] == "error"
        sys.stdout.write(to_json(answer) + "\n")
        sys.stdout.flush()  # whoever wrote the line may wait for its answer
    if errors:
        raise Problem(f"{errors} of the lines are no valid requests; see their answers")


def answers(lines: TextIO) -> Iterator[dict[str, Any]]:
    """One answer for each line that is not blank."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield answer(line)
            except BadField as bad:
                yield {"decision": "error", "line": number, "field": bad.field, "error": bad.problem}


def answer(line: str) -> dict[str, Any]:
    """The decision on one request; BadField names what is wrong with it."""
    try:
        request = json.loads(line, parse_float=Decimal, parse_constant=str)
    except (json.JSONDecodeError, RecursionError) as bad:
        raise BadField("", f"is no JSON: {bad}") from None
    except ValueError:
        raise BadField("", "holds a number with too many digits") from None
    _keys(request, REQUEST, "", optional=("fee_asset",))
    _keys(request["market"], MARKET, "market", optional=("max_quantity",))
    _keys(request["policy"], POLICY, "policy", optional=POLICY[:1] + POLICY[2:])
    market, policy = _market(request), _policy(request["policy"])
    free = _number(request, "free")
    require(free >= 0, "free", "must not be below 0")
    wish = Opportunity(market.symbol, _number(request, "price"))
    size = size_order(wish, market, Amount(free, market.quote), policy)
    return _sized(size) if isinstance(size, Sized) else _refused(size)


def _sized(size: Sized) -> dict[str, Any]:
    return {
        "decision": "sized",
        "symbol": size.symbol,
        "quantity": size.quantity,
        "notional": size.notional,
        "fee": size.fee,
        "fee_asset": "quote" if size.fee_asset == split_symbol(size.symbol)[1] else "base",
        "debit": size.debit,
        "received": size.received,
        "exit_notional": size.exit_notional,
        "bound": size.bound,
    }


def _refused(no: Refused) -> dict[str, Any]:
    return {
        "decision": "refused",
        "symbol": no.symbol,
        "reason": no.reason,
        "needed": no.needed,
        "short": no.short,
    }


def _market(request: Mapping[str, Any]) -> Market:
    rules = request["market"]
    symbol = request["symbol"]
    require(isinstance(symbol, str), "symbol", f"{symbol!r} is no text")
    precision = rules["quote_precision"]
    whole = isinstance(precision, int) and not isinstance(precision, bool)
    require(whole, "market.quote_precision", f"{precision!r} is no whole number")
    fee_asset = request.get("fee_asset", "quote")
    require(fee_asset in ("quote", "base"), "fee_asset", f"{fee_asset!r} is neither quote nor base")
    fee_rate = _number(request, "fee_rate")
    most = rules.get("max_quantity")
    try:
        return Market(
            symbol,
            tick_size=_number(rules, "tick_size", "market."),
            lot_step=_number(rules, "lot_step", "market."),
            min_quantity=_number(rules, "min_quantity", "market."),
            min_notional=_number(rules, "min_notional", "market."),
            quote_precision=precision,
            maker_fee=fee_rate,
            taker_fee=fee_rate,
            max_quantity=None if most is None else _number(rules, "max_quantity", "market."),
            fee_asset=FeeAsset(fee_asset),
        )
    except BadField as bad:
        raise _placed(bad, "market.", MARKET) from None


def _policy(asked: Mapping[str, Any]) -> Policy:
    raising = asked.get("raise_to_minimum", True)
    require(isinstance(raising, bool), "policy.raise_to_minimum", f"{raising!r} is neither true nor false")
    numbers = {
        name: _number(asked, name, "policy.")
        for name in POLICY[:-1]
        if name in asked and not (name == "risk_target" and asked[name] is None)
    }
    try:
        return Policy(**numbers, raise_to_minimum=raising)
    except BadField as bad:
        raise _placed(bad, "policy.", POLICY) from None


def _placed(bad: BadField, prefix: str, names: tuple[str, ...]) -> BadField:
    """The same complaint under the name that the field has in a request."""
    if bad.field in names and not bad.field.startswith(prefix):
        return BadField(prefix + bad.field, bad.problem)
    return BadField("fee_rate", bad.problem) if bad.field.endswith("_fee") else bad


def _number(values: Mapping[str, Any], name: str, prefix: str = "") -> Decimal:
    try:
        return exact(values[name])
    except NotExact as bad:
        raise BadField(prefix + name, str(bad)) from None


def _keys(given: Any, names: tuple[str, ...], where: str, optional: tuple[str, ...]) -> None:
    require(isinstance(given, dict), where, "must be an object: {...}")
    prefix = f"{where}." if where else ""
    for name in given:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"
            raise BadField(prefix + name, f"is no field of a request; {hint}")
    for name in names:
        require(name in given or name in optional, prefix + name, "is missing")
