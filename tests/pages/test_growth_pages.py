"""Invitations, campaigns, feature flags and the audit trail as people see them (A12, A13, I3, I5, I6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from credits_core.db.port import SERVICE, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from pages.common import flagged

from .conftest import Browser, texts

TERMS = {
    "referrer_micros": 5_000_000,
    "referee_micros": 3_000_000,
    "min_purchase_cents": 1000,
    "open_days": 30,
}


@pytest.fixture(autouse=True)
def fresh_flags() -> None:
    flagged.forget()


@pytest.fixture
def program(database: PsycopgDatabase) -> Callable[..., Any]:
    return lambda **more: database.call("set_referral_program", SERVICE, **{"on": True} | TERMS | more)


@pytest.fixture
def admin(browser: Browser, make_user: Callable[..., Identity]) -> Identity:
    """An administrator, signed in."""
    person = make_user(role="admin", name="Alex")
    browser.sign_in(person)
    return person


def metrics(tab: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in tab.metric}


# --- invite ------------------------------------------------------------------------------------------------------


def test_the_link_the_terms_and_who_joined(
    browser: Browser, make_user: Callable[..., Identity], database: PsycopgDatabase, program: Callable[..., Any],
    buy: Callable[..., Any],
) -> None:  # fmt: skip
    program(month_rewards=1)
    anna, ben, carla = make_user(), make_user("ben@example.test"), make_user("carla@example.test")
    code = database.call("referral", anna)["code"]
    for friend in (ben, carla):
        database.call("claim_referral", friend, code=code)
    buy(ben, "usd_10")
    buy(carla, "usd_10")
    browser.sign_in(anna)
    tab = browser.open("account/invite.py")
    assert not tab.exception
    assert [block.value for block in tab.code] == [f"http://127.0.0.1:8501/r/{code}", code]
    assert "<dt>They get</dt><dd>3.00 credits</dd>" in texts(tab)
    assert "<dd>$10.00 or more</dd>" in texts(tab)
    assert metrics(tab)["Credits earned"] == "5.00"
    assert metrics(tab)["Left this month"] == "0"
    table = tab.dataframe[0].value
    assert list(table["Who"]) == ["c•••@example.test", "b•••@example.test"]
    assert list(table["Status"]) == [["In review"], ["Rewarded"]]
    assert table["What happens"].iloc[0] == "A limit is reached; we look at it"


def test_a_code_is_entered_once(
    browser: Browser,
    make_user: Callable[..., Identity],
    database: PsycopgDatabase,
    program: Callable[..., Any],
) -> None:
    program()
    anna, ben = make_user(), make_user()
    code = database.call("referral", anna)["code"]
    browser.sign_in(ben)
    tab = browser.open("account/invite.py", code="NOTACODE")
    tab.button(key="enter_code").click().run()
    assert "is not known" in tab.error[0].value
    tab.text_input(key="code").set_value(code).run()
    tab.button(key="enter_code").click().run()
    assert not tab.exception
    assert "You get 3.00 credits after your first purchase" in texts(tab)
    assert [toast.value for toast in tab.toast] == ["Your invitation is entered."]
    assert not [button for button in tab.button if button.key == "enter_code"]


def test_nobody_joined_and_a_program_that_is_off(
    browser: Browser, make_user: Callable[..., Identity], program: Callable[..., Any]
) -> None:
    browser.sign_in(make_user())
    assert "No rewards at the moment" in texts(browser.open("account/invite.py"))
    program()
    assert "Nobody yet" in texts(browser.open("account/invite.py"))


def test_the_page_is_there_for_accounts_with_the_flag_and_never_by_another_ones_answer(
    browser: Browser, make_user: Callable[..., Identity], account_of: Callable[..., int], database: PsycopgDatabase,
    program: Callable[..., Any],
) -> None:  # fmt: skip
    """I6: both ask within the time that answers are kept."""
    program()
    anna, ben = make_user(), make_user()
    database.call("set_flag_account", SERVICE, key="invitations", account_id=account_of(ben), on=False)
    for _ in range(2):
        for somebody, title in ((anna, "Invite"), (ben, "Not open yet")):
            browser.sign_in(somebody)
            tab = browser.open("account/invite.py")
            assert [element.value for element in tab.title] == [title]


# --- campaigns ---------------------------------------------------------------------------------------------------


def test_campaigns_with_what_they_gave_and_sold(
    browser: Browser, make_user: Callable[..., Identity], database: PsycopgDatabase, admin: Identity
) -> None:
    """A12: bonus, discount and sales come from the purchases."""

    def make(code: str, **terms: Any) -> None:
        database.call("create_campaign", SERVICE, code=code, name=code, kind="discount_percent", **terms)

    make("TWENTY", amount=20, max_redemptions=1)
    make("OLD", amount=10, starts_at="2020-01-01T00:00:00Z", ends_at="2020-02-01T00:00:00Z")
    make("SOON", amount=10, starts_at="2099-01-01T00:00:00Z")
    make("WAITS", amount=10)
    database.call("switch_campaign", SERVICE, code="WAITS", on=False)
    terms = {"package": "usd_10", "livemode": False, "promo_code": "TWENTY", "idempotency_key": "k"}
    made = database.call("create_purchase", make_user(), **terms)
    database.call("open_purchase", SERVICE, purchase_id=made["purchase_id"], session_id="cs_test_c")
    paid = {"session_id": "cs_test_c", "status": "complete", "payment_status": "paid", "mode": "payment"}
    paid |= {"livemode": False, "currency": "usd", "amount_subtotal": 800, "amount_total": 800}
    database.call("fulfill_purchase", SERVICE, session=paid)
    tab = browser.open("admin/campaigns.py")
    table = tab.dataframe[0].value.set_index("Code")
    assert {code: state[0] for code, state in table["State"].items()} == {
        "WAITS": "Off", "SOON": "Scheduled", "OLD": "Expired", "TWENTY": "Used up",
    }  # fmt: skip
    row = table.loc["TWENTY"]
    assert (row["Gives"], row["Redeemed"], row["Discount given"], row["Sales with it"]) == (
        "20% off", "1 of 1", "$2.00", "$8.00",
    )  # fmt: skip
    tab.selectbox(key="state").set_value("expired").run()
    assert list(tab.dataframe[0].value["Code"]) == ["OLD"]
    tab.text_input(key="q").set_value("nothing").run()
    assert "No campaign matches" in texts(tab)


def test_a_campaign_is_read_in_words_before_it_is_made(
    browser: Browser, database: PsycopgDatabase, admin: Identity
) -> None:
    """I3: bad input is a sentence, and a code that exists stays the first one's."""
    tab = browser.open("admin/campaigns.py")
    assert "No campaign matches" in texts(tab)
    tab.button(key="open_new").click().run()
    assert tab.button(key="create_campaign").disabled
    tab.text_input(key="new_code").set_value("spring").run()
    tab.text_input(key="new_name").set_value("Spring").run()
    tab.text_input(key="new_amount").set_value("ten").run()
    assert "number above 0" in tab.error[0].value
    tab.selectbox(key="new_kind").set_value("discount_cents").run()
    tab.text_input(key="new_amount").set_value("2.50").run()
    assert r"SPRING\: \$2.50 off, once per account, from" in texts(tab)
    tab.button(key="create_campaign").click().run()
    assert not tab.exception
    (row,) = database.call("campaigns", SERVICE)["items"]
    assert (row["code"], row["kind"], int(row["amount"]), row["ends_at"]) == (
        "SPRING",
        "discount_cents",
        250,
        None,
    )


def test_terms_of_invitations_are_seen_in_words_and_put_in_force(
    browser: Browser, database: PsycopgDatabase, admin: Identity, program: Callable[..., Any]
) -> None:
    program(on=False)
    tab = browser.open("admin/campaigns.py", part="Referral terms")
    assert tab.button(key="save_terms").disabled
    tab.text_input(key="terms_referrer").set_value("not a number").run()
    assert "is not an amount of credits" in tab.error[0].value
    tab.text_input(key="terms_referrer").set_value("7.5").run()
    tab.text_input(key="terms_smallest").set_value("25").run()
    tab.toggle(key="terms_on").set_value(True).run()
    assert "<dt>You get</dt><dd>7.50 credits</dd>" in texts(tab)
    tab.button(key="save_terms").click().run()
    now = database.call("referral_program", SERVICE)
    assert (now["on"], now["referrer_micros"], now["min_purchase_cents"]) == (True, 7_500_000, 2500)


def test_a_held_referral_shows_why(
    browser: Browser, make_user: Callable[..., Identity], database: PsycopgDatabase, program: Callable[..., Any],
    buy: Callable[..., Any], admin: Identity,
) -> None:  # fmt: skip
    program(total_rewards=0)
    anna, ben = make_user(), make_user()
    database.call("claim_referral", ben, code=database.call("referral", anna)["code"])
    buy(ben, "usd_10")
    tab = browser.open("admin/campaigns.py", part="Referrals")
    table = tab.dataframe[0].value
    assert list(table["Why it waits"]) == ["The number of rewards in all is reached"]
    assert "1 referral held" in texts(browser.open("admin/campaigns.py"))
    (held,) = database.call("referrals", SERVICE)["items"]
    database.call("decide_referral", admin, referral_id=held["referral_id"], approve=False, reason="too many")
    assert "referral held" not in texts(browser.open("admin/campaigns.py"))
    tab.selectbox(key="status").set_value("rewarded").run()
    assert "No referral matches" in texts(tab)


# --- flags -------------------------------------------------------------------------------------------------------


def test_a_roll_out_says_whom_it_reaches_and_its_history_who_made_it(
    browser: Browser, make_user: Callable[..., Identity], database: PsycopgDatabase, admin: Identity
) -> None:
    for _ in range(9):
        make_user()
    tab = browser.open("admin/flags.py")
    assert list(tab.dataframe[0].value["Accounts"]) == ["10 of 10"]
    tab = browser.open("admin/flags.py", flag="invitations")
    assert tab.button(key="roll_out").disabled
    tab.slider(key="flag_percent").set_value(0).run()
    assert "<dt>Would reach</dt><dd>0 of 10 accounts</dd>" in texts(tab)
    tab.button(key="roll_out").click().run()
    (flag,) = database.call("flag_list", SERVICE)["items"]
    assert (flag["percent"], flag["on"]) == (0, True)
    history = tab.dataframe[0].value
    assert (history["Who"].iloc[0], history["What"].iloc[0]) == (admin.claims["email"], "100% → 0%")


def test_accounts_by_name_and_a_flag_of_ones_own(
    browser: Browser, make_user: Callable[..., Identity], database: PsycopgDatabase, admin: Identity
) -> None:
    make_user("ben@example.test")
    tab = browser.open("admin/flags.py")
    tab.button(key="open_new").click().run()
    tab.text_input(key="new_key").set_value("Bad Key").run()
    tab.text_input(key="new_description").set_value("Another chart").run()
    tab.button(key="make_flag").click().run()
    assert "A flag has a key" in tab.error[0].value
    tab.text_input(key="new_key").set_value("new_chart").run()
    tab.button(key="make_flag").click().run()
    tab = browser.open("admin/flags.py", flag="new_chart")
    tab.text_input(key="flag_account").set_value("nobody@example.test").run()
    tab.button(key="name_on").click().run()
    assert "There is no account" in tab.error[0].value
    tab.text_input(key="flag_account").set_value("ben@example.test").run()
    tab.button(key="name_on").click().run()
    named = database.call("flag_list", SERVICE)["items"][1]["named"]
    assert [(row["email"], row["on"]) for row in named] == [("ben@example.test", True)]
    assert "There is no such flag" in browser.open("admin/flags.py", flag="nope").error[0].value


# --- audit -------------------------------------------------------------------------------------------------------


def test_the_trail_names_people_and_is_filtered(
    browser: Browser, make_user: Callable[..., Identity], account_of: Callable[..., int], database: PsycopgDatabase,
    admin: Identity,
) -> None:  # fmt: skip
    ben = make_user("ben@example.test")
    adjustment = {"account_id": account_of(ben), "amount_micros": 5_000_000, "idempotency_key": "k"}
    database.call("adjust", admin, reason="Goodwill", **adjustment)
    database.call("set_flag", admin, key="invitations", percent=50)
    tab = browser.open("admin/audit.py")
    table = tab.dataframe[0].value
    assert list(table["What"])[:2] == ["Changed a feature flag", "Adjusted credits"]
    assert list(table["Who"])[:2] == [admin.claims["email"]] * 2
    tab.selectbox(key="action").set_value("adjust").run()
    table = tab.dataframe[0].value
    assert [list(table[name]) for name in ("Account", "Why")] == [["ben@example.test"], ["Goodwill"]]
    tab.text_input(key="account").set_value("nobody@example.test").run()
    assert "Nothing matches" in texts(tab)
    tab.text_input(key="account").set_value("ben@example.test").run()
    tab.text_input(key="who").set_value("alex").run()
    assert len(tab.dataframe[0].value) == 1
    tab.text_input(key="q").set_value("nothing like this").run()
    assert "Nothing matches" in texts(tab)
