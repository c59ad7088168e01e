"""What the configuration accepts, what it refuses and how it says so."""

import json
import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lotwise.app.cli import cli
from lotwise.app.commands.config import reference
from lotwise.app.configuration import KEYS, default_text, load_settings, load_with_origins, unit
from lotwise.app.live import live_settings
from lotwise.app.presets import PRESETS, BadSettings
from lotwise.app.settings import Settings
from lotwise.domain.market import FeeAsset, Liquidity, Tier
from lotwise.domain.policy import Policy
from lotwise.domain.values import plain
from lotwise.strategies.candles import TIMEFRAMES


@pytest.fixture(autouse=True)
def empty_folder_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("LOTWISE__")]:
        monkeypatch.delenv(name)


def load(text: str = "{}", name: str = "config.json", overrides: Mapping[str, Any] | None = None) -> Settings:
    Path(name).write_text(text, encoding="utf-8")
    return load_settings(Path(name), None, overrides or {})


def refusal(text: str, name: str = "config.json") -> str:
    with pytest.raises(BadSettings) as caught:
        load(text, name)
    assert caught.value.exit_code == 2
    return caught.value.message


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["config", *arguments])
    return result.exit_code, result.output


# Presets and defaults


def test_micro_is_the_account_of_2_86_that_failed() -> None:
    micro = load_settings(None, None, {})
    assert (micro.preset, micro.dry_run_wallet, micro.stake_currency) == ("micro", Decimal("2.86"), "USDT")
    assert micro.pairs == ("SOL/USDT", "ADA/USDT", "DOGE/USDT", "SHIB/USDT", "MANA/USDT")
    assert micro.sizing.tier_min_costs.model_dump() == {tier: Decimal("2.5") for tier in Tier}
    assert (str(micro.rules.rules_on), str(micro.rules.fees_on)) == ("2025-07-29", "2025-07-29")
    assert (micro.entry.style, micro.sizing.fee_asset) == (Liquidity.MAKER, FeeAsset.QUOTE)


def test_small_trades_fifty_under_the_latest_rules() -> None:
    small = load_settings(None, "small", {})
    assert (small.preset, small.dry_run_wallet, small.max_open_trades) == ("small", Decimal(50), 2)
    assert (small.sizing.max_order_size_usdt, small.rules.rules_on) == (Decimal(25), "latest")


def test_pairs_follow_the_stake_currency() -> None:
    assert load_settings(None, "small", {"stake_currency": "USD"}).pairs[0] == "SOL/USD"


@pytest.mark.parametrize("name", ["config.json", "lotwise.toml"])
def test_a_file_that_init_wrote_leaves_real_orders_their_headroom(name: str) -> None:
    assert run("init", name, "--preset", "small")[0] == 0
    settings = load_settings(None, None, {})
    assert (settings.preset, settings.sizing.exit_headroom) == ("small", 1)
    assert live_settings(settings).sizing.exit_headroom == Decimal("1.1")


def test_a_file_may_name_its_preset() -> None:
    assert load('{"preset": "small"}').dry_run_wallet == 50


def test_a_file_made_for_one_preset_is_refused_under_another() -> None:
    Path("config.json").write_text('{"seed": 2,\n "preset": "small"}')
    with pytest.raises(BadSettings, match=r"config.json:2: preset: 'small' here, but 'micro' was asked for"):
        load_settings(None, "micro", {})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_passes_its_own_checks(preset: str) -> None:
    assert load_settings(None, preset, {}).preset == preset


def test_every_key_has_a_default_a_unit_and_help() -> None:
    for path, info in KEYS.items():
        assert unit(path) and default_text(path) and info.description, path


def test_timeframes_are_those_of_the_candles() -> None:
    assert list(get_args(KEYS["timeframe",].annotation)) == list(TIMEFRAMES)


# Layers


def test_command_line_beats_environment_beats_file_beats_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOTWISE__SEED", "2")
    monkeypatch.setenv("LOTWISE__MAX_OPEN_TRADES", "4")
    text = '{"preset": "small", "seed": 1, "max_open_trades": 3, "target": 0.2}'
    settings = load(text, overrides={"seed": 9, "target": None, "paper.bars": 7})
    assert (settings.seed, settings.max_open_trades, settings.target) == (9, 4, Decimal("0.2"))
    assert (settings.paper.bars, settings.dry_run_wallet) == (7, Decimal(50))


def test_an_option_may_name_the_preset_as_any_key() -> None:
    assert load_settings(None, None, {"preset": "small"}).preset == "small"


def test_environment_sets_one_key_of_a_section_and_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOTWISE__SIZING__TIER_MIN_COSTS__MEME", "3.10")
    monkeypatch.setenv("LOTWISE__SIZING__RAISE_TO_MINIMUM", "false")
    monkeypatch.setenv("LOTWISE__PAIRS", "SOL/USDT, ADA/USDT")
    settings = load('{"sizing": {"reserve": 1, "tier_min_costs": {"MEME": 4, "TIER_1": 5}}}')
    floors = settings.sizing.tier_min_costs.model_dump()
    assert floors == {"TIER_1": 5, "MID_TIER": Decimal("2.5"), "MEME": Decimal("3.10")}
    assert (settings.sizing.reserve, settings.sizing.raise_to_minimum) == (Decimal(1), False)
    assert settings.pairs == ("SOL/USDT", "ADA/USDT")


def test_environment_takes_a_list_as_json_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOTWISE__PAIRS", '["SOL/USDT"]')
    assert load().pairs == ("SOL/USDT",)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LOTWISE__SIZNG__RESERVE", "did you mean LOTWISE__SIZING__RESERVE?"),
        ("LOTWISE__SEED__X", "did you mean LOTWISE__SEED?"),
        ("LOTWISE__seed", "did you mean LOTWISE__SEED?"),
        ("LOTWISE__RESERVE", "did you mean LOTWISE__SIZING__RESERVE?"),
        ("LOTWISE__ENTRY", "a section; set its keys one by one, such as LOTWISE__ENTRY__STYLE"),
        ("LOTWISE__QQQ", "unknown key"),
    ],
)
def test_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    monkeypatch.setenv(name, "1")
    message = refusal("{}")
    assert message.startswith(f"{name}: ") and said in message


def test_a_bad_variable_is_named_and_not_the_file_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOTWISE__SIZING__RESERVE", "nan")
    assert refusal('{"sizing": {"reserve": 1}}').startswith(
        "LOTWISE__SIZING__RESERVE: sizing.reserve: nan is not finite"
    )


def test_an_unknown_preset_is_told_the_near_one() -> None:
    with pytest.raises(BadSettings, match=r"command line: preset: no preset 'smal'; did you mean small\?"):
        load_settings(None, "smal", {})


def test_each_value_knows_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOTWISE__SEED", "2")
    Path("lotwise.toml").write_text('preset = "small"\n\n[sizing]\nreserve = 1\n')
    _, origins = load_with_origins(None, None, {"timeframe": "5m"})
    assert origins["timeframe",] == "command line"
    assert origins["seed",] == "LOTWISE__SEED"
    assert origins["sizing", "reserve"] == "lotwise.toml:4"
    assert origins["dry_run_wallet",] == "preset small"
    assert origins["sizing", "exit_headroom"] == "default"


def test_building_settings_from_values_reads_neither_file_nor_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOTWISE__SEED", "2")
    Path("config.json").write_text('{"seed": 3}')
    assert Settings().seed == 1


# Files


def test_two_default_files_are_one_too_many() -> None:
    Path("lotwise.toml").touch()
    Path("config.json").touch()
    with pytest.raises(BadSettings, match="name one with --config"):
        load_settings(None, None, {})


@pytest.mark.parametrize("number", ["0.10000000000000000001", '"0.10000000000000000001"'])
def test_json_numbers_never_pass_through_float(number: str) -> None:
    assert load(f'{{"target": {number}}}').target == Decimal("0.10000000000000000001")


def test_toml_numbers_never_pass_through_float() -> None:
    assert load("target = 0.10000000000000000001", "a.toml").target == Decimal("0.10000000000000000001")


def test_toml_dates_are_dates() -> None:
    assert str(load("[rules]\nrules_on = 2025-01-02", "a.toml").rules.rules_on) == "2025-01-02"


def test_a_file_with_a_byte_order_mark_is_read() -> None:
    Path("a.json").write_bytes(b'\xef\xbb\xbf{"seed": 5}')
    assert load_settings(Path("a.json"), None, {}).seed == 5


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b'{"seed": 1,\n}', "a.json:2: no valid JSON"),
        ("a.json", b"", "a.json:1: no valid JSON"),
        ("a.json", b"[" * 100_000, "a.json: no valid JSON"),
        ("a.json", b"3", "a.json:1: must be keys and values"),
        ("a.json", b'{\n"seed": 1, "seed": 2}', "a.json:2: no valid JSON: the key 'seed' stands twice"),
        ("a.json", b"\xff", "a.json: is not UTF-8 text"),
        ("a.json", b" " * 1_000_001, "a.json: is longer than"),
        ("a.toml", b"\nseed = ", "a.toml:2: no valid TOML"),
        ("a.toml", b"seed = 1\nseed = 2", "a.toml:2: no valid TOML"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_apart(name: str, content: bytes, said: str) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(BadSettings) as caught:
        load_settings(Path(name), None, {})
    assert caught.value.message.startswith(said)


def test_a_key_that_cannot_be_found_in_the_text_is_told_with_the_file_alone() -> None:
    assert refusal('{"s\\u0065ed": -1}').startswith("config.json: seed: -1 must be")


def test_a_missing_file_and_a_folder_are_refused() -> None:
    for path in ("nowhere.json", "."):
        with pytest.raises(BadSettings, match="cannot be read"):
            load_settings(Path(path), None, {})


# Values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"stoploss": 0.03}', "a stop lies below the entry; write -0.03"),
        ('{"stoploss": 3}', "write -0.03"),
        ('{"stoploss": -3}', "write -0.03"),
        ('{"stoploss": 0}', "write -0.03"),
        ('{"stoploss": -0.00000001}', "finer than one part per million"),
        ('{"target": 5}', "for 5 % write 0.05"),
        ('{"target": 0}', "must be greater than 0"),
        ('{"sizing": {"position_size_percentage": 95}}', "write 0.95"),
        ('{"sizing": {"exit_headroom": 0.9}}', "must be greater than or equal to 1"),
        ('{"sizing": {"reserve": -1}}', "must be greater than or equal to 0"),
        ('{"sizing": {"reserve": NaN}}', "not finite"),
        ('{"sizing": {"reserve": -Infinity}}', "not finite"),
        ('{"sizing": {"reserve": 1e400}}', "outside 10^-30 .. 10^30"),
        ('{"sizing": {"reserve": 1e99999999999999999999}}', "is not a number"),
        ('{"sizing": {"reserve": null}}', "is not a number"),
        ('{"sizing": {"fee_asset": "gold"}}', "must be 'quote' or 'base'"),
        ('{"sizing": {"raise_to_minimum": "maybe"}}', "must be a valid boolean"),
        ('{"sizing": 3}', "a section; set its keys one by one, such as sizing.use_dynamic_position_sizing"),
        ('{"max_open_trades": true}', "is not a number"),
        ('{"max_open_trades": -1}', "must be greater than or equal to 1"),
        ('{"paper": {"bars": 2.5}}', "no whole number"),
        ('{"paper": {"slippage": 1}}', "must be less than 1"),
        ('{"timeframe": "1w"}', "must be '1m', '5m', '15m', '1h', '4h' or '1d'"),
        ('{"strategy": "tren"}', "no strategy 'tren'; did you mean trend?"),
        ('{"strategy": "mine.py:Mine"}', "names a file; write the module: mine:Mine"),
        ('{"stake_currency": "usdt"}', "must match pattern"),
        ('{"pairs": ["SOLUSDT"]}', "write BASE/QUOTE, such as SOL/USDT"),
        ('{"pairs": []}', "name at least one pair"),
        ('{"pairs": ["SOL/USDT", "SOL/USDT"]}', "SOL/USDT stands twice"),
        ('{"pairs": ["SOL/USD"]}', "SOL/USD is not paid in USDT; write SOL/USDT, or change stake_currency"),
        ('{"rules": {"rules_on": "yesterday"}}', "write it as 2025-07-29, or latest or dated or floors"),
        ('{"rules": {"rules_on": "2025-02-30"}}', "day is out of range"),
        ('{"rules": {"fees_on": "floors"}}', "floors is no day"),
    ],
)
def test_a_value_that_cannot_be_is_told_what_would_be_right(text: str, said: str) -> None:
    message = refusal(text)
    assert message.startswith("config.json:1: ") and said in message


def test_a_section_that_is_none_is_refused_even_below_a_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOTWISE__SIZING__RESERVE", "1")
    assert "config.json:1: sizing: a section" in refusal('{"sizing": 3}')


def test_a_message_ends_with_unit_and_default() -> None:
    assert refusal('{"sizing": {"reserve": -1}}').endswith("(stake currency; default 0)")


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("max_open_trade", "max_open_trades"),
        ("position_size_usd", "sizing.position_size_usd"),
        ("Seed", "seed"),
        ("sizng", "sizing"),
        ("_env_file", ""),
        ("__pydantic_self__", ""),
        ("layers", ""),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_one(key: str, near: str) -> None:
    message = refusal(json.dumps({"seed": 2, key: {}}, indent=0))
    assert message.startswith(f"config.json:3: {key}: unknown key")
    assert not near or message.endswith(f"did you mean {near}?")


def test_all_problems_are_listed_at_once_with_their_lines() -> None:
    text = '{\n"stake_currency": "x",\n"sizing": {\n"reserv": 1,\n"reserve": -1\n},\n"stoploss": 3}'
    message = refusal(text)
    assert message.startswith("4 problems in the configuration:")
    for place in (":2: stake_currency:", ":4: sizing.reserv:", ":5: sizing.reserve:", ":7: stoploss:"):
        assert place in message


def test_toml_problems_name_their_lines_too() -> None:
    message = refusal("seed = nan\n[sizing]\n\nreserve = inf\n[sizing.tier_min_costs]\nMEME = -1", "a.toml")
    for place in ("a.toml:1: seed", "a.toml:4: sizing.reserve", "a.toml:6: sizing.tier_min_costs.MEME"):
        assert place in message


def test_a_fixed_size_above_the_cap_is_a_contradiction() -> None:
    sizing = {"use_dynamic_position_sizing": False, "position_size_usd": 11}
    assert "10 is below position_size_usd, 11" in refusal(json.dumps({"sizing": sizing}))
    sizing["use_dynamic_position_sizing"] = True
    assert load(json.dumps({"sizing": sizing})).sizing.position_size_usd == 11


def test_settings_are_frozen_and_know_no_other_keys() -> None:
    with pytest.raises(ValidationError):
        load().seed = 2
    with pytest.raises(ValidationError):
        Settings.model_validate({"sizing": {"reserv": 1}})
    with pytest.raises(ValidationError, match="is a float"):
        Settings.model_validate({"target": 0.05})


# What the rest of the program gets


def test_policy_carries_each_key_to_its_place() -> None:
    sizing = {
        "position_size_percentage": "0.5",
        "max_order_size_usdt": 7,
        "reserve": 1,
        "exit_headroom": "1.1",
        "raise_to_minimum": False,
    }
    settings = Settings.model_validate({"sizing": sizing, "stoploss": "-0.02"})
    assert settings.policy(Decimal(3)) == Policy(
        cap=Decimal(7),
        fraction=Decimal("0.5"),
        risk_target=None,
        floor=Decimal(3),
        reserve=Decimal(1),
        stop=Decimal("0.02"),
        exit_headroom=Decimal("1.1"),
        raise_to_minimum=False,
    )


def test_fixed_sizing_is_one_size_and_never_raised() -> None:
    settings = Settings.model_validate({"sizing": {"use_dynamic_position_sizing": False}})
    policy = settings.policy(Decimal("2.5"))
    assert (policy.cap, policy.fraction, policy.raise_to_minimum) == (Decimal(2), Decimal(1), False)
    assert (policy.floor, policy.stop) == (Decimal("2.5"), Decimal("0.03"))


def test_fingerprint_is_plain_sorted_json_and_blind_to_spelling() -> None:
    fingerprint = load('{"target": 0.050, "dry_run_wallet": 1E+2}').fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert json.dumps(fingerprint) == json.dumps(fingerprint, sort_keys=True)
    assert (fingerprint["target"], fingerprint["dry_run_wallet"]) == ("0.05", "100")
    assert fingerprint["rules"]["rules_on"] == "2025-07-29"
    assert fingerprint == load('{"target": "0.05", "dry_run_wallet": 100.0}').fingerprint()


@given(st.decimals(min_value="0.000001", max_value=1, places=6), st.decimals(0, 10**9, places=8))
def test_any_exact_number_comes_out_as_it_was_written(target: Decimal, wallet: Decimal) -> None:
    fingerprint = load(f'{{"target": {plain(target)}, "dry_run_wallet": "{plain(wallet)}"}}').fingerprint()
    assert (fingerprint["target"], fingerprint["dry_run_wallet"]) == (plain(target), plain(wallet))


# The command


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["config.json", "lotwise.toml"])
def test_init_writes_every_key_but_one_and_what_it_writes_is_the_preset(name: str, preset: str) -> None:
    assert run("init", name, "--preset", preset) == (0, f"wrote {name}, preset {preset}\n")
    settings, origins = load_with_origins(None, None, {})
    elsewhere = [key for key, origin in origins.items() if not origin.startswith(f"{name}:")]
    assert elsewhere == [("sizing", "exit_headroom")]
    Path(name).unlink()
    assert settings == load_settings(None, preset, {})


def test_init_never_writes_over_a_file_unless_forced() -> None:
    Path("config.json").write_text("mine")
    code, said = run("init")
    assert (code, Path("config.json").read_text()) == (2, "mine") and "--force" in said
    assert run("init", "--force", "--json") == (0, '{"path": "config.json", "preset": "micro"}\n')
    assert run("check") == (0, "ok, preset micro\n")
    assert [path.name for path in Path().iterdir()] == ["config.json"]


def test_init_says_when_it_cannot_write() -> None:
    code, said = run("init", "nowhere/config.json")
    assert code == 2 and "nowhere/config.json: cannot be written" in said


@pytest.mark.parametrize("name", ["config.yaml", "config"])
def test_init_refuses_a_name_by_which_the_file_would_not_be_read_as_what_it_is(name: str) -> None:
    code, said = run("init", name)
    assert code == 2 and f"{name}: name it .json or .toml" in said and not Path(name).exists()


def test_check_lists_problems_as_json_and_exits_with_2() -> None:
    Path("config.json").write_text('{"seed": -1,\n"sed": 1}')
    code, said = run("check", "--json")
    answer: Mapping[str, Any] = json.loads(said)
    assert (code, answer["ok"]) == (2, False)
    assert [(fault["place"], fault["field"]) for fault in answer["problems"]] == [
        ("config.json:2", "sed"),
        ("config.json:1", "seed"),
    ]
    code, said = run("check", "config.json")
    assert code == 2 and said.startswith("Error: 2 problems in the configuration:")


def test_check_of_a_good_file_says_ok() -> None:
    Path("a.json").write_text('{"seed": 3}')
    assert run("check", "a.json", "--json") == (0, '{"ok": true, "problems": []}\n')


def test_show_tells_value_and_origin() -> None:
    Path("config.json").write_text('{"seed": 3}')
    assert json.loads(run("show", "--json")[1])["seed"] == {"value": 3, "from": "config.json:1"}
    lines = run("show", "--preset", "small")[1].splitlines()
    assert len(lines) == len(KEYS)
    assert ["dry_run_wallet", "50", "preset", "small"] in [line.split() for line in lines]


def test_schema_describes_every_key() -> None:
    described = json.loads(run("schema")[1])
    assert described == json.loads(run("schema", "--json")[1])
    parts = [described, *described["$defs"].values()]
    assert {path[-1] for path in KEYS} <= {key for part in parts for key in part.get("properties", ())}
    assert described["properties"]["target"]["unit"] == "fraction"


def test_the_page_on_the_configuration_is_current() -> None:
    page = Path(__file__).parents[1] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == reference() == run("schema", "--markdown")[1]
