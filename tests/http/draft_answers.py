"""One good answer of every endpoint about catalog drafts."""

from __future__ import annotations

from tests.http.answers import Answers
from tests.http.conftest import Api

PATH = "/credits/admin/catalog-draft"


def about_drafts(admin: Api) -> Answers:
    """A price is put in, a package put in and taken out, rehearsed, its release asked for; then all is discarded."""
    price = {"item": {"components": [{"unit": "minute", "price_micros": 200_000}]}}
    package = {"item": {"name": "Bargain", "credits_micros": 12_000_000, "price_cents": 1_000}}
    draft = "admin/catalog-draft"
    send = admin.client.request

    def to(method: str, path: str, **more: object) -> object:
        return send(method, f"/api/credits/{draft}/{path}", headers=admin.headers, **more)  # type: ignore[arg-type]

    return {
        ("PUT", f"{PATH}/{{kind}}/{{code}}"): to("PUT", "price/call", json=price),
        ("DELETE", f"{PATH}/{{kind}}/{{code}}"): (
            to("PUT", "package/bargain", json=package),
            to("DELETE", "package/bargain"),
        )[1],
        ("GET", PATH): admin.get(draft),
        ("GET", f"{PATH}/rehearsal"): admin.get(f"{draft}/rehearsal"),
        ("POST", f"{PATH}/release"): admin.post(f"{draft}/release", {"reason": "for a test"}),
        ("POST", f"{PATH}/discard"): admin.post(f"{draft}/discard"),
    }
