"""Every page in the states that come to each of them (G1-G5, I1-I7): a business with a history, filters that are none, a
database that does not answer. What each page shows of its own is in the other files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from credits_core import demo
from credits_core.auth.providers import DEMO_PEOPLE
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.port import SERVICE, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.errors import DatabaseUnavailable
from credits_core.runtime import Runtime
from tests.conftest import new_database, person

from .conftest import Browser, texts
from .test_access import EVERY_PAGE, FINANCE_PAGES, HOLDER_PAGES, MAY_SEE

FRAME = {"session", "balance", "unread_alerts", "approvals_count", "me"}  # what is around every page
STILL = {"account/checkout_return.py"}  # asks nothing before there is a purchase to show
FILTERS = (
    "account action add adjust amount by canceled caps code compare currency dates days decide do end flag kind list mode "
    "month months_shown number operation outcome part payment period q refund review session_id state status to type unit unread "
    "view wish"
).split()


def role_for(file: str) -> str:
    return "holder" if file in HOLDER_PAGES else "finance" if file in FINANCE_PAGES else "admin"


@pytest.fixture(scope="module")
def lived_in(
    server: EmbeddedServer, template: str, superuser_sql: Callable[..., None]
) -> Iterator[tuple[PsycopgDatabase, dict[str, Identity]]]:
    """A database with demo data of forty days, made once for pages that only read, and its people by role."""
    for name in new_database(superuser_sql, template):
        database = PsycopgDatabase(server.dsn(database=name))
        people = {}
        for one in DEMO_PEOPLE:
            known = {"email": one.email, "name": one.name, "role": one.role}
            made = database.call("create_demo_user", SERVICE, is_demo=True, **known)
            people[one.role] = person(made["user_id"], **known)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(demo, "DAYS", 40)
            demo.seed(server.owner_dsn(name))
        yield database, people
        database.close()


class TestABusinessWithAHistory:
    @pytest.fixture
    def database(self, lived_in: tuple[PsycopgDatabase, dict[str, Identity]]) -> PsycopgDatabase:
        return lived_in[0]

    @pytest.mark.parametrize(
        ("role", "file"), [(role, file) for role, files in MAY_SEE.items() for file in files]
    )
    def test_everybody_sees_something_and_no_error(
        self,
        lived_in: tuple[PsycopgDatabase, dict[str, Identity]],
        browser: Browser,
        role: str,
        file: str,
    ) -> None:
        browser.sign_in(lived_in[1][role])
        tab = browser.open(file, zone="America/New_York", locale="de-DE")
        assert not tab.exception
        assert not tab.error
        assert len(tab.title) == 1

    @pytest.mark.parametrize("value", ["zz", "\N{SNOWMAN}'; drop", "9" * 20, "2026-13-45,2026-01-01"])
    @pytest.mark.parametrize("file", EVERY_PAGE)
    def test_filters_that_are_none(
        self,
        lived_in: tuple[PsycopgDatabase, dict[str, Identity]],
        browser: Browser,
        file: str,
        value: str,
    ) -> None:
        """An address that somebody has typed, or that an older version has made, opens the page all the same."""
        browser.sign_in(lived_in[1][role_for(file)])
        tab = browser.open(file, **dict.fromkeys(FILTERS, value))
        assert not tab.exception
        assert tab.title or (tab.error and tab.main.button[0].label.startswith("All "))  # and the way back


@pytest.mark.parametrize("file", EVERY_PAGE)
def test_a_database_that_does_not_answer(
    browser: Browser,
    runtime: Runtime,
    make_user: Callable[..., Identity],
    monkeypatch: pytest.MonkeyPatch,
    file: str,
) -> None:
    """The page's own data cannot be had: a sentence that says what to do, and the menu stays."""
    browser.sign_in(make_user(role=role_for(file)))
    answer = runtime.db.call

    def call(function: str, identity: Identity, /, **arguments: object) -> Any:
        if function in FRAME:
            return answer(function, identity, **arguments)
        raise DatabaseUnavailable("The database does not answer. Try again in a minute.")

    monkeypatch.setattr(runtime.db, "call", call)
    tab = browser.open(file)
    assert not tab.exception
    assert file in STILL or "Try again in a minute." in texts(tab)
    assert tab.sidebar.children
