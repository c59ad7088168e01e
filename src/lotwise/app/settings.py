"""What the user may set: every key with its default, unit and help.

Laws: numbers are exact from the file to the last use; a contradiction or a value that cannot be is an
error that says what would be right. Where values come from: configuration.py.
"""

import json
import re
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from lotwise.app.presets import (
    DEFAULT_PRESET,
    PRESETS,
)
from lotwise.app.strategies import known_name
from lotwise.domain.market import FeeAsset, ppm, split_symbol
from lotwise.domain.policy import Policy, fixed
from lotwise.domain.values import EXACT, exact, plain
from lotwise.engine.plan import EntryStyle

DEFAULT_BASES = ("SOL", "ADA", "DOGE", "SHIB", "MANA")
STAKE = "stake currency"
FRACTION = "fraction"


def _whole(value: Decimal | int | str) -> int:
    number = exact(value)
    if number != int(number):
        raise ValueError(f"{value} is no whole number")
    return int(number)


def _at_most_one(number: Decimal) -> Decimal:
    if number > 1:
        percent = plain(number)
        raise ValueError(f"{percent} is above 1; for {percent} % write {plain(EXACT.scaleb(number, -2))}")
    return number


def _below_entry(number: Decimal) -> Decimal:
    """A stop as freqtrade writes it: a negative fraction of the entry price."""
    if not -1 < number < 0:
        size = abs(number) if abs(number) < 1 else EXACT.scaleb(abs(number), -2)
        remedy = plain(-size) if 0 < size < 1 else "-0.03"
        raise ValueError(
            f"{plain(number)} is not between -1 and 0: a stop lies below the entry; write {remedy}"
        )
    ppm(number, "stoploss")
    return number


def _symbol(text: str) -> str:
    split_symbol(text)
    return text


def _symbols(value: Any) -> Any:
    """The environment and the command line write a list as text."""
    if isinstance(value, str):
        return json.loads(value) if value.startswith("[") else value.replace(",", " ").split()
    return value


def _day(words: tuple[str, ...], value: Any) -> date | str:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if value in words:
        return str(value)
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return date.fromisoformat(value)
    raise ValueError(f"{value} is no day; write it as 2025-07-29, or {' or '.join(words)}")


EXACTLY, AS_TEXT = BeforeValidator(exact), PlainSerializer(plain, str, when_used="json")
Positive = Annotated[Decimal, Field(gt=0), EXACTLY, AS_TEXT]
NotNegative = Annotated[Decimal, Field(ge=0), EXACTLY, AS_TEXT]
AtLeastOne = Annotated[Decimal, Field(ge=1), EXACTLY, AS_TEXT]
Share = Annotated[NotNegative, AfterValidator(_at_most_one)]
BelowOne = Annotated[Decimal, Field(ge=0, lt=1), EXACTLY, AS_TEXT]
PositiveShare = Annotated[Positive, AfterValidator(_at_most_one)]
Stop = Annotated[Decimal, EXACTLY, AS_TEXT, AfterValidator(_below_entry)]
Whole = Annotated[int, BeforeValidator(_whole)]
Symbol = Annotated[str, AfterValidator(_symbol)]
StrategyName = Annotated[str, AfterValidator(known_name)]


def _key(default: Any, unit: str, text: str, **limits: Any) -> Any:
    """A key of the configuration: what it is when not set, in which unit, and what it does."""
    return Field(default, description=text, json_schema_extra={"unit": unit}, **limits)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class TierFloors(_Section):
    TIER_1: NotNegative = _key("2.5", STAKE, "The least cost of an entry on a large coin.")
    MID_TIER: NotNegative = _key("2.5", STAKE, "The least cost of an entry on any other coin.")
    MEME: NotNegative = _key("2.5", STAKE, "The least cost of an entry on a meme coin.")


class Sizing(_Section):
    use_dynamic_position_sizing: bool = _key(
        True, "true or false", "Size each entry by the balance; false: always position_size_usd."
    )
    position_size_percentage: PositiveShare = _key(
        "0.95", FRACTION, "The share of the spendable balance that one entry may cost; 0.95 is 95 %."
    )
    position_size_usd: Positive = _key("2.00", STAKE, "The cost of every entry when dynamic sizing is off.")
    max_order_size_usdt: Positive = _key("10", STAKE, "The cap: no entry costs more, its fee aside.")
    tier_min_costs: TierFloors = Field(
        default_factory=TierFloors, description="Policy floors: cheaper entries are not worth placing."
    )
    reserve: NotNegative = _key("0", STAKE, "The part of the balance that is never spent.")
    risk_per_trade: Share = _key(
        "0", FRACTION, "The share of the equity that a stopped-out entry may lose, fees included; 0: any."
    )
    volatility_target: Share = _key(
        "0", FRACTION, "The share of the equity that a typical day may move a position by; 0: any."
    )
    volatility_bars: Whole = _key(48, "bars", "Over how many bars that is measured.", ge=2, le=10_000)
    exit_headroom: AtLeastOne = _key(
        "1.0",
        "factor",
        "How far above the exchange's minimums an exit at the stop must be; 1.1 is 10 %, and what real "
        "orders take where nothing is set.",
    )
    raise_to_minimum: bool = _key(
        True, "true or false", "Raise a share below the minimum to the minimum, never above the cap."
    )
    fee_asset: FeeAsset = _key("quote", "quote or base", "The asset in which the exchange takes its fee.")

    @field_validator("max_order_size_usdt")
    @classmethod
    def _holds_the_fixed_size(cls, cap: Decimal, info: ValidationInfo) -> Decimal:
        size = info.data.get("position_size_usd", cap)
        if not info.data.get("use_dynamic_position_sizing", True) and size > cap:
            raise ValueError(
                f"{plain(cap)} is below position_size_usd, {plain(size)}: lower that, or raise this"
            )
        return cap


class Entry(_Section):
    style: EntryStyle = _key(
        "maker",
        "maker, taker or maker_then_taker",
        "Wait in the book, buy at once, or wait and then buy at once if the target still pays for it.",
    )
    lifetime_bars: Whole = _key(3, "bars", "How long a maker entry waits.", ge=1, le=100_000)
    replaces: Whole = _key(
        0, "times", "How often a maker entry that ended unfilled is placed anew at the bid.", ge=0, le=1000
    )
    min_confidence: Share = _key("0", FRACTION, "A wish of the strategy below this is no wish.")
    min_edge: Share = _key("0", FRACTION, "What must be left of the target after both fees and the spread.")


class LimitsOnEntries(_Section):
    cooldown_bars: Whole = _key(0, "bars", "No entry on a pair so long after a loss on it.", ge=0, le=100_000)
    guard_losses: Whole = _key(
        0, "losses", "So many losses on a pair within guard_bars close it; 0: never.", ge=0, le=32
    )
    guard_bars: Whole = _key(48, "bars", "How far back guard_losses looks.", ge=1, le=100_000)
    daily_loss: Share = _key("0", FRACTION, "No entry after the equity fell so far in a day; 0: no limit.")
    drawdown: Share = _key("0", FRACTION, "No entry while the equity is so far below its peak; 0: no limit.")
    spread: Share = _key("0", FRACTION, "No entry while the ask is further above the bid; 0: no limit.")
    volume: Share = _key("0", FRACTION, "The share of its bar's volume that one entry may be; 0: no limit.")


class Rules(_Section):
    rules_on: Annotated[
        date | Literal["latest", "dated", "floors"],
        BeforeValidator(partial(_day, ("latest", "dated", "floors"))),
    ] = _key(
        "2025-07-29",
        "date, latest, dated or floors",
        "The day whose exchange minimums hold; dated: each candle's own; floors: none but the policy's.",
    )
    fees_on: Annotated[
        date | Literal["latest", "dated"], BeforeValidator(partial(_day, ("latest", "dated")))
    ] = _key("2025-07-29", "date, latest or dated", "The day whose fee schedule holds.")
    volume_30d: NotNegative = _key("0", "USD", "The traded volume of 30 days, which picks the fee tier.")


class Flow(_Section):
    on: Annotated[date, BeforeValidator(partial(_day, ()))] = _key(..., "date", "The day, in UTC.")
    amount: Annotated[Decimal, EXACTLY, AS_TEXT] = _key(..., STAKE, "What comes; below 0: what leaves.")


class Paper(_Section):
    slippage: BelowOne = _key("0.001", FRACTION, "How much worse than its stop price a stop is filled.")
    spread: BelowOne = _key(
        "0.0005", FRACTION, "The distance of ask and bid assumed where only candles are known."
    )
    volume_share: Share = _key(
        "0.1", FRACTION, "The share of a bar's volume that fills waiting orders; 0: they fill whole."
    )
    deposits: tuple[Flow, ...] = _key(
        (), "list of {on, amount}", "Money that comes or leaves during the run, such as a monthly 10."
    )
    bars: Whole = _key(2000, "bars", "How long the built-in market lasts.", ge=1, le=1_000_000)


class Live(_Section):
    fraction: PositiveShare = _key(
        "0.1", FRACTION, "The share of the stake currency in the account that a first live run may touch."
    )


class Settings(BaseSettings):
    """All that the user may set, checked; built from plain values it reads nothing else."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        title="lotwise configuration",
    )
    preset: str = _key(DEFAULT_PRESET, " or ".join(PRESETS), "The starting point below this configuration.")
    stake_currency: str = _key(
        "USDT", "asset", "The currency that is spent and counted in.", pattern="^[A-Z0-9]{2,10}$"
    )
    dry_run_wallet: NotNegative = _key("2.86", STAKE, "The balance that a paper run starts with.")
    pairs: Annotated[tuple[Symbol, ...], BeforeValidator(_symbols)] = Field(
        default_factory=lambda data: tuple(f"{base}/{data['stake_currency']}" for base in DEFAULT_BASES),
        description="The pairs to trade, each paid in the stake currency.",
        json_schema_extra={"unit": "list of BASE/QUOTE", "minItems": 1},
    )
    timeframe: Literal["1m", "5m", "15m", "1h", "4h", "1d"] = _key(
        "1h", "1m 5m 15m 1h 4h or 1d", "The length of one bar."
    )
    max_open_trades: Whole = _key(1, "trades", "How many positions may be open at once.", ge=1, le=1000)
    stoploss: Stop = _key(
        "-0.03", "negative fraction", "Sell when the price falls this far below the entry; -0.03 is 3 %."
    )
    stoploss_on_exchange: bool = _key(
        False,
        "true or false",
        "Let the stop wait at the exchange, where it works without this program; the target is then sold at "
        "once, as taker. Else the target waits there and the program watches the stop.",
    )
    trailing_stop: BelowOne = _key(
        "0", FRACTION, "Sell when the price falls this far below its highest since the entry; 0: never."
    )
    target: PositiveShare = _key(
        "0.05", FRACTION, "Sell at this gain above the entry, before fees; 0.05 is 5 %."
    )
    max_hold_bars: Whole = _key(
        0, "bars", "Sell a position that was held so long; 0: no limit.", ge=0, le=1_000_000
    )
    strategy: StrategyName = _key(
        "dip", "dip, trend, breakout or module:Class", "What wishes to buy, and when; or your own class."
    )
    seed: Whole = _key(1, "whole number", "What the built-in market is drawn from.", ge=0, lt=2**63)
    sizing: Sizing = Field(default_factory=Sizing, description="How large an entry is.")
    entry: Entry = Field(default_factory=Entry, description="How a position is opened.")
    limits: LimitsOnEntries = Field(
        default_factory=LimitsOnEntries, description="When to stop entering; exits are always allowed."
    )
    rules: Rules = Field(default_factory=Rules, description="Which minimums and fees hold.")
    live: Live = Field(default_factory=Live, description="What a run with real orders may do.")
    paper: Paper = Field(default_factory=Paper, description="What a simulated exchange assumes.")

    @field_validator("pairs")
    @classmethod
    def _paid_in_stake(cls, pairs: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not pairs:
            raise ValueError("name at least one pair, such as SOL/USDT")
        stake = info.data.get("stake_currency")
        for pair in pairs:
            base, quote = split_symbol(pair)
            if stake is not None and quote != stake:
                raise ValueError(
                    f"{pair} is not paid in {stake}; write {base}/{stake}, or change stake_currency"
                )
        if len(set(pairs)) < len(pairs):
            twice = next(pair for pair in pairs if pairs.count(pair) > 1)
            raise ValueError(f"{twice} stands twice; name each pair once")
        return pairs

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The layers are read beforehand: the sources that pydantic-settings offers know no lines.
        layers = init_settings().get("layers")
        if layers is None:
            return (init_settings,)
        return tuple(InitSettingsSource(settings_cls, layer.values) for layer in layers)

    def policy(self, floor: Decimal) -> Policy:
        """What sizing may do on a pair with this tier floor."""
        sizing = self.sizing
        policy = Policy(
            cap=sizing.max_order_size_usdt,
            fraction=sizing.position_size_percentage,
            floor=floor,
            reserve=sizing.reserve,
            stop=-self.stoploss,
            exit_headroom=sizing.exit_headroom,
            raise_to_minimum=sizing.raise_to_minimum,
        )
        return policy if sizing.use_dynamic_position_sizing else fixed(sizing.position_size_usd, policy)

    def fingerprint(self) -> dict[str, Any]:
        """All values as plain JSON, keys sorted, decimals as text: equal for equal settings."""
        values: dict[str, Any] = json.loads(json.dumps(self.model_dump(mode="json"), sort_keys=True))
        return values
