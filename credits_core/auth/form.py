"""The sign-in form and small notices as plain HTML: they must work before any script, and under the strict policy."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from starlette.responses import HTMLResponse

from credits_core.auth.providers import DEMO_PASSWORD, DemoPerson

_HERE = Path(__file__).parent
_PAGE = Template((_HERE / "form.html").read_text(encoding="utf-8"))
STYLE = (_HERE / "style.css").read_text(encoding="utf-8")
_ICON = (
    '<svg width="16" height="16" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.4" '
    'aria-hidden="true"><circle cx="8" cy="8" r="6.5"/><path d="M8 4.6v4M8 10.8v.6" stroke-linecap="round"/></svg>'
)


def sign_in_form(
    *,
    csrf: str,
    target: str,
    email: str = "",
    alert: str = "",
    demo: Sequence[DemoPerson] = (),
    lead: str = "Use your work email to manage credits and usage.",
    status: int = 200,
) -> HTMLResponse:
    """The form; with demo people, one button each that signs them in."""
    hidden = _hidden("csrf", csrf) + _hidden("next", target)
    body = f"""<form method="post" action="/auth/sign-in">{hidden}
<label for="email">Email</label>
<input id="email" name="email" type="email" autocomplete="username" required{"" if email else " autofocus"} value="{escape(email)}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{" autofocus" if email else ""}>
<button>Sign in</button>
</form>"""
    if demo:
        body += _demo_people(demo, hidden)
    return page("Sign in", lead, body, alert=alert, status=status)


def notice(
    title: str, message: str, *, back: str = "/", link: str = "Go back", status: int = 400
) -> HTMLResponse:
    """A page that says what went wrong, with a way on."""
    return page(
        title, "", f'<a class="button" href="{escape(back)}">{escape(link)}</a>', alert=message, status=status
    )


def page(title: str, lead: str, body: str, *, alert: str = "", status: int = 200) -> HTMLResponse:
    """A page in the look of the app; `body` is HTML, everything else is text."""
    shown = f'<div class="alert" role="alert">{_ICON}<span>{escape(alert)}</span></div>' if alert else ""
    html = _PAGE.substitute(title=escape(title), lead=escape(lead), alert=shown, body=body)
    return HTMLResponse(html, status_code=status)


def _demo_people(people: Sequence[DemoPerson], hidden: str) -> str:
    forms = "".join(
        f'<form method="post" action="/auth/sign-in">{hidden}{_hidden("email", person.email)}'
        f"{_hidden('password', DEMO_PASSWORD)}<button>{escape(person.email)}"
        f"<span>{escape(person.does)}</span></button></form>"
        for person in people
    )
    return (
        '<section class="demo"><h2>Demo people</h2>'
        f"<p>Test mode: no card is charged. Password <code>{DEMO_PASSWORD}</code></p>{forms}</section>"
    )


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{escape(value)}">'
