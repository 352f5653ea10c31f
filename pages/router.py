"""Main script: who is here and which pages they may see. Runs before every page, on every rerun but a fragment's."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from credits_core.auth.person import Person, current_identity
from credits_core.errors import CreditsError
from pages.common import flagged, session, shell, sign_in, widgets

HERE = Path(__file__).parent
# Before the navigation, and a local file: a page's own icon would be fetched from a font host as the favicon.
st.set_page_config(
    page_title="Prepaid Credits", page_icon=str(HERE / "static" / "favicon.png"), layout="wide"
)
st.logo(str(HERE / "static" / "logo.svg"), size="large", icon_image=str(HERE / "static" / "mark.svg"))
st.html(HERE / "static" / "pages.css")

# section, file, title, icon, roles that see it. The address is the file's name. Sections in this order: Account, Billing,
# Settings, Finance, Administration.
PAGES = (
    ("Account", "account/overview.py", "Overview", ":material/dashboard:", session.EVERYBODY),
    ("Account", "account/buy.py", "Buy credits", ":material/add_card:", session.EVERYBODY),
    ("Account", "account/live_call.py", "Live calls", ":material/phone_in_talk:", session.EVERYBODY),
    ("Account", "account/calls.py", "Call log", ":material/call:", session.EVERYBODY),
    ("Account", "account/usage.py", "Usage", ":material/bar_chart:", session.EVERYBODY),
    ("Account", "account/transactions.py", "Transactions", ":material/receipt_long:", session.EVERYBODY),
    ("Billing", "account/auto_reload.py", "Auto-reload", ":material/autorenew:", session.EVERYBODY),
    ("Billing", "account/plan.py", "Plan", ":material/event_repeat:", session.EVERYBODY),
    ("Billing", "account/statements.py", "Statements", ":material/description:", session.EVERYBODY),
    ("Billing", "account/invite.py", "Invite", ":material/group_add:", session.EVERYBODY),
    ("Settings", "account/api_keys.py", "API keys", ":material/key:", session.EVERYBODY),
    ("", "account/checkout_return.py", "Your purchase", "", session.EVERYBODY),
    (
        "Settings",
        "account/notifications.py",
        "Alerts and webhooks",
        ":material/notifications:",
        session.EVERYBODY,
    ),
    ("Finance", "finance/finance.py", "Sales and usage", ":material/monitoring:", session.FINANCE),
    ("Finance", "finance/revenue.py", "Revenue", ":material/payments:", session.FINANCE),
    ("Finance", "finance/margins.py", "Margins", ":material/percent:", session.FINANCE),
    ("Finance", "finance/reconciliation.py", "Reconciliation", ":material/compare_arrows:", session.FINANCE),
    ("Administration", "admin/accounts.py", "Accounts", ":material/group:", session.ADMIN),
    ("Administration", "admin/catalog.py", "Catalog", ":material/sell:", session.ADMIN),
    ("Administration", "admin/payments.py", "Payments", ":material/credit_card:", session.ADMIN),
    ("Administration", "admin/approvals.py", "Approvals", ":material/approval:", session.ADMIN),
    ("Administration", "admin/campaigns.py", "Campaigns", ":material/campaign:", session.ADMIN),
    ("Administration", "admin/flags.py", "Feature flags", ":material/flag:", session.ADMIN),
    ("Administration", "admin/audit.py", "Audit trail", ":material/history:", session.ADMIN),
    ("Administration", "admin/system.py", "System", ":material/monitor_heart:", session.ADMIN),
    ("Administration", "admin/webhook_inbox.py", "Webhook inbox", ":material/inbox:", session.ADMIN),
)
# Pages that are there only for accounts with the flag.
FLAGGED = {"invite": "invitations"}
START = {"finance": "finance", "admin": "accounts", "super_admin": "accounts"}
# What a role works with stands first in its menu.
ACCOUNT = ("Account", "Billing", "Settings")
SECTIONS = {
    "finance": ("Finance", *ACCOUNT),
    "admin": ("Administration", "Finance", *ACCOUNT),
    "super_admin": ("Administration", "Finance", *ACCOUNT),
}


def navigation(person: Person | None) -> tuple[st.Page, dict[str, st.Page]]:
    """The page asked for, and all of them by name.

    Everybody's navigation knows every address: what is not for somebody is hidden from the menu and refused by the
    page's guard, which is a sentence; an unknown address would be a "not found" dialog.
    """
    role = person.role if person else "anonymous"
    start = START.get(role, "overview")
    sections: dict[str, list[st.Page]] = {
        "": [st.Page(start_page, title="Start", default=True, visibility="hidden")],
        **{section: [] for section in SECTIONS.get(role, ACCOUNT)},
    }
    by_name: dict[str, st.Page] = {}
    for section, file, title, icon, roles in PAGES:
        name = Path(file).stem
        shown = bool(section) and role in roles
        if shown and person is not None and name in FLAGGED:
            shown = flagged.is_known_to_be_on(person, FLAGGED[name])
        page = st.Page(
            file, title=title, icon=icon or None, url_path=name, visibility="visible" if shown else "hidden"
        )
        sections.setdefault(section if shown else "", []).append(page)
        by_name[name] = page
    return st.navigation(sections, position="sidebar" if person else "hidden", expanded=True), by_name | {
        "": by_name[start]
    }


def start_page() -> None:
    """The root address: leads to the page a role works with."""
    st.switch_page(pages[""])


try:
    somebody = current_identity(session.cookies())
    page, pages = navigation(somebody)
    if somebody is None:
        sign_in.show()
    else:
        shell.sidebar(somebody, pages)
        page.run()
except CreditsError as error:
    widgets.show_error(error)
