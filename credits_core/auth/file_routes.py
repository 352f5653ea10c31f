"""Files that pages link to: read as the person of the session cookie, refused as a page instead of as JSON."""

from __future__ import annotations

from typing import cast
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from credits_core import export_sources, statement_pdf, statements
from credits_core.auth import form
from credits_core.auth.person import current_identity
from credits_core.errors import CreditsError, InvalidRequest, NotAllowed
from credits_core.export_sources import Asked
from credits_core.exports import MEDIA_TYPES, Format
from credits_core.runtime import get_runtime

_FILE_HEADERS = {"Accept-Ranges": "none", "Cache-Control": "no-store"}


def export(request: Request) -> Response:
    """GET: a whole result as a file. The filters are those of the API's /credits/exports."""
    runtime = get_runtime()
    _require_own_site(request)
    person = current_identity(request.cookies)
    if person is None:
        return RedirectResponse(f"/auth/sign-in?next={quote('/', safe='')}", 303)
    query = request.query_params
    try:
        asked = Asked.of(query, _account(query.get("account")), livemode=runtime.settings.stripe_live)
        format = _format(query.get("format", "csv"))
        if request.method == "HEAD":
            return Response(headers=_FILE_HEADERS, media_type=MEDIA_TYPES[format])
        file = export_sources.open_export(
            runtime.db, person.identity, request.path_params["what"], format, asked
        )
    except CreditsError as error:
        return form.notice("There is no file", error.message, status=error.http_status)
    return StreamingResponse(
        file.chunks, media_type=file.media_type, headers=_FILE_HEADERS | _attached(file.file_name)
    )


def statement(request: Request) -> Response:
    """GET: a month's statement as a PDF."""
    runtime = get_runtime()
    _require_own_site(request)
    person = current_identity(request.cookies)
    if person is None:
        return RedirectResponse(f"/auth/sign-in?next={quote('/statements', safe='')}", 303)
    query = request.query_params
    try:
        found = statements.whole(
            runtime.db, person.identity, query.get("month"), account_id=_account(query.get("account"))
        )
    except CreditsError as error:
        return form.notice(
            "There is no statement", error.message, back="/statements", status=error.http_status
        )
    return Response(
        statement_pdf.pdf(found),
        media_type="application/pdf",
        headers=_FILE_HEADERS | _attached(statement_pdf.file_name(found)),
    )


def _attached(file_name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{file_name}"'}


def _require_own_site(request: Request) -> None:
    """A file lands on the disk of whoever clicked: another site gains nothing by a link, and shall not make us work either."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise NotAllowed("This file was asked for by another site; open the app and use its own menu.")


def _format(text: str) -> Format:
    if text not in MEDIA_TYPES:
        raise InvalidRequest(f"Choose one of these formats: {', '.join(MEDIA_TYPES)}.")
    return cast("Format", text)


def _account(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidRequest("Name the account by its number.")
    return int(text)


ROUTES = [
    Route("/auth/export/{what}", export, methods=["GET"]),
    Route("/auth/statement.pdf", statement, methods=["GET"]),
]
