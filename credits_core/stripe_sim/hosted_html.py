"""The HTML of the hosted pages. Every value is escaped where it is put in; there is no script."""

from __future__ import annotations

from html import escape
from string import Template

from credits_core.currencies import format_money
from credits_core.stripe_sim.store import Obj

_LAYOUT = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>$title</title>
<link rel="stylesheet" href="../static/pay.css">
</head>
<body>
<p class="test-mode"><strong>Test mode</strong> - no card is charged</p>
<main class="$kind">
$body
</main>
</body>
</html>
""")

_PAYMENT = Template("""<section class="summary" aria-labelledby="what">
$back
<h1 id="what">Prepaid credits</h1>
$sums
</section>
<section class="card" aria-labelledby="how">
<h2 id="how">$heading</h2>
$error
<form method="post" autocomplete="on">
<label for="email">Email</label>
<input id="email" name="email" type="email" autocomplete="email" maxlength="200" value="$email">
<label for="number">Card number</label>
<input id="number" name="number" inputmode="numeric" autocomplete="off" maxlength="25" required
  placeholder="1234 1234 1234 1234" aria-describedby="hint"$invalid>
<div class="pair">
<div><label for="expiry">Expiry</label>
<input id="expiry" name="expiry" inputmode="numeric" autocomplete="off" maxlength="7" required
placeholder="MM / YY"></div>
<div><label for="cvc">CVC</label>
<input id="cvc" name="cvc" inputmode="numeric" autocomplete="off" maxlength="4" required
placeholder="123"></div>
</div>
<button type="submit">$button</button>
</form>
$more
<details id="hint" open>
<summary>Test cards</summary>
<dl>
<div><dt>4242 4242 4242 4242</dt><dd>succeeds</dd></div>
<div><dt>4000 0025 0000 3155</dt><dd>asks for 3-D Secure</dd></div>
<div><dt>4000 0000 0000 0002</dt><dd>is declined</dd></div>
<div><dt>4000 0000 0000 0341</dt><dd>can be saved, then is declined</dd></div>
<div><dt>4000 0000 0000 0259</dt><dd>is disputed later</dd></div>
</dl>
<p>Any future expiry date and any CVC will do.</p>
</details>
</section>""")

_CHALLENGE = Template("""<section class="card" aria-labelledby="bank">
<h1 id="bank">3-D Secure test page</h1>
<p>Your bank asks you to confirm $what.</p>
<form method="post">
<button type="submit" name="outcome" value="complete">Complete authentication</button>
<button type="submit" name="outcome" value="fail" class="quiet">Fail authentication</button>
</form>
</section>""")


_BY_BANK = """<form method="post">
<button type="submit" name="method" value="bank" class="quiet">Pay by bank (takes days)</button>
</form>"""

_CODE = """<form method="post" class="code">
<label for="promotion_code">Promotion code</label>
<input id="promotion_code" name="promotion_code" autocomplete="off" maxlength="100" required>
<button type="submit" name="method" value="code" class="quiet">Apply code</button>
</form>"""


def payment(session: Obj, items: list[Obj], error: str | None, email: str | None = None) -> str:
    """The payment form with the line items; `error` is shown above the fields. Card numbers are never
    repeated."""
    cancel, saving = session["cancel_url"], session["mode"] == "setup"
    shown_error = f'<p class="error" role="alert" id="error">{escape(error)}</p>' if error else ""
    total = "" if saving else format_money(session["amount_total"], session["currency"])
    verb = "Subscribe for" if session["mode"] == "subscription" else "Pay"
    more = _BY_BANK if session["mode"] == "payment" and session["amount_total"] else ""
    body = _PAYMENT.substitute(
        back=f'<a class="back" href="{escape(cancel)}">&larr; Cancel and go back</a>' if cancel else "",
        sums="<p>Your card is saved for later payments; nothing is charged now.</p>"
        if saving
        else _sums(session, items),
        heading="Save a card" if saving else "Pay with card",
        button="Save card" if saving else f"{verb} {escape(total)}",
        more=(_CODE if session["allow_promotion_codes"] and not session["discounts"] else "") + more,
        error=shown_error,
        email=escape(email or session["customer_email"] or ""),
        invalid=' aria-invalid="true"' if error else "",
    )
    return page_of("Save a card" if saving else f"Pay {total}", body, "checkout")


def _sums(session: Obj, items: list[Obj]) -> str:
    currency, totals = session["currency"], session["total_details"]
    rows = [
        (f"{item['description'] or 'Item'}{'' if item['quantity'] == 1 else ' × ' + str(item['quantity'])}",
         item["amount_subtotal"])
        for item in items
    ]  # fmt: skip
    if totals["amount_discount"]:
        rows.append(("Discount", -totals["amount_discount"]))
    if totals["amount_tax"]:
        rows.append(("Tax", totals["amount_tax"]))
    shown = "".join(
        f"<li><span>{escape(name)}</span><span>{escape(format_money(amount, currency))}</span></li>"
        for name, amount in rows
    )
    total = escape(format_money(session["amount_total"], currency))
    return (
        f'<p class="total">{total}</p><ul class="items">{shown}</ul>'
        f'<p class="sum"><span>Total due</span><span>{total}</span></p>'
    )


def challenge(intent: Obj) -> str:
    """The bank's page for 3-D Secure."""
    if intent["object"] == "setup_intent":
        return page_of("Confirm your card", _CHALLENGE.substitute(what="that this card may be saved"))
    total = escape(format_money(intent["amount"], intent["currency"]))
    what = f"this payment of <strong>{total}</strong>"
    return page_of("Confirm your payment", _CHALLENGE.substitute(what=what))


def receipt(charge: Obj) -> str:
    """A receipt: what was paid, with which card, and what was given back."""
    currency = charge["currency"]
    lines = [
        ("Amount paid", format_money(charge["amount"], currency)),
        ("Paid with", instrument(charge["payment_method_details"])),
        ("Receipt", charge["id"]),
    ]
    if charge["amount_refunded"]:
        lines.insert(1, ("Refunded", format_money(charge["amount_refunded"], currency)))
    return page_of("Receipt", f'<section class="card"><h1>Receipt</h1>{table(lines)}</section>')


def instrument(found: Obj) -> str:
    """A card or bank account in words."""
    if found["type"] == "us_bank_account":
        return f"Bank account ending in {found['us_bank_account']['last4']}"
    return f"{found['card']['brand'].title()} ending in {found['card']['last4']}"


def table(lines: list[tuple[str, str]]) -> str:
    """Names and values, one line each."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in lines)
    return f"<dl>{rows}</dl>"


def notice(title: str, text: str, link: str | None) -> str:
    """A page with one sentence and, when there is one, the way back to the shop."""
    back = f'<p><a class="back" href="{escape(link)}">Back to the shop</a></p>' if link else ""
    return page_of(
        title, f'<section class="card"><h1>{escape(title)}</h1><p>{escape(text)}</p>{back}</section>'
    )


def page_of(title: str, body: str, kind: str = "single") -> str:
    """A whole page around a body."""
    return _LAYOUT.substitute(title=escape(title), body=body, kind=kind)
