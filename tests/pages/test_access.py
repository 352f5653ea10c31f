"""Who sees which page: asked on every run, refused in a sentence, nothing for anonymous visitors (G1, G3, I4)."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from credits_core.db.port import Identity
from credits_core.runtime import Runtime

from .conftest import ROUTER, Browser, texts

HOLDER_PAGES = (
    "account/overview.py",
    "account/buy.py",
    "account/live_call.py",
    "account/calls.py",
    "account/usage.py",
    "account/api_keys.py",
    "account/transactions.py",
    "account/checkout_return.py",
    "account/auto_reload.py",
    "account/statements.py",
    "account/invite.py",
    "account/plan.py",
    "account/notifications.py",
)
FINANCE_PAGES = (
    "finance/finance.py",
    "finance/revenue.py",
    "finance/margins.py",
    "finance/reconciliation.py",
)
ADMIN_PAGES = (
    "admin/accounts.py",
    "admin/payments.py",
    "admin/catalog.py",
    "admin/approvals.py",
    "admin/campaigns.py",
    "admin/flags.py",
    "admin/audit.py",
    "admin/system.py",
    "admin/webhook_inbox.py",
)
EVERY_PAGE = HOLDER_PAGES + FINANCE_PAGES + ADMIN_PAGES
MAY_SEE = {
    "holder": HOLDER_PAGES,
    "finance": HOLDER_PAGES + FINANCE_PAGES,
    "admin": EVERY_PAGE,
    "super_admin": EVERY_PAGE,
}


@pytest.mark.parametrize("address", ["", "accounts", "finance", "overview", "no_such_page"])
def test_the_first_request_of_an_anonymous_visitor_is_the_sign_in_page(
    browser: Browser, address: str
) -> None:
    tab = browser.start(address)
    assert [title.value for title in tab.title] == ["Sign in"]
    assert tab.link_button[0].url.startswith("/auth/sign-in")
    assert not tab.dataframe
    assert not tab.metric
    assert not tab.sidebar.children


@pytest.mark.parametrize("file", EVERY_PAGE)
def test_anonymous_visitors_get_no_page_at_all(browser: Browser, file: str) -> None:
    tab = browser.open(file, period="7 days")
    assert [title.value for title in tab.title] == ["Sign in"]
    assert tab.link_button[0].url == f"/auth/sign-in?next=%2F{Path(file).stem}%3Fperiod%3D7%2Bdays"


@pytest.mark.parametrize("role", MAY_SEE)
@pytest.mark.parametrize("file", EVERY_PAGE)
def test_every_role_sees_its_pages_and_is_refused_the_others(
    browser: Browser, make_user: Callable[..., Identity], role: str, file: str
) -> None:
    browser.sign_in(make_user(role=role))
    tab = browser.open(file)
    assert not tab.exception
    refused = [title.value for title in tab.title] == ["Not for your role"]
    assert refused == (file not in MAY_SEE[role])
    assert "ask an administrator" in texts(tab) or not refused


@pytest.mark.parametrize(
    ("role", "title"),
    [
        ("holder", "Overview"),
        ("finance", "Sales and usage"),
        ("admin", "Accounts"),
        ("super_admin", "Accounts"),
    ],
)
def test_the_root_address_leads_to_the_page_of_a_role(
    browser: Browser, make_user: Callable[..., Identity], role: str, title: str
) -> None:
    browser.sign_in(make_user(role=role))
    assert [element.value for element in browser.start().title] == [title]


def test_a_session_that_ended_elsewhere_counts_at_the_next_run(
    browser: Browser, runtime: Runtime, make_user: Callable[..., Identity]
) -> None:
    token = browser.sign_in(make_user())
    tab = browser.open("account/transactions.py")
    assert [title.value for title in tab.title] == ["Transactions"]
    runtime.sessions.end(token, everywhere=True)
    assert [title.value for title in tab.run().title] == ["Sign in"]


def test_no_page_is_left_out() -> None:
    files = {path for path in ROUTER.parent.glob("*/*.py") if path.parent.name != "common"}
    assert {str(path.relative_to(ROUTER.parent)) for path in files} == {*EVERY_PAGE}


def test_every_page_begins_with_the_guard() -> None:
    for file in EVERY_PAGE:
        body = ast.parse((ROUTER.parent / file).read_text("utf-8")).body
        code = [node for node in body[1:] if not isinstance(node, ast.Import | ast.ImportFrom)]
        assert ast.unparse(code[0]).startswith("session.guard("), file


def test_names_are_shown_as_they_are_written(browser: Browser, make_user: Callable[..., Identity]) -> None:
    browser.sign_in(make_user(name="![x](https://example.test/x.png) $1$ **bold**"))
    tab = browser.open("account/overview.py")
    assert r"\!\[x\](https\://example.test/x.png) \$1\$ \*\*bold\*\*" in texts(tab)
