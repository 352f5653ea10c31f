"""The payments desk and approvals as pages (A8, G3, I2): data, filters, empty, error, and confirmations for money."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from credits_core import fulfillment
from credits_core.db.port import SERVICE, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase

from .conftest import Browser, texts

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def dana(make_user: Callable[..., Identity]) -> Identity:
    return make_user("dana@example.test", name="Dana")


@pytest.fixture
def bought(dana: Identity, buy: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Dana has bought 100 credits for $100 and 10 for $10; this is the larger purchase."""
    buy(dana, "usd_10")
    return buy(dana, "usd_100")


@pytest.fixture
def admin(make_user: Callable[..., Identity]) -> Identity:
    return make_user("ada@example.test", role="admin", name="Ada")


@pytest.fixture
def boss(make_user: Callable[..., Identity]) -> Identity:
    return make_user("sue@example.test", role="super_admin", name="Sue")


@pytest.fixture
def in_review(
    dana: Identity, buy: Callable[..., dict[str, Any]], database: PsycopgDatabase
) -> dict[str, Any]:
    """Dana paid $5 for the $10 package."""
    opened = buy(dana, "usd_10", paid=False)
    session = {
        "session_id": opened["session_id"],
        "purchase_id": opened["purchase_id"],
        "status": "complete",
        "payment_status": "paid",
        "mode": "payment",
        "livemode": False,
        "currency": "usd",
        "amount_subtotal": 500,
        "amount_total": 500,
        "payment_intent_id": "pi_1",
    }
    answer: dict[str, Any] = database.call("fulfill_purchase", SERVICE, session=session)
    return answer


def available(database: PsycopgDatabase, person: Identity) -> int:
    found: int = database.call("balance", person)["available_micros"]
    return found


def labels(tab: AppTest) -> list[str]:
    return [button.label for button in tab.button]


def toasts(tab: AppTest) -> str:
    return " ".join(toast.value for toast in tab.toast)


def test_payments_are_listed_filtered_and_opened(
    browser: Browser, admin: Identity, bought: dict[str, Any], in_review: dict[str, Any]
) -> None:
    browser.sign_in(admin)
    tab = browser.open("admin/payments.py")
    assert not tab.exception
    table = tab.dataframe[0].value
    assert list(table["Price"]) == ["$10.00", "$100.00", "$10.00"]
    assert [status for (status,) in table["Status"]] == ["In review", "Paid", "Paid"]
    tab.text_input(key="q").set_value(bought["session_id"]).run()
    assert list(tab.dataframe[0].value["Price"]) == ["$100.00"]
    tab.text_input(key="q").set_value("nobody at all").run()
    assert "No payment matches" in texts(tab)
    tab.text_input(key="q").set_value("").run()
    tab.selectbox(key="status").set_value("disputed").run()
    assert "No payment matches" in texts(tab)
    tab.segmented_control(key="list").set_value("review").run()
    assert list(tab.dataframe[0].value["Note"]) == ["The amount is not the price of the purchase."]


def test_payments_are_filtered_by_currency_and_mode_in_list_url_and_file(
    browser: Browser, admin: Identity, bought: dict[str, Any], owner_sql: Callable[..., Any]
) -> None:
    """A15, G7: live and test are told apart; what is chosen stands in the address, and the file holds the same."""
    owner_sql("update credits.purchases set livemode = true, currency = 'eur' where price_cents = 1000")
    browser.sign_in(admin)
    tab = browser.open("admin/payments.py", currency="EUR")
    assert tab.selectbox(key="currency").options == ["EUR", "USD"]
    assert list(tab.dataframe[0].value["Price"]) == ["€10.00"]
    assert "currency=eur" in texts(tab) and "mode=" not in texts(tab)
    tab.selectbox(key="mode").set_value("test").run()
    assert not tab.exception and "No payment matches" in texts(tab)
    tab.selectbox(key="currency").set_value(None).run()
    assert list(tab.dataframe[0].value["Price"]) == ["$100.00"]
    assert "mode=test" in texts(tab) and "currency=" not in texts(tab)
    tab = browser.open("admin/payments.py", mode="Live")
    assert list(tab.dataframe[0].value["Price"]) == ["€10.00"]
    tab = browser.open("admin/payments.py", mode="nonsense", currency="xxx")
    assert not tab.exception
    assert list(tab.dataframe[0].value["Mode"]) == ["Test", "Live"]


def test_an_empty_queue_and_an_unknown_payment_are_sentences(browser: Browser, admin: Identity) -> None:
    browser.sign_in(admin)
    tab = browser.open("admin/payments.py")
    assert "No payment matches" in texts(tab)
    tab.segmented_control(key="list").set_value("review").run()
    assert "Nothing to review" in texts(tab)
    for unknown in ("00000000-0000-4000-8000-000000000000", "anything"):
        tab = browser.open("admin/payments.py", payment=unknown)
        assert not tab.exception
        assert tab.error[0].value


def test_one_payment_shows_everything(browser: Browser, admin: Identity, bought: dict[str, Any]) -> None:
    browser.sign_in(admin)
    tab = browser.open("admin/payments.py", payment=bought["purchase_id"])
    assert not tab.exception
    assert {metric.label: metric.value for metric in tab.metric} == {
        "Paid": "$100.00",
        "Refunded": "$0.00",
        "Disputed": "$0.00",
        "Credits": "100.00",
    }
    shown = texts(tab)
    for words in ("Paid and credited", bought["session_id"], "No refunds", "No events received"):
        assert words in shown
    assert list(tab.dataframe[0].value["Left"]) == [100.0]


def test_a_refund_is_previewed_and_sent_once(
    browser: Browser, admin: Identity, dana: Identity, bought: dict[str, Any], database: PsycopgDatabase
) -> None:
    """By amount: money, credits, the most there can be; without a reason it cannot be confirmed."""
    browser.sign_in(admin)
    tab = browser.open("admin/payments.py", payment=bought["purchase_id"], refund=KEY)
    tab.segmented_control(key="refund_way").set_value("amount").run()
    tab.text_input(key="refund_amount").set_value("25").run()
    assert "<dt>Credits taken</dt><dd>25.00</dd>" in texts(tab)
    assert tab.button(key="refund_confirm").disabled
    tab.text_input(key="refund_reason").set_value("Half a month").run()
    assert tab.button(key="refund_confirm").label == r"Refund \$25.00"
    tab.button(key="refund_confirm").click().run()
    assert not tab.exception
    assert "Stripe refused" in toasts(tab)  # this purchase was never at Stripe: its credits are back
    assert available(database, dana) == 110_000_000
    (refund,) = database.call("refunds", SERVICE)["items"]
    assert (refund["amount_cents"], refund["reason"]) == (2500, "Half a month")
    again = browser.open("admin/payments.py", payment=bought["purchase_id"], refund=KEY)
    again.segmented_control(key="refund_way").set_value("amount").run()
    again.text_input(key="refund_amount").set_value("25").run()
    again.text_input(key="refund_reason").set_value("Half a month").run()
    again.button(key="refund_confirm").click().run()
    assert len(database.call("refunds", SERVICE)["items"]) == 1


@pytest.mark.parametrize(
    ("way", "field", "entered", "says"),
    [
        ("amount", "refund_amount", "200", "at most"),
        ("amount", "refund_amount", "a lot", "not an amount of money"),
        ("amount", "refund_amount", "0", "above 0"),
        ("credits", "refund_credits", "1e30", "not an amount of credits"),
        ("credits", "refund_credits", "101", "at most"),
    ],
)
def test_a_refund_that_cannot_be_says_why(
    browser: Browser, admin: Identity, bought: dict[str, Any], way: str, field: str, entered: str, says: str
) -> None:
    browser.sign_in(admin)
    tab = browser.open("admin/payments.py", payment=bought["purchase_id"], refund=KEY)
    tab.segmented_control(key="refund_way").set_value(way).run()
    tab.text_input(key=field).set_value(entered).run()
    assert not tab.exception
    assert says in tab.error[0].value
    assert "refund_confirm" not in [button.key for button in tab.button if not button.disabled]


def test_a_refund_from_the_limit_on_is_approved_by_somebody_else(
    browser: Browser,
    admin: Identity,
    boss: Identity,
    dana: Identity,
    bought: dict[str, Any],
    database: PsycopgDatabase,
) -> None:
    """I2: it says so before, waits in the approvals, the maker cannot approve, the checker does."""
    browser.sign_in(admin)
    tab = browser.open("admin/payments.py", payment=bought["purchase_id"], refund=KEY)
    assert "another administrator has to approve" in tab.info[0].value
    tab.text_input(key="refund_reason").set_value("Wrong package").run()
    assert tab.button(key="refund_confirm").label == r"Ask for approval of \$100.00"
    tab.button(key="refund_confirm").click().run()
    assert "another administrator" in toasts(tab)
    assert available(database, dana) == 110_000_000
    tab = browser.open("admin/approvals.py")
    assert "Nothing waits for you" in texts(tab)
    tab.segmented_control(key="view").set_value("mine").run()
    assert "Take it back" in labels(tab) and "Decide" not in labels(tab)

    browser.sign_in(boss)
    tab = browser.open("admin/approvals.py")
    assert r"Refund \$100.00 to Dana" in texts(tab)
    (refund,) = database.call("refunds", SERVICE)["items"]
    tab.button(key=f"decide_{refund['refund_id']}").click().run()
    assert tab.button(key="decide_reject").disabled  # rejecting needs a reason
    tab.button(key="decide_approve").click().run()
    assert not tab.exception and not tab.error
    (refund,) = database.call("refunds", SERVICE)["items"]
    assert refund["decided_by"] == boss.claims["sub"]
    tab.segmented_control(key="view").set_value("decided").run()
    assert list(tab.dataframe[0].value["Decided by"]) == ["Sue"]


def test_a_refund_says_which_reward_it_takes_back(
    browser: Browser, admin: Identity, boss: Identity, dana: Identity, buy: Callable[..., Any],
    make_user: Callable[..., Identity], database: PsycopgDatabase,
) -> None:  # fmt: skip
    """A8, A13: before it is confirmed, and where a second person decides."""
    terms = {
        "referrer_micros": 5_000_000,
        "referee_micros": 3_000_000,
        "min_purchase_cents": 1000,
        "open_days": 9,
    }
    database.call("set_referral_program", SERVICE, on=True, **terms)
    eva = make_user("eva@example.test")
    database.call("claim_referral", dana, code=database.call("referral", eva)["code"])
    bought = buy(dana, "usd_100")
    browser.sign_in(admin)
    tab = browser.open("admin/payments.py", payment=bought["purchase_id"], refund=KEY)
    lost = "5.00 credits from eva@example.test, who invited this account, and 3.00 from this account"
    assert lost in tab.warning[0].value
    tab.segmented_control(key="refund_way").set_value("amount").run()
    tab.text_input(key="refund_amount").set_value("90").run()
    assert not tab.warning
    tab.text_input(key="refund_amount").set_value("90.01").run()
    assert lost in tab.warning[0].value
    database.call(
        "request_refund", admin, purchase_id=bought["purchase_id"], reason="sorry", idempotency_key="r"
    )
    browser.sign_in(boss)
    assert lost in texts(browser.open("admin/approvals.py"))


def test_a_large_adjustment_says_so_before_and_lands_in_the_approvals(
    browser: Browser,
    admin: Identity,
    boss: Identity,
    dana: Identity,
    account_of: Callable[..., int],
    database: PsycopgDatabase,
) -> None:
    browser.sign_in(admin)
    tab = browser.open("admin/accounts.py", account=str(account_of(dana)), adjust=KEY)
    tab.text_input(key="adjust_amount").set_value("12000").run()
    assert "10,000.00 credits on another administrator" in tab.info[0].value
    tab.text_input(key="adjust_reason").set_value("A partner").run()
    assert tab.button(key="adjust_confirm").label == "Ask for approval of +12,000.00 credits"
    tab.button(key="adjust_confirm").click().run()
    assert "waiting for another administrator" in toasts(tab)
    assert available(database, dana) == 0
    browser.sign_in(boss)
    tab = browser.open("admin/approvals.py")
    assert "+12,000.00 credits for Dana" in texts(tab)
    (asked,) = database.call("approvals", SERVICE)["items"]
    tab = browser.open("admin/approvals.py", decide=asked["approval_id"])
    tab.text_input(key="decide_reason").set_value("Not agreed").run()
    tab.button(key="decide_reject").click().run()
    assert "Rejected" in toasts(tab)
    assert available(database, dana) == 0
    assert "Nothing waits for you" in texts(tab)


def test_small_adjustments_add_up_and_the_dialog_says_so(
    browser: Browser,
    admin: Identity,
    boss: Identity,
    dana: Identity,
    account_of: Callable[..., int],
    database: PsycopgDatabase,
) -> None:
    """I2: with what the same person moved before; reversals and later ends show what they would do."""
    change = {"account_id": account_of(dana), "reason": "goodwill", "amount_micros": 6_000_000_000}
    given = database.call("adjust", admin, idempotency_key="a", **change)
    browser.sign_in(admin)
    tab = browser.open("admin/accounts.py", account=str(account_of(dana)), adjust=KEY)
    tab.text_input(key="adjust_amount").set_value("3999.99").run()
    assert not tab.info
    tab.text_input(key="adjust_amount").set_value("4000").run()
    assert "adds up: 6,000.00 credits before this" in tab.info[0].value
    assert tab.button(key="adjust_confirm").label == "Ask for approval of +4,000.00 credits"
    again = {"reason": "a mistake", "idempotency_key": "r"}
    database.call("reverse", admin, transaction_id=given["transaction_id"], **again)
    browser.sign_in(boss)
    tab = browser.open("admin/approvals.py")
    assert not tab.exception
    shown = texts(tab)
    assert r"Reverse a transaction\: -6,000.00 credits for Dana" in shown.replace("−", "-")
    assert f"<dt>Transaction</dt><dd>{given['transaction_id']}</dd>" in shown
    assert "24 hours before</dt><dd>6,000.00</dd>" in shown


def test_a_payment_in_review_is_decided_on_its_page(
    browser: Browser, admin: Identity, in_review: dict[str, Any], dana: Identity, database: PsycopgDatabase
) -> None:
    browser.sign_in(admin)
    tab = browser.open("admin/payments.py", payment=in_review["purchase_id"])
    assert "The amount is not the price" in tab.warning[0].value
    assert "<dt>Credits for what was paid</dt><dd>5.00</dd>" in texts(tab)
    tab.button(key="review_open").click().run()
    tab.radio(key="review_way").set_value("close").run()
    assert tab.button(key="review_confirm").disabled
    tab.text_input(key="review_reason").set_value("Settled by bank transfer").run()
    tab.button(key="review_confirm").click().run()
    assert not tab.exception
    assert toasts(tab) == "Decided."
    assert "Closed after review." in texts(tab)
    assert available(database, dana) == 0


def test_limits_are_shown_and_changed_by_super_admins(
    browser: Browser, admin: Identity, boss: Identity, database: PsycopgDatabase
) -> None:
    browser.sign_in(admin)
    tab = browser.open("admin/approvals.py")
    tab.segmented_control(key="view").set_value("limits").run()
    limits = dict(zip(tab.dataframe[0].value["Kind"], tab.dataframe[0].value["From"], strict=True))
    assert (
        limits.items()
        >= {"Adjustment": "10,000.00 credits", "Refund": "$100.00", "Price change": "Always"}.items()
    )
    assert not [box for box in tab.selectbox if box.key == "limit_kind"]
    browser.sign_in(boss)
    tab = browser.open("admin/approvals.py")
    tab.segmented_control(key="view").set_value("limits").run()
    tab.selectbox(key="limit_kind").set_value("adjustment")
    tab.text_input(key="limit_amount").set_value("100")
    tab.text_input(key="limit_reason").set_value("Fewer gifts")
    next(button for button in tab.button if button.label == "Change the limit").click().run()
    assert not tab.exception
    stored = {one["kind"]: one["amount"] for one in database.call("approval_limits", SERVICE)["items"]}
    assert stored["adjustment"] == 100_000_000


def test_the_menu_tells_what_waits(
    browser: Browser,
    admin: Identity,
    boss: Identity,
    dana: Identity,
    account_of: Callable[..., int],
    database: PsycopgDatabase,
) -> None:
    database.call(
        "adjust",
        admin,
        account_id=account_of(dana),
        amount_micros=19_000_000_000,
        reason="large",
        idempotency_key="k",
    )
    for person, waits in ((boss, True), (admin, False), (dana, False)):
        browser.sign_in(person)
        tab = browser.start()
        assert ("1 request waits for you" in [link.proto.label for link in tab.get("page_link")]) == waits


def test_requests_of_every_kind_are_shown(
    browser: Browser, admin: Identity, boss: Identity, in_review: dict[str, Any], database: PsycopgDatabase
) -> None:
    """I2: a review above its limit, a price, a release of the catalog: what it is, what it does, and a button."""
    database.call("set_approval_limit", SERVICE, kind="review", amount=100, reason="for a test")
    decision = {"decision": "credit", "reason": "an older price", "idempotency_key": "r"}
    database.call("decide_review", admin, purchase_id=in_review["purchase_id"], **decision)
    change = {"operation": "call", "components": [{"unit": "minute", "price_micros": 200_000}]}
    database.call("request_price_change", admin, change=change, reason="dearer", idempotency_key="p")
    own = {"account_id": in_review["account_id"], "catalog": "voice"}
    database.call("request_price_change", admin, change=own, reason="as agreed", idempotency_key="o")
    browser.sign_in(boss)
    tab = browser.open("admin/approvals.py")
    assert not tab.exception
    shown = texts(tab)
    assert "Prices of Voice for Dana" in shown and "<dt>Price then</dt><dd>As in Voice</dd>" in shown
    assert r"Credit what was paid\: \$5.00 by Dana" in shown and "<dt>Credits</dt><dd>5.00</dd>" in shown
    assert r"Price change\: Call" in shown and "<dt>Price then</dt><dd>0.20 per minute</dd>" in shown
    tab = browser.open("admin/payments.py", payment=in_review["purchase_id"])
    assert "waits for another administrator" in tab.info[0].value
    assert "review_open" not in [button.key for button in tab.button]


@pytest.mark.parametrize(
    ("decision", "says"), [("refund", "Your payment goes back"), ("close", "This purchase is closed")]
)
def test_the_holder_reads_how_a_review_ended(
    browser: Browser,
    admin: Identity,
    dana: Identity,
    in_review: dict[str, Any],
    database: PsycopgDatabase,
    monkeypatch: pytest.MonkeyPatch,
    decision: str,
    says: str,
) -> None:
    """A3: never "nothing was charged" for a payment that was made."""
    arguments = {"decision": decision, "reason": "an older price", "idempotency_key": "r"}
    database.call("decide_review", admin, purchase_id=in_review["purchase_id"], **arguments)
    ended = database.call("purchase_status", dana, session_id=in_review["session_id"])
    monkeypatch.setattr(fulfillment, "fulfill", lambda *_: ended)  # Stripe's answer changes nothing any more
    browser.sign_in(dana)
    shown = texts(browser.open("account/checkout_return.py", session_id=in_review["session_id"]))
    assert says in shown and "Nothing was charged" not in shown
