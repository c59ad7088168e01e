"""What tests have to say besides passing: lines that pytest prints below its results. And what they may not
say: no secret is in anything that they leave, with all that a live run could log switched on."""

import logging
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.canaries import Canaries

LINES = pytest.StashKey[list[str]]()
CANARIES = pytest.StashKey[Canaries]()
LOGGED = ("lotwise", "httpx", "httpcore.connection", "httpcore.http11", "websockets.client", "asyncio")
"""Who could log a secret on the client's side. What the exchange's side logs is its own affair."""


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> list[str]:
    """Lines appended here are printed at the end of the run."""
    return pytestconfig.stash.setdefault(LINES, [])


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CANARIES] = canaries = Canaries()

    def looked_at(record: logging.LogRecord) -> bool:
        canaries.look(f"log of {record.name}", record.getMessage().encode())
        return record.levelno >= logging.WARNING  # pytest would keep all, and some tests count memory

    for name in LOGGED:
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).addFilter(looked_at)


@pytest.fixture(scope="session", autouse=True)
def _secrets_are_known(pytestconfig: pytest.Config) -> Iterator[None]:
    """Every key that a sandbox lets in, and every token that it issues, is watched for."""
    from tests.canaries import watched

    with watched(pytestconfig.stash[CANARIES]):
        yield


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """At the end, all files of all tests are looked through."""
    yield
    pytestconfig.stash[CANARIES].look_through(tmp_path_factory.getbasetemp())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Folders that a test takes away are looked through before it does."""
    try:
        for folder in _folders(getattr(item, "funcargs", {}).values()):
            item.config.stash[CANARIES].look_through(folder)
    finally:
        yield


def _folders(values: Iterable[Any]) -> Iterator[Path]:
    for value in values:
        if isinstance(value, tuple):
            yield from _folders(value)
        elif isinstance(value, Path) and value.is_dir():
            yield value


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test printed and logged, and its traceback."""
    report = yield
    texts = [item.nodeid, report.longreprtext, *(text for _, text in report.sections)]
    item.config.stash[CANARIES].look(f"report of {item.nodeid}", "\n".join(texts).encode())
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    canaries, output = session.config.stash[CANARIES], getattr(session.config, "workeroutput", None)
    if output is not None:  # one of several processes: the lines go to the one that prints
        output["lines"], output["seen"] = session.config.stash.get(LINES, []), canaries.seen
    elif canaries.seen:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    told = getattr(node, "workeroutput", {})
    node.config.stash.setdefault(LINES, []).extend(told.get("lines", []))
    node.config.stash[CANARIES].seen += told.get("seen", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(LINES, []):
        terminalreporter.write_line(line)
    for where in dict.fromkeys(config.stash[CANARIES].seen):
        terminalreporter.write_line(f"SECRET FOUND in {where}", red=True)
