"""The address for Vapi's server messages."""

from __future__ import annotations

import hmac
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from credits_core import vapi, vapi_message
from credits_core.errors import NotFound, NotSignedIn
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.models import Answer
from credits_core.http.shapes import answer
from credits_core.runtime import get_runtime

_REQUEST = {
    "type": "assistant-request",
    "call": {
        "id": "7420f27a-30fd-4f49-a995-5549ae7cc00d",
        "type": "inboundPhoneCall",
        "customer": {"number": "+15550199"},
    },
    "phoneNumber": {"number": "+15550100"},
}


class VapiMessage(BaseModel):
    """Vapi's body as it is; fields that do not matter here are passed over."""

    message: dict[str, Any] = Field(examples=[_REQUEST])


class VapiAnswer(Answer):
    """What Vapi does with it: an assistant with its limits, or a sentence to say; for other messages the call's state."""

    error: str | None = Field(default=None, description="Vapi says it to the caller and hangs up.")
    assistantId: str | None = Field(default=None, examples=["f1a2b3c4"])
    assistantOverrides: dict[str, Any] | None = Field(
        default=None,
        examples=[
            {
                "maxDurationSeconds": 3960,
                "hooks": [
                    {
                        "on": "call.timeElapsed",
                        "options": {"seconds": 3840},
                        "do": [{"type": "say", "exact": "Your credits are running low: ..."}],
                    }
                ],
                "metadata": {"account": "17", "credits_call_id": 4},
            }
        ],
    )


async def _is_vapi(
    request: Request, x_vapi_secret: Annotated[str | None, Header(max_length=500)] = None
) -> None:
    """Only who knows VAPI_SECRET; without one set there is nothing here."""
    secret = get_runtime().settings.vapi_secret
    if secret is None:
        raise NotFound("The Vapi integration is off; set VAPI_SECRET to turn it on.")
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    given = x_vapi_secret or (bearer.strip() if scheme.lower() == "bearer" else "")
    if not hmac.compare_digest(given.encode(), secret.encode()):
        raise NotSignedIn("This is not the secret of the Vapi integration; set VAPI_SECRET's value in Vapi.")


router = APIRouter(
    prefix="/credits/integrations",
    tags=["Integrations"],
    route_class=DecimalRoute,
    dependencies=[Depends(_is_vapi)],
)


@router.post("/vapi", response_model=VapiAnswer)
def receive(
    body: VapiMessage,
    account: Annotated[
        str | None,
        Query(
            max_length=254,
            description="Whose calls. Goes before `metadata.account` of phone number, assistant or call.",
        ),
    ] = None,
    assistant: Annotated[
        str | None,
        Query(max_length=100, description="Id of the assistant that assistant-request is answered with."),
    ] = None,
) -> JSONResponse:
    """For Vapi alone: assistant-request, status-update, end-of-call-report; other messages are signs of life.

    Set this address as server URL, with `X-Vapi-Secret` or a bearer credential that holds `VAPI_SECRET`.
    Off (404) without that. Safe to repeat, in any order.
    """
    message = vapi_message.read(body.message, account=account, assistant_id=assistant)
    return answer(vapi.receive(get_runtime(), message))
