"""People with a history for page tests, made by the real functions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from credits_core.auth.providers import SignedIn
from credits_core.config import Settings
from credits_core.db.port import SERVICE, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.runtime import Runtime, make_runtime, set_runtime
from pages.common import session

ROUTER = Path(__file__).resolve().parents[2] / "pages" / "router.py"

_numbers = itertools.count(1)


@pytest.fixture
def buy(database: PsycopgDatabase) -> Callable[..., dict[str, Any]]:
    """`buy(person, "usd_10")`: a paid and credited purchase, as after Stripe said so."""

    def bought(person: Identity, package: str, *, paid: bool = True) -> dict[str, Any]:
        number = next(_numbers)
        purchase = database.call(
            "create_purchase", person, package=package, livemode=False, idempotency_key=f"buy-{number}"
        )
        session = f"cs_test_{number}"
        database.call(
            "open_purchase",
            SERVICE,
            purchase_id=purchase["purchase_id"],
            session_id=session,
            url="https://checkout.example.test/pay",
        )
        if not paid:
            return {**purchase, "session_id": session}
        answer: dict[str, Any] = database.call(
            "fulfill_purchase",
            SERVICE,
            session={
                "session_id": session,
                "purchase_id": purchase["purchase_id"],
                "status": "complete",
                "payment_status": "paid",
                "mode": "payment",
                "livemode": False,
                "currency": purchase["currency"],
                "amount_subtotal": purchase["price_cents"],
                "amount_total": purchase["price_cents"],
            },
        )
        assert answer["status"] == "credited"
        return answer

    return bought


@pytest.fixture
def runtime(tmp_path: Path, database: PsycopgDatabase) -> Iterator[Runtime]:
    """This process's runtime on this test's database: embedded mode, Stripe simulator."""
    made = make_runtime(Settings(data_dir=tmp_path), db=database)
    set_runtime(made)
    yield made
    set_runtime(None)
    made.close()


@pytest.fixture
def browser(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Browser:
    return Browser(runtime, monkeypatch)


class Browser:
    """Opens pages as somebody, through the main script, as a browser with a session cookie does."""

    def __init__(self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
        self._runtime = runtime
        self._monkeypatch = monkeypatch
        self.sign_out()
        self._monkeypatch.setattr(session, "user_agent", lambda: "Mozilla/5.0 (X11; Linux x86_64)")

    def sign_out(self) -> None:
        self._monkeypatch.setattr(session, "cookies", dict)

    def sign_in(self, person: Identity) -> str:
        """A session of this person in the cookie; answers its token."""
        token = self._runtime.sessions.create(SignedIn(claims=dict(person.claims)))
        cookies = {self._runtime.cookies.session_name: token}
        self._monkeypatch.setattr(session, "cookies", lambda: cookies)
        return token

    def use_a_phone(self) -> None:
        self._monkeypatch.setattr(session, "user_agent", lambda: "Mozilla/5.0 (iPhone) Mobile/15E148")

    def start(
        self,
        address: str = "",
        *,
        zone: str = "UTC",
        theme: str = "light",
        locale: str = "en-US",
        **query: str,
    ) -> AppTest:
        """The first request of a new tab: the main script, at an address."""
        tab = AppTest.from_file(str(ROUTER), default_timeout=60)
        tab.context = {
            "timezone": zone,
            "locale": locale,
            "theme": theme,
            "url": f"http://127.0.0.1:8501/{address}",
        }
        tab.query_params.update(query)
        return tab.run()

    def open(
        self, file: str, *, zone: str = "UTC", theme: str = "light", locale: str = "en-US", **query: str
    ) -> AppTest:
        """A page by its file, such as `account/buy.py`."""
        tab = self.start(zone=zone, theme=theme, locale=locale)
        tab.switch_page(file)
        tab.query_params.clear()
        tab.query_params.update(query)
        return tab.run()


def texts(tab: AppTest) -> str:
    """Everything written on a page, to look for words in it."""
    kinds = (
        tab.title,
        tab.caption,
        tab.markdown,
        tab.html,
        tab.error,
        tab.warning,
        tab.info,
        tab.success,
        tab.subheader,
    )
    return "\n".join(
        str(element.value if hasattr(element, "value") else element.body)
        for kind in kinds
        for element in kind
    )
