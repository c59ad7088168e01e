"""What the user may set: every key with its default, unit and help, and where its value came from.

Laws: numbers are exact from the file to the last use; an unknown key, a contradiction or a value
that cannot be is an error that says where it stands and what would be right; the command line is
above the environment, the environment above the file, the file above the preset.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from lotwise.app.presets import DEFAULT_PRESET, PRESETS
from lotwise.app.terminal import Problem
from lotwise.domain.market import FeeAsset, Liquidity, ppm, split_symbol
from lotwise.domain.sizing import Policy, fixed
from lotwise.domain.values import EXACT, Amount, BadField, Time, exact, plain

DEFAULT_FILES = ("config.json", "lotwise.toml")
DEFAULT_BASES = ("SOL", "ADA", "DOGE", "SHIB", "MANA")
ENV_PREFIX, ENV_DELIMITER = "LOTWISE__", "__"
MAX_FILE_CHARACTERS = 1_000_000
STAKE = "stake currency"
FRACTION = "fraction"


def _percent(number: Decimal) -> str:
    return plain(EXACT.scaleb(number, -2))


def _whole(value: Decimal | int | str) -> int:
    number = exact(value)
    if number != int(number):
        raise ValueError(f"{value} is no whole number")
    return int(number)


def _at_most_one(number: Decimal) -> Decimal:
    if number > 1:
        raise ValueError(f"{plain(number)} is above 1; for {plain(number)} % write {_percent(number)}")
    return number


def _below_entry(number: Decimal) -> Decimal:
    """A stop as freqtrade writes it: a negative fraction of the entry price."""
    fraction = _percent(abs(number)) if abs(number) >= 1 else plain(abs(number))
    if not -1 < number < 0:
        raise ValueError(
            f"{plain(number)} is not between -1 and 0: a stop lies below the entry; write -{fraction}"
            if number and abs(number) < 100
            else f"{plain(number)} is not between -1 and 0; write -0.03 for 3 % below the entry"
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


Number = Annotated[Decimal, BeforeValidator(exact), PlainSerializer(plain, str, when_used="json")]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0), AfterValidator(_at_most_one)]
PositiveShare = Annotated[Number, Field(gt=0), AfterValidator(_at_most_one)]
Whole = Annotated[int, BeforeValidator(_whole)]
Symbol = Annotated[str, AfterValidator(_symbol)]


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
    max_order_size_usdt: Positive = _key("10", STAKE, "The cap: no entry costs more.")
    tier_min_costs: TierFloors = Field(
        default_factory=TierFloors, description="Policy floors: cheaper entries are not worth placing."
    )
    reserve: NotNegative = _key("0", STAKE, "The part of the balance that is never spent.")
    exit_headroom: Number = _key(
        "1.0",
        "factor",
        "How far above the exchange's minimums an exit at the stop must be; 1.1 is 10 %.",
        ge=1,
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
                f"{plain(cap)} is below the fixed size; lower position_size_usd from {plain(size)}, or raise this"
            )
        return cap


class Entry(_Section):
    style: Liquidity = _key("maker", "maker or taker", "Wait in the book (maker) or buy at once (taker).")
    lifetime_bars: Whole = _key("3", "bars", "How long a maker entry waits.", ge=1, le=100_000)
    min_confidence: Share = _key("0", FRACTION, "A wish of the strategy below this is no wish.")
    min_edge: Share = _key("0", FRACTION, "What must be left of the target after both fees and the spread.")


class Rules(_Section):
    rules_on: Annotated[
        date | Literal["latest", "floors"], BeforeValidator(partial(_day, ("latest", "floors")))
    ] = _key(
        "2025-07-29",
        "date, latest or floors",
        "The day whose exchange minimums hold; floors: none but the policy's own floors.",
    )
    fees_on: Annotated[date | Literal["latest"], BeforeValidator(partial(_day, ("latest",)))] = _key(
        "2025-07-29", "date or latest", "The day whose fee schedule holds."
    )
    volume_30d: NotNegative = _key("0", "USD", "The traded volume of 30 days, which picks the fee tier.")


class Paper(_Section):
    slippage: Share = _key("0.001", FRACTION, "How much worse than its stop price a stop is filled.")
    spread: Share = _key(
        "0.0005", FRACTION, "The distance of ask and bid assumed where only candles are known."
    )
    bars: Whole = _key("2000", "bars", "How long the built-in market lasts.", ge=1, le=1_000_000)


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
        min_length=1,
        max_length=1000,
        description="The pairs to trade, each paid in the stake currency.",
        json_schema_extra={"unit": "list of BASE/QUOTE"},
    )
    timeframe: Literal["1m", "5m", "15m", "1h", "4h", "1d"] = _key(
        "1h", "1m 5m 15m 1h 4h or 1d", "The length of one bar."
    )
    max_open_trades: Whole = _key("1", "trades", "How many positions may be open at once.", ge=1, le=1000)
    stoploss: Annotated[Number, AfterValidator(_below_entry)] = _key(
        "-0.03", "negative fraction", "Sell when the price falls this far below the entry; -0.03 is 3 %."
    )
    target: PositiveShare = _key(
        "0.05", FRACTION, "Sell at this gain above the entry, before fees; 0.05 is 5 %."
    )
    strategy: Literal["dip"] = _key("dip", "dip", "What wishes to buy, and when.")
    seed: Whole = _key("1", "whole number", "What the built-in market is drawn from.", ge=0, lt=2**63)
    sizing: Sizing = Field(default_factory=Sizing, description="How large an entry is.")
    entry: Entry = Field(default_factory=Entry, description="How a position is opened.")
    rules: Rules = Field(default_factory=Rules, description="Which minimums and fees hold.")
    paper: Paper = Field(default_factory=Paper, description="What a simulated exchange assumes.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        layers = init_settings().get("layers")
        if layers is None:
            return (init_settings,)
        return tuple(InitSettingsSource(settings_cls, layer.values) for layer in layers)

    @property
    def wallet(self) -> Amount:
        """What a paper run starts with."""
        return Amount(self.dry_run_wallet, self.stake_currency)

    @property
    def stop(self) -> Decimal:
        """How far below the entry the stop lies, as a fraction above 0."""
        return -self.stoploss

    @property
    def floors(self) -> dict[str, Decimal]:
        """The tier floors by the tier's name, in the stake currency."""
        return self.sizing.tier_min_costs.model_dump()

    @property
    def bar(self) -> Time:
        """The length of one bar."""
        # Here, not above: the columns need numpy, which a look at the configuration does not.
        from lotwise.strategies.candles import TIMEFRAMES

        return Time(TIMEFRAMES[self.timeframe])

    @property
    def entry_lifetime(self) -> Time:
        """How long a maker entry waits."""
        return Time(self.entry.lifetime_bars * self.bar)

    def policy(self, floor: Decimal) -> Policy:
        """What sizing may do on a pair with this tier floor."""
        sizing = self.sizing
        policy = Policy(
            cap=sizing.max_order_size_usdt,
            fraction=sizing.position_size_percentage,
            floor=floor,
            reserve=sizing.reserve,
            stop=self.stop,
            exit_headroom=sizing.exit_headroom,
            raise_to_minimum=sizing.raise_to_minimum,
        )
        return policy if sizing.use_dynamic_position_sizing else fixed(sizing.position_size_usd, policy)

    def fingerprint(self) -> dict[str, Any]:
        """All values as plain JSON, keys sorted, decimals as text: equal for equal settings."""
        values: dict[str, Any] = json.loads(json.dumps(self.model_dump(mode="json"), sort_keys=True))
        return values


KeyPath = tuple[str | int, ...]


def _leaves(model: type[BaseModel], above: KeyPath = ()) -> Iterator[tuple[KeyPath, FieldInfo]]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type(BaseModel)):
            yield from _leaves(info.annotation, (*above, name))
        else:
            yield (*above, name), info


KEYS: Mapping[KeyPath, FieldInfo] = dict(_leaves(Settings))
SECTIONS = frozenset(path[:depth] for path in KEYS for depth in range(1, len(path)))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was set: a file and its line, a variable, or the command line."""

    origin: str
    line: int | None = None

    def __str__(self) -> str:
        return self.origin if self.line is None else f"{self.origin}:{self.line}"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where it stands, which key it is of, and what would be right."""

    place: Place
    field: str
    problem: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.place), self.field, self.problem) if part)


class BadSettings(Problem):
    """All that is wrong with the configuration, at once."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        lines = [str(fault) for fault in faults]
        several = f"{len(lines)} problems in the configuration:"
        super().__init__(lines[0] if len(lines) == 1 else "\n  ".join([several, *lines]))


@dataclass(frozen=True, slots=True)
class Layer:
    """Values from one source, the places of their keys, and the faults found on the way."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    places: Mapping[KeyPath, Place] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()

    def holds(self, path: KeyPath) -> bool:
        """Whether this source sets the key."""
        node: Any = self.values
        for key in path:
            if not isinstance(node, dict) or key not in node:
                return False
            node = node[key]
        return True

    def place(self, path: KeyPath) -> Place:
        """Where the key, or else the nearest above it, stands."""
        above = (path[:depth] for depth in range(len(path), 0, -1))
        return next((self.places[known] for known in above if known in self.places), Place(self.name))
