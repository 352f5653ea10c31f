"""Auto-reload and saved cards of the caller's own account. Only its owner agrees, resumes and removes, signed in."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import JSONResponse

from credits_core import auto_reload, saved_cards
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import Micros, Text
from credits_core.http.models import Answer, Body, ForAccount
from credits_core.http.reading import Whose
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits", tags=["Auto-reload"], route_class=DecimalRoute)

Cents = Annotated[int, Field(ge=1, le=99_999_999, strict=True)]
CardId = Annotated[str, Path(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_]+$")]


class Terms(Body):
    threshold: Micros = Field(examples=["5.00"], description="A reload is due when the balance is below.")
    target: Micros = Field(examples=["25.00"], description="One reload buys up to here.")
    cap_day_cents: Cents = Field(examples=[5000])
    cap_month_cents: Cents = Field(examples=[20000])


class Proposed(Terms):
    account: ForAccount = None


class Agreement(Terms):
    consent_text: Text = Field(
        examples=[auto_reload.CONSENT_TEXT],
        description="`consent_words.text` of GET auto-reload, word by word.",
    )
    payment_method_id: Text | None = Field(
        default=None, description="A saved card; without it the default one."
    )


class Switch(Body):
    action: Literal["off", "resume"] = Field(examples=["resume"])


class AutoReload(Answer):
    account_id: int
    state: Literal["on", "paused", "off"]
    next: str = Field(description="What will happen next, in a sentence.")
    pay_url: str | None = Field(
        description="Where the owner confirms the payment that the bank wants confirmed."
    )
    consent_words: dict[str, str]
    attempts: list[dict[str, Any]] = Field(
        description="The last 20, with why each was made and how it ended."
    )


class Preview(Answer):
    account_id: int
    refusal: str | None = Field(description="Why these terms cannot be agreed to; null: they can.")
    status: str | None = Field(
        default=None, examples=["idle"], description="due: a reload would be made at once; idle; or waiting."
    )
    one_reload_cents: int | None = Field(examples=[2000], description="What a reload at the threshold costs.")
    amount_cents: int | None = Field(default=None, examples=[2000], description="Of the next reload.")
    credits_micros: int | None = Field(default=None, examples=[20_000_000])
    until: str | None = Field(default=None, description="Not before then.")


class Cards(Answer):
    items: list[dict[str, Any]]


class CardPage(Answer):
    url: str | None = Field(description="Where the card is entered. It is not charged.")


@router.get("/auto-reload", response_model=AutoReload)
def read_auto_reload(caller: Called, account: Whose = None) -> JSONResponse:
    """What is agreed, what happens next, and why the last attempts did what they did."""
    return answer(auto_reload.state(caller.db, caller.identity, account_id=caller.account_id(account)))


@router.post("/auto-reload", response_model=AutoReload)
def agree(caller: Called, body: Agreement) -> JSONResponse:
    """Agree to reloads by themselves within these limits; saved with the words, the time and who. Repeating it agrees anew."""
    agreed = auto_reload.agree(
        caller.runtime,
        caller.identity,
        threshold_micros=body.threshold,
        target_micros=body.target,
        cap_day_cents=body.cap_day_cents,
        cap_month_cents=body.cap_month_cents,
        consent_text=body.consent_text,
        payment_method_id=body.payment_method_id,
    )
    return answer(agreed)


@router.post("/auto-reload/preview", response_model=Preview)
def preview(caller: Called, body: Proposed) -> JSONResponse:
    """What such terms would do now: what happens next, what it costs, or why they cannot be agreed to. Changes nothing."""
    found = auto_reload.preview(
        caller.db,
        caller.identity,
        threshold_micros=body.threshold,
        target_micros=body.target,
        cap_day_cents=body.cap_day_cents,
        cap_month_cents=body.cap_month_cents,
        account_id=caller.account_id(body.account),
    )
    return answer(found)


@router.post("/auto-reload/switch", response_model=AutoReload)
def switch(caller: Called, body: Switch) -> JSONResponse:
    """Switch it off, or resume it after a pause. Buying credits by hand does neither."""
    return answer(auto_reload.switch(caller.runtime, caller.identity, body.action))


@router.get("/cards", response_model=Cards)
def cards(caller: Called) -> JSONResponse:
    """The saved cards: brand, last four digits, expiry; the default one first."""
    _, found = saved_cards.saved(caller.runtime, caller.identity)
    return answer({"items": [asdict(card) for card in found]})


@router.post("/cards", response_model=CardPage)
def save_card(caller: Called) -> JSONResponse:
    """Start saving a card: send its owner to `url`."""
    setup = saved_cards.start_saving(caller.runtime, caller.identity, caller.base_url)
    return answer({"url": setup.url, "session_id": setup.session_id})


@router.delete("/cards/{payment_method_id}", response_model=Cards)
def remove_card(caller: Called, payment_method_id: CardId) -> JSONResponse:
    """Remove a saved card. 409 while auto-reload uses it."""
    saved_cards.remove(caller.runtime, caller.identity, payment_method_id)
    return cards(caller)
