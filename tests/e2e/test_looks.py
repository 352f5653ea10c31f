"""Every page as people see it: desktop and phone, light and dark. Pictures of all of them go to `test-artifacts/looks`.

On each: no error in the console, nothing asked of another machine, nothing to scroll sideways, and no serious or
critical barrier found by axe-core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e import desk
from tests.e2e.conftest import OpenTab
from tests.e2e.screens import (
    CHALLENGED_CARD,
    DECLINED_CARD,
    DESKTOP,
    PAGES,
    PHONE,
    Screen,
    choose_row,
    drawn,
    enter_card,
    heading,
    picture,
    settled,
)
from tests.e2e.watching import Watch
from tests.program import Program

pytestmark = pytest.mark.browser
DEMO = True  # pages look right when there is something on them
ASKING_CARD = "4000002760003184"  # its bank wants each payment confirmed
ADJUSTING = "account=1&adjust=0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Look:
    """A page in a state: who opens which address, what it has to show, and what is done there first."""

    name: str
    who: str
    address: str
    shows: str
    act: Callable[[Page], None] = lambda page: None
    plain: bool = False  # not Streamlit's: complete as soon as it is loaded
    expected: str = ""  # the one complaint that belongs to it


def wrong_password(page: Page) -> None:
    page.get_by_label("Email").fill("holder@demo.test")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in", exact=True).click()


def explain_first(page: Page) -> None:
    choose_row(page, 0)
    drawn(page, page.get_by_role("dialog").get_by_text("Balance after"))


def open_person(page: Page) -> None:
    drawn(page, heading(page, "Overview"))
    if (
        menu := page.get_by_test_id("stExpandSidebarButton")
    ).is_visible():  # on a phone it is closed at first
        menu.click()
    page.get_by_role("button", name="Demo Holder").click()


def adjust(page: Page) -> None:
    page.get_by_label("Amount in credits").fill("2.5")
    page.get_by_label("Reason").fill("Calls that were cut off")
    page.get_by_label("Reason").press("Enter")
    drawn(page, page.get_by_role("button", name="Confirm +2.50 credits"), "Available afterwards")


def reconciled(page: Page) -> None:
    """The daily run begins seconds after the program; until then the page says that nothing was compared."""
    for _ in range(60):
        drawn(page, heading(page, "Runs"))
        if page.get_by_text("How it adds up in USD").is_visible():
            return
        page.reload()


def open_forecast(page: Page) -> None:
    drawn(page, heading(page, "Overview"))
    page.get_by_role("button", name="How good is this?").click()


def make_key(page: Page) -> None:
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name").fill("Phone system")
    page.get_by_label("Name").press("Enter")
    button = page.get_by_role("button", name="Make key")
    expect(button).to_be_enabled()
    button.click()


def tick_key(page: Page) -> None:
    drawn(page, "Tick a key")
    choose_row(page, 0)
    drawn(page, page.get_by_role("button", name="Revoke"))


def start_demo(page: Page) -> None:
    drawn(page, heading(page, "Live calls"))
    if page.get_by_role("button", name="Start a demo call").is_visible():
        page.get_by_role("button", name="Start a demo call").click()


def add_webhook(page: Page) -> None:
    """One that is there already is shown; another one is made and its secret put away."""
    drawn(page, page.get_by_role("button", name="Add webhook"))
    if page.get_by_text("Nothing is connected yet").is_visible():
        page.get_by_role("button", name="Add webhook").click()
        page.get_by_label("Name").fill("Our dialer")
        page.get_by_role("textbox", name="Address of your system").fill("https://8.8.8.8/credits")
        page.get_by_role("button", name="Connect").click()
        page.get_by_role("button", name="I have stored it").click()
    drawn(page, page.get_by_text("Our dialer").first)


def open_delivery(page: Page) -> None:
    page.get_by_role("button", name="Refresh").wait_for()
    if page.get_by_text("No messages match").is_visible():
        return
    choose_row(page, 0)
    drawn(page, page.get_by_role("dialog").get_by_text("Message id"))


def draft_package(page: Page) -> None:
    """The popular package gets a bonus, in the draft."""
    page.get_by_label("Bonus").fill("1.5")
    page.get_by_role("button", name="Put into the draft").click()
    drawn(page, page.get_by_role("button", name="Ask for the release"))


def adjust_much(page: Page) -> None:
    page.get_by_label("Amount in credits").fill("12000")
    page.get_by_label("Reason").fill("Credits of the old contract")
    page.get_by_label("Reason").press("Enter")
    drawn(page, page.get_by_role("button", name="Ask for approval of +12,000.00 credits"))


def enter_unknown_code(page: Page) -> None:
    drawn(page, page.get_by_role("button", name="Enter the code"))
    page.get_by_role("button", name="Enter the code").click()


def open_first(page: Page) -> None:
    choose_row(page, 0)
    drawn(page, page.get_by_role("dialog"))


def new_campaign(page: Page) -> None:
    page.get_by_role("button", name="New campaign").click()
    for label, text in (("Code", "spring"), ("Name", "Spring offer"), ("Per cent", "12.5")):
        field = page.get_by_role("dialog").get_by_label(label, exact=True)
        field.fill(text)
        field.press("Enter")
    drawn(page, page.get_by_role("button", name="Create SPRING"))


def roll_out(page: Page) -> None:
    drawn(page, page.get_by_role("slider"))
    page.get_by_role("slider").press("ArrowLeft")
    drawn(page, page.get_by_role("button", name="Roll out to"))


LOOKS = [
    Look("sign_in", "", "auth/sign-in", "Demo people", plain=True),
    Look("sign_in_wrong", "", "auth/sign-in", "Email or password is incorrect.", wrong_password, plain=True,
         expected="401"),
    Look("nothing_here", "", "auth/nothing", "Nothing here", plain=True, expected="404"),
    Look("overview", "holder", "overview", "Recent purchases"),
    Look("person", "holder", "overview", "Sign out", open_person),
    Look("buy", "holder", "buy?amount=25", "You get"),
    Look("payment_declined", "holder", "<checkout>", "Your card was declined.",
         lambda page: enter_card(page, DECLINED_CARD), plain=True),
    Look("payment_challenge", "holder", "<checkout>", "3-D Secure test page",
         lambda page: enter_card(page, CHALLENGED_CARD), plain=True),
    Look("purchase_credited", "holder", "checkout_return?session_id=<paid>", "New balance"),
    Look("purchase_open", "holder", "checkout_return?session_id=<open>", "Continue to payment"),
    Look("purchase_processing", "holder", "checkout_return?session_id=<processing>", "Payment is being confirmed"),
    Look("purchase_failed", "holder", "checkout_return?session_id=<failed>", "insufficient funds"),
    Look("purchase_none", "holder", "checkout_return", "No purchase to show"),
    Look("receipt", "holder", "<receipt>", "Amount paid", plain=True),
    Look("calls", "holder", "calls", "Export"),
    Look("files", "holder", "calls", "For analysis, exact decimals",
         lambda page: page.get_by_role("button", name="Export").click()),
    Look("live_none", "holder", "live_call", "No call is running"),
    Look("usage", "holder", "usage", "By day and operation"),
    Look("usage_weeks", "holder", "usage?unit=Week&period=90+days", "By week and operation"),
    Look("usage_none", "holder", "usage?period=Custom&dates=2020-01-01", "Nothing used in these days"),
    Look("caps", "holder", "usage?caps=account", "Save caps"),
    Look("forecast", "holder", "overview", "holds 8 times in 10", open_forecast),
    Look("keys_none", "holder", "api_keys", "No API keys yet"),
    Look("key_made", "holder", "api_keys", "Try it", make_key),
    Look("keys", "holder", "api_keys", "Revoke", tick_key),
    Look("live_call", "holder", "live_call", "What pays", start_demo),
    Look("overview_live", "holder", "overview", "in progress"),
    Look("live_ending", "holder", "live_call?end=ask", "End the call"),
    Look("calls_none", "holder", "calls?number=99999999", "No calls match"),
    Look("transactions", "holder", "transactions", "Export"),
    Look("explained", "holder", "transactions?kind=Use", "Why this amount", explain_first),
    Look("auto_reload_off", "holder", "auto_reload", "Nothing happens by itself"),
    Look("auto_reload_on", "finance", "<reloading>", "In use"),
    Look("auto_reload_refused_terms", "finance", "<reloading>?below=30&up_to=25", "The target must be above"),
    Look("auto_reload_paused", "admin", "<paused>", "Confirm the payment"),
    Look("auto_reload_resuming", "admin", "<paused>?confirm=resume", "nothing is paid twice"),
    Look("notices", "holder", "notifications", "Mark all as read"),
    Look("notice_emails", "holder", "notifications?part=E-mail", "Low balance"),
    Look("connections", "holder", "notifications?part=Connections", "Add webhook", add_webhook),
    Look("connecting", "holder", f"notifications?part=Connections&channel=webhook&add={'0123456789abcdef' * 2}", "What is sent"),
    Look("deliveries", "holder", "notifications?part=Deliveries", "Refresh", open_delivery),
    Look("statements", "holder", "statements", "What moved the balance"),
    Look("statements_quiet", "super", "statements", "Nothing happened in this month"),
    Look("plan_none", "holder", "plan", "Choose a plan"),
    Look("plan_subscribed", "finance", "<subscribed>", "What happens next"),
    Look("plan_begun", "finance", "<back>", "You are subscribed to"),
    Look("plan_upgrade", "finance", f"<subscribed>?wish={32 * '0'}&do=change&to=monthly_50", "is charged now"),
    Look("plan_cancel", "finance", f"<subscribed>?wish={32 * '0'}&do=cancel", "nothing is paid back"),
    Look("plan_ending", "admin", "<ending>", "Keep my plan"),
    Look("refused", "holder", "accounts", "You may not see this page."),
    Look("finance", "finance", "finance", "Heaviest users"),
    Look("reconciliation", "finance", "reconciliation", "How it adds up in USD", reconciled),
    Look("reconciliation_ask", "finance", "reconciliation?compare=0123456789abcdef0123456789abcdef", "Nothing is changed"),
    Look("revenue", "finance", "revenue", "Who buys again"),
    Look("margins", "finance", "margins", "Margin by operation"),
    Look("catalog", "admin", "catalog", "Earlier drafts"),
    Look("catalog_package", "admin", "catalog?part=Packages", "Earlier drafts", draft_package),
    Look("accounts", "admin", "accounts", "Everybody with credits."),
    Look("account", "admin", "accounts?account=5", "Bought in all"),
    Look("account_grants", "admin", "accounts?account=5&part=Grants", "Bought in all"),
    Look("account_calls", "admin", "accounts?account=5&part=Calls", "Bought in all"),
    Look("account_purchases", "admin", "accounts?account=5&part=Purchases", "Bought in all"),
    Look("system", "admin", "system", "Last checks"),
    Look("system_job", "admin", "system?job=poll", "Run now"),
    Look("webhook_inbox", "admin", "webhook_inbox", "Webhook inbox"),
    Look("adjusting", "admin", f"accounts?{ADJUSTING}", "Adjust credits", adjust),
    Look("payments", "admin", "payments?period=All+time", "Every payment of everybody."),
    Look("payments_review", "admin", "payments?list=Review+queue", "1 in review"),
    Look("payments_none", "admin", "payments?q=nobody", "No payment matches"),
    Look("payment", "admin", "payments?payment=<payment>", "What happened"),
    Look("payment_refund", "admin", f"payments?payment=<payment>&refund={'1' * 32}", "Most that can be refunded"),
    Look("payment_in_review", "admin", "payments?payment=<review>", "Paid, but not matching"),
    Look("payment_deciding", "admin", f"payments?payment=<review>&review={'1' * 32}", "Credits added"),
    Look("approvals", "super", "approvals", "Credits of the old contract"),
    Look("approvals_deciding", "super", "approvals?decide=<approval>", "Available afterwards"),
    Look("approvals_none", "admin", "approvals", "Nothing waits for you"),
    Look("approvals_limits", "super", "approvals?view=Limits", "Change a limit"),
    Look("adjusting_much", "admin", f"accounts?{ADJUSTING}", "another administrator has to approve", adjust_much),
    Look("invite", "holder", "invite", "Who joined"),
    Look("invite_code", "finance", "invite?code=ABCDEFGH", "This invitation code is not known", enter_unknown_code),
    Look("invited", "", "auth/sign-in?ref=ABCDEFGH", "the code ABCDEFGH is entered for you", plain=True),
    Look("campaigns", "admin", "campaigns", "Codes for buyers and invitations"),
    Look("campaign", "admin", "campaigns", "Switched off, the code is unknown", open_first),
    Look("campaign_new", "admin", "campaigns", "SPRING: 12.5% more credits", new_campaign),
    Look("campaigns_none", "admin", "campaigns?q=nothing", "No campaign matches"),
    Look("referrals", "admin", "campaigns?part=Referrals", "Export"),
    Look("referral", "admin", "campaigns?part=Referrals", "Rewards", open_first),
    Look("referral_terms", "admin", "campaigns?part=Referral terms", "Put these terms in force"),
    Look("flags", "admin", "flags", "New flag"),
    Look("flag", "admin", "flags?flag=invitations", "Would reach", roll_out),
    Look("audit", "admin", "audit?period=All time", "Audit trail"),
    Look("audit_row", "admin", "audit?period=All time", "As it is stored", open_first),
    Look("audit_none", "admin", "audit?q=nothing+like+this", "Nothing matches"),
    Look("api_docs", "", "api/docs", "Prepaid Credits", plain=True),
]  # fmt: skip


@pytest.fixture(scope="module")
def addresses(app: Program) -> Iterator[Callable[[str], str]]:
    """Addresses with what only the running program knows: a payment page, purchases, a receipt."""
    with app.api() as api:

        def checkout() -> dict[str, str]:
            answer: dict[str, str] = api.post("checkout", json={"package": "usd_10"}).json()
            return answer

        paid, waiting = checkout(), checkout()
        app.pay(paid["session_id"])
        receipt = api.get("success", params={"session_id": paid["session_id"]}).json()["receipt_url"]

        def by_bank(outcome: str) -> str:
            """A purchase by a debit that is on its way, or came back."""
            session_id = checkout()["session_id"]
            control = f"{app.url}/sim/control"
            paying = httpx.post(
                f"{control}/sessions/{session_id}/pay", json={"card": "000222222227"}, timeout=30
            )
            assert paying.status_code == 200, paying.text
            if outcome == "failed":
                intent = paying.json()["payment_intent"]
                bank = f"{control}/payment_intents/{intent}/settle"
                assert httpx.post(bank, json={"outcome": "fail"}, timeout=30).status_code == 200
            return session_id

        def reloading(who: str, card: str) -> None:
            """Auto-reload of a demo person whose card works or does not: the work that is due has been done."""
            with app.api(f"{who}@demo.test") as person:
                if person.get("auto-reload").json()["state"] != "off":
                    return
                app.pay(person.post("cards").json()["session_id"])
                (saved,) = person.get("cards").json()["items"]
                method = f"{app.url}/sim/control/payment_methods/{saved['payment_method_id']}/act-as"
                assert httpx.post(method, json={"card": card}, timeout=30).status_code == 200
                words = person.get("auto-reload").json()["consent_words"]["text"]
                terms = {"threshold": "5", "target": "25", "cap_day_cents": 6000, "cap_month_cents": 15_000}
                assert person.post("auto-reload", json=terms | {"consent_text": words}).status_code == 200
                while person.get("auto-reload").json()["next_status"] not in ("idle", "paused"):
                    assert app.command("jobs", "run", "auto-reload").returncode == 0

        desk_ids = desk.prepare(app)

        def subscribed(who: str, *, ends: bool) -> str:
            """A demo person with a plan; answers the page that they came back from."""
            with app.api(f"{who}@demo.test") as person:
                known = person.get("subscription").json()["subscription"]
                if known is None or known["status"] == "open":
                    app.pay(person.post("subscription", json={"plan": "monthly_20"}).json()["session_id"])
                    assert app.command("jobs", "run", "subscriptions").returncode == 0
                    if ends:
                        assert person.post("subscription/cancel").status_code == 200
                return str(person.get("subscription").json()["subscription"]["session_id"])

        def filled(address: str) -> str:
            if address.startswith(("<subscribed>", "<ending>", "<back>")):
                ends = address.startswith("<ending>")
                session = subscribed("admin" if ends else "finance", ends=ends)
                return f"{app.url}/plan{f'?session_id={session}' if address == '<back>' else address.partition('>')[2]}"
            for word, meaning in desk_ids.items():
                address = address.replace(word, meaning)
            for outcome in ("processing", "failed"):
                if f"<{outcome}>" in address:
                    return f"{app.url}/{address.replace(f'<{outcome}>', by_bank(outcome))}"
            if address.startswith(("<reloading>", "<paused>")):
                person, card = (
                    ("finance", "4242424242424242") if "<reloading>" in address else ("admin", ASKING_CARD)
                )
                reloading(person, card)
                return f"{app.url}/auto_reload{address.partition('>')[2]}"
            if address in ("<checkout>", "<receipt>"):
                return checkout()["url"] if address == "<checkout>" else receipt
            known = address.replace("<paid>", paid["session_id"]).replace("<open>", waiting["session_id"])
            return f"{app.url}/{known}"

        yield filled


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=lambda screen: screen.name)
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_looks(look: Look, screen: Screen, open_tab: OpenTab, addresses: Callable[[str], str]) -> None:
    page = open_tab(look.who, screen)
    watch = Watch(page)
    page.goto(addresses(look.address))
    look.act(page)
    expect(page.get_by_text(look.shows).first).to_be_visible()
    if not look.plain:
        drawn(page)
    assert not watch.faults(screen, look.name, expected=look.expected)


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=lambda screen: screen.name)
@pytest.mark.parametrize(("who", "address"), [("holder", "overview"), ("finance", "finance")])
def test_charts_opened_in_the_dark(
    open_tab: OpenTab, app: Program, screen: Screen, who: str, address: str
) -> None:
    page = open_tab(who, screen)
    page.emulate_media(color_scheme="dark")
    page.goto(f"{app.url}/{address}")
    bars = page.locator(".js-plotly-plot .bars path").first
    drawn(page, bars)
    expect(bars).to_have_css("fill", "rgb(91, 141, 239)")
    settled(page)
    picture(page, screen, f"looks/{address}-{screen.name}-opened-dark")


def test_every_page_is_looked_at() -> None:
    assert {look.address.partition("?")[0] for look in LOOKS} >= PAGES
