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
<p class="total">$total</p>
<ul class="items">$items</ul>
<p class="sum"><span>Total due</span><span>$total</span></p>
</section>
<section class="card" aria-labelledby="how">
<h2 id="how">Pay with card</h2>
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
<button type="submit">Pay $total</button>
</form>
<details id="hint" open>
<summary>Test cards</summary>
<dl>
<div><dt>4242 4242 4242 4242</dt><dd>succeeds</dd></div>
<div><dt>4000 0025 0000 3155</dt><dd>asks for 3-D Secure</dd></div>
<div><dt>4000 0000 0000 0002</dt><dd>is declined</dd></div>
<div><dt>4000 0000 0000 0259</dt><dd>is disputed later</dd></div>
</dl>
<p>Any future expiry date and any CVC will do.</p>
</details>
</section>""")

_CHALLENGE = Template("""<section class="card" aria-labelledby="bank">
<h1 id="bank">3-D Secure test page</h1>
<p>Your bank asks you to confirm this payment of <strong>$total</strong>.</p>
<form method="post">
<button type="submit" name="outcome" value="complete">Complete authentication</button>
<button type="submit" name="outcome" value="fail" class="quiet">Fail authentication</button>
</form>
</section>""")


def payment(session: Obj, items: list[Obj], error: str | None, email: str | None = None) -> str:
    """The payment form with the line items; `error` is shown above the fields. Card numbers are never
    repeated."""
    currency = session["currency"]
    rows = "".join(
        f"<li><span>{escape(item['description'] or 'Item')}"
        f"{'' if item['quantity'] == 1 else ' × ' + str(item['quantity'])}</span>"
        f"<span>{escape(format_money(item['amount_total'], currency))}</span></li>"
        for item in items
    )
    cancel = session["cancel_url"]
    shown_error = f'<p class="error" role="alert" id="error">{escape(error)}</p>' if error else ""
    body = _PAYMENT.substitute(
        back=f'<a class="back" href="{escape(cancel)}">&larr; Cancel and go back</a>' if cancel else "",
        total=escape(format_money(session["amount_total"], currency)),
        items=rows,
        error=shown_error,
        email=escape(email or session["customer_email"] or ""),
        invalid=' aria-invalid="true"' if error else "",
    )
    return _page("Pay " + format_money(session["amount_total"], currency), body, "checkout")


def challenge(intent: Obj) -> str:
    """The bank's page for 3-D Secure."""
    total = format_money(intent["amount"], intent["currency"])
    return _page("Confirm your payment", _CHALLENGE.substitute(total=escape(total)))


def receipt(charge: Obj) -> str:
    """A receipt: what was paid, with which card, and what was given back."""
    currency, card = charge["currency"], charge["payment_method_details"]["card"]
    lines = [
        ("Amount paid", format_money(charge["amount"], currency)),
        ("Card", f"{card['brand'].title()} ending in {card['last4']}"),
        ("Receipt", charge["id"]),
    ]
    if charge["amount_refunded"]:
        lines.insert(1, ("Refunded", format_money(charge["amount_refunded"], currency)))
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in lines)
    return _page("Receipt", f'<section class="card"><h1>Receipt</h1><dl>{rows}</dl></section>')


def notice(title: str, text: str, link: str | None) -> str:
    """A page with one sentence and, when there is one, the way back to the shop."""
    back = f'<p><a class="back" href="{escape(link)}">Back to the shop</a></p>' if link else ""
    return _page(
        title, f'<section class="card"><h1>{escape(title)}</h1><p>{escape(text)}</p>{back}</section>'
    )


def _page(title: str, body: str, kind: str = "single") -> str:
    return _LAYOUT.substitute(title=escape(title), body=body, kind=kind)
