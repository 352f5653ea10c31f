"""Sign-in, sessions, sign-out (K3; issue 1 item 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from starlette.applications import Starlette

from credits_core.auth import current_identity
from credits_core.auth.attempts import MAX_PER_EMAIL_AND_ADDRESS
from credits_core.auth.cookies import safe_next
from credits_core.auth.providers import DEMO_PEOPLE, DemoAuth
from credits_core.config import Settings
from credits_core.errors import ConfigError
from credits_core.runtime import Runtime
from tests.http.conftest import ADMIN, BASE, HOLDER, TestClient, sign_in

SESSION = "credits_session"


def test_the_form_shows_the_demo_people_and_their_password(browser: TestClient) -> None:
    page = browser.get("/auth/sign-in").text
    assert "demo-only" in page
    assert all(person.email in page for person in DEMO_PEOPLE)
    assert "<script" not in page and "onclick" not in page


def test_signing_in_sets_a_cookie_no_script_can_read_and_leads_on(browser: TestClient) -> None:
    answer = sign_in(browser, HOLDER, target="/transactions?kind=use")
    assert (answer.status_code, answer.headers["location"]) == (303, "/transactions?kind=use")
    cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith(SESSION))
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert browser.get("/").text == "page"


def test_the_session_tells_pages_who_is_here(browser: TestClient) -> None:
    sign_in(browser, ADMIN)
    person = current_identity(dict(browser.cookies))
    assert person is not None
    assert (person.email, person.role, person.name) == (ADMIN, "admin", "Demo Admin")
    assert person.identity.role == "authenticated"


@pytest.mark.parametrize(
    ("email", "password"),
    [(HOLDER, "wrong"), (HOLDER, ""), ("nobody@demo.test", "demo-only"), ("", ""), ("x" * 10_000, "demo-only"),
     (HOLDER, "demo-only\x00"), ("hölder@demo.test", "demo-only")],
)  # fmt: skip
def test_a_wrong_email_and_a_wrong_password_get_the_same_sentence(
    browser: TestClient, email: str, password: str
) -> None:
    answer = sign_in(browser, email, password)
    assert answer.status_code == 401
    assert "Email or password is incorrect." in answer.text
    assert SESSION not in answer.cookies


def test_only_the_demo_people_can_use_the_demo_password(
    browser: TestClient, make_user: Callable[..., Any]
) -> None:
    make_user("somebody@example.test")
    assert sign_in(browser, "somebody@example.test").status_code == 401


def test_what_was_typed_is_shown_again_as_text(browser: TestClient) -> None:
    answer = sign_in(browser, '"><script>alert(1)</script>', "wrong")
    assert "<script" not in answer.text


def test_the_form_needs_the_token_of_its_own_browser(browser: TestClient, program: Starlette) -> None:
    fields = {"email": HOLDER, "password": "demo-only"}
    assert browser.post("/auth/sign-in", data=fields).status_code == 403
    with TestClient(program, base_url=BASE) as other:
        theirs = other.get("/auth/sign-in").text.split('name="csrf" value="')[1].split('"')[0]
    browser.get("/auth/sign-in")
    answer = browser.post("/auth/sign-in", data=fields | {"csrf": theirs})
    assert answer.status_code == 403 and "try again" in answer.text
    assert browser.post("/auth/sign-in", data=fields | {"csrf": "é"}).status_code == 403


def test_a_second_sign_in_makes_a_new_session_and_ends_the_old_one(browser: TestClient) -> None:
    form = browser.get("/auth/sign-in").text  # open in another tab, sent back later
    csrf = form.split('name="csrf" value="')[1].split('"')[0]
    pre_session = browser.cookies["credits_pre_session"]
    sign_in(browser, HOLDER)
    first = browser.cookies[SESSION]
    assert browser.get("/auth/sign-in").status_code == 303  # nothing to fill in for who is signed in
    cookies = {SESSION: first, "credits_pre_session": pre_session}
    again = browser.post(
        "/auth/sign-in",
        data={"email": HOLDER, "password": "demo-only", "csrf": csrf},
        headers={"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())},
    )
    assert again.status_code == 303
    assert current_identity({SESSION: first}) is None
    assert current_identity({SESSION: again.cookies[SESSION]}) is not None


def test_a_session_planted_before_the_sign_in_is_not_taken_over(browser: TestClient) -> None:
    browser.cookies.set(SESSION, "planted-by-somebody", domain="127.0.0.1")
    sign_in(browser, HOLDER)
    assert current_identity({SESSION: "planted-by-somebody"}) is None


def test_sign_out_ends_every_session_of_the_person_at_once(browser: TestClient, program: Starlette) -> None:
    sign_in(browser, HOLDER)
    with TestClient(program, base_url=BASE, follow_redirects=False) as phone:
        sign_in(phone, HOLDER)
        on_phone = dict(phone.cookies)
        assert current_identity(on_phone) is not None
        answer = browser.post("/auth/sign-out", headers={"Origin": BASE})
        assert (answer.status_code, answer.headers["location"]) == (303, "/auth/sign-in")
        assert SESSION not in browser.cookies
        assert current_identity(on_phone) is None
        assert phone.get("/").status_code == 303


def test_sign_out_of_one_person_leaves_others_signed_in(browser: TestClient, program: Starlette) -> None:
    sign_in(browser, HOLDER)
    with TestClient(program, base_url=BASE, follow_redirects=False) as other:
        sign_in(other, ADMIN)
        browser.post("/auth/sign-out", headers={"Origin": BASE})
        assert other.get("/").text == "page"


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {}, {"Sec-Fetch-Site": "cross-site"}]
)
@pytest.mark.parametrize("path", ["/auth/sign-out", "/auth/checkout"])
def test_other_sites_cannot_send_our_forms(browser: TestClient, path: str, headers: dict[str, str]) -> None:
    sign_in(browser, HOLDER)
    answer = browser.post(path, data={"package": "usd_10"}, headers=headers)
    assert answer.status_code == 403
    assert browser.get("/").text == "page"


@pytest.mark.parametrize(
    "target",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "evil", "",
     "/a\\..\\b", "/auth/sign-out", "/\tevil.example", "/x\r\nSet-Cookie: a=b", "http:evil.example", "/" + "a" * 3000],
)  # fmt: skip
def test_nobody_is_sent_to_another_site(browser: TestClient, target: str) -> None:
    assert safe_next(target) == "/"
    answer = sign_in(browser, HOLDER, target=target)
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("target", ["/", "/buy", "/transactions?kind=use&from=2026-11-01", "/calls?q=a%20b"])
def test_paths_of_the_app_are_kept(target: str) -> None:
    assert safe_next(target) == target


def test_guessing_has_a_limit_for_one_person_and_the_right_password_waits_too(browser: TestClient) -> None:
    for _ in range(MAX_PER_EMAIL_AND_ADDRESS):
        assert sign_in(browser, HOLDER, "guess").status_code == 401
    answer = sign_in(browser, HOLDER)
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0
    assert "Too many attempts. Wait 10 minutes and try again." in answer.text
    assert sign_in(browser, ADMIN).status_code == 303


@pytest.mark.parametrize("path", ["/", "/accounts", "/checkout_return?session_id=cs_test_1", "/nowhere"])
def test_anonymous_visitors_of_a_page_are_led_to_the_form_and_back(browser: TestClient, path: str) -> None:
    """Issue 1: a fresh server's first request, the admin's accounts, anonymous: the sign-in page."""
    answer = browser.get(path)
    expected = "/auth/sign-in" if path == "/" else f"/auth/sign-in?next={quote(path, safe='')}"
    assert (answer.status_code, answer.headers["location"]) == (303, expected)


@pytest.mark.parametrize("cookie", ["x", "", "a" * 5000, "' or 1=1 --", "\\x00"])
def test_a_made_up_session_is_nobody(browser: TestClient, cookie: str) -> None:
    browser.cookies.set(SESSION, cookie)
    assert browser.get("/").status_code == 303


def test_the_database_keeps_no_session_token(
    browser: TestClient, owner_sql: Callable[..., list[dict[str, Any]]]
) -> None:
    sign_in(browser, HOLDER)
    stored = str(owner_sql("select * from credits.sessions"))
    assert browser.cookies[SESSION] not in stored


@pytest.mark.parametrize(
    "changed", [{"supabase_url": "https://x.supabase.co"}, {"stripe_secret_key": "sk_live_1"}]
)
def test_demo_people_cannot_exist_beside_real_ones(runtime: Runtime, changed: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="Demo people cannot sign in"):
        DemoAuth(Settings(**changed), runtime.db)


def test_https_gives_the_cookie_its_prefix(runtime: Runtime) -> None:
    from starlette.responses import Response

    from credits_core.auth.cookies import Cookies

    response = Response()
    Cookies(Settings(base_url="https://credits.example.com"), "s" * 32).set_session(response, "t")
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("__Host-credits_session=t;") and "Secure" in cookie and "Domain" not in cookie
