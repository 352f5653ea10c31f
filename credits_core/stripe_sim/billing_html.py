"""The HTML of invoices and of the billing portal."""

from __future__ import annotations

from html import escape

from credits_core.currencies import format_money
from credits_core.stripe_sim.hosted_html import instrument, page_of, table
from credits_core.stripe_sim.store import Obj


def invoice(found: Obj) -> str:
    """An invoice: its lines, tax, and whether it is paid; an open one can be paid with a card."""
    currency = found["currency"]
    lines = [(line["description"], format_money(line["amount"], currency)) for line in found["lines"]["data"]]
    lines += [("Tax", format_money(tax["amount"], currency)) for tax in found["total_taxes"]]
    lines += [("Total", format_money(found["total"], currency)), ("Status", found["status"])]
    form = _INVOICE_FORM if found["status"] == "open" else ""
    title = f"Invoice {found['number'] or ''}"
    return page_of(title, f'<section class="card"><h1>{escape(title)}</h1>{table(lines)}{form}</section>')


_INVOICE_FORM = """<form method="post">
<label for="number">Card number</label>
<input id="number" name="number" inputmode="numeric" autocomplete="off" maxlength="25" required>
<div class="pair">
<div><label for="expiry">Expiry</label>
<input id="expiry" name="expiry" inputmode="numeric" autocomplete="off" maxlength="7" required></div>
<div><label for="cvc">CVC</label>
<input id="cvc" name="cvc" inputmode="numeric" autocomplete="off" maxlength="4" required></div>
</div>
<button type="submit">Pay this invoice</button>
</form>"""


def portal(cards: list[Obj], default: str | None, running: list[Obj], back: str | None) -> str:
    """The billing portal: saved cards and subscriptions, each with its buttons."""
    rows = "".join(
        f"<li><span>{escape(instrument(card))}{' (default)' if card['id'] == default else ''}</span>"
        f"{'' if card['id'] == default else _button('default', card['id'], 'Use by default')}"
        f"{_button('remove', card['id'], 'Remove')}</li>"
        for card in cards
    )
    plans = "".join(
        f"<li><span>{escape(_plan(found))}</span>"
        f"{_button('resume', found['id'], 'Keep it') if found['cancel_at_period_end'] else ''}"
        f"{'' if found['cancel_at_period_end'] else _button('cancel', found['id'], 'Cancel at the end of the period')}"
        "</li>"
        for found in running
    )
    link = f'<a class="back" href="{escape(back)}">&larr; Back to the shop</a>' if back else ""
    body = (
        f'<section class="card">{link}<h1>Billing</h1><h2>Saved cards</h2>'
        f'<ul class="items">{rows or "<li>No card is saved.</li>"}</ul><h2>Subscriptions</h2>'
        f'<ul class="items">{plans or "<li>There is no subscription.</li>"}</ul></section>'
    )
    return page_of("Billing", body)


def _button(action: str, object_id: str, text: str) -> str:
    return (
        f'<form method="post" class="inline"><input type="hidden" name="object" value="{escape(object_id)}">'
        f'<button type="submit" name="action" value="{action}" class="quiet">{escape(text)}</button></form>'
    )


def _plan(subscription: Obj) -> str:
    price = subscription["items"]["data"][0]["price"]
    money = format_money(price["unit_amount"], price["currency"])
    state = "ends with its period" if subscription["cancel_at_period_end"] else subscription["status"]
    return f"{money} per {price['recurring']['interval']} ({state})"
