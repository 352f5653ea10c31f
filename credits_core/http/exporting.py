"""Files of whole results: CSV, XLSX and Parquet, streamed."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from starlette.responses import StreamingResponse

from credits_core import export_sources
from credits_core.analytics import Unit
from credits_core.export_sources import Asked, Export
from credits_core.exports import MEDIA_TYPES, Format
from credits_core.http.caller import Called
from credits_core.http.figures import Zone
from credits_core.http.paying import Currency
from credits_core.http.reading import Whose

router = APIRouter(prefix="/credits", tags=["Exports"])


def _names(*, for_staff: bool) -> str:
    return ", ".join(what for what, source in export_sources.SOURCES.items() if source.for_staff is for_staff)


What = Annotated[
    str,
    Path(
        pattern=r"^[a-z_]{1,40}$",
        examples=["transactions"],
        description=f"For everybody {_names(for_staff=False)}; for staff {_names(for_staff=True)}.",
    ),
]
First = Annotated[date | None, Query(alias="from", description="First day.")]
Last = Annotated[date | None, Query(alias="to", description="Last day, included.")]
Filter = Annotated[str | None, Query(max_length=100)]
Month = Annotated[str | None, Query(max_length=7, description="Of a statement, such as 2026-11.")]
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {kind.partition(";")[0]: {} for kind in MEDIA_TYPES.values()},
        "description": "The file. It ends early, without its last chunk, when the database fails under way.",
    }
}


def streamed(export: Export) -> StreamingResponse:
    """The answer that sends a file as it is written."""
    return StreamingResponse(
        export.chunks,
        media_type=export.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{export.file_name}"',
            "Accept-Ranges": "none",
            "Cache-Control": "no-store",
        },
    )


@router.get("/exports/{what}", response_class=StreamingResponse, responses=_FILE)
def export(
    caller: Called,
    what: What,
    format: Format = "csv",
    first: First = None,
    last: Last = None,
    time_zone: Zone = "UTC",
    account: Whose = None,
    kind: Filter = None,
    status: Filter = None,
    search: Filter = None,
    number: Filter = None,
    month: Month = None,
    actor: Filter = None,
    unit: Unit | None = None,
    operation: Annotated[str | None, Query(max_length=64)] = None,
    currency: Currency = None,
    mode: Annotated[
        Literal["test", "live"] | None, Query(description="Of payments; without it both.")
    ] = None,
) -> StreamingResponse:
    """The whole result as a file: amounts are exact decimals in credits, times those of `time_zone`.

    Filters are those of the list of the same name; what a table does not know is ignored. Usage is by day and operation, of
    the last 30 days unless days are given; a usage report (`unit`, `operation`) has the period before beside it.
    """
    query = {
        "from": first.isoformat() if first else None,
        "to": last.isoformat() if last else None,
        "time_zone": time_zone,
        "kind": kind,
        "status": status,
        "search": search,
        "number": number,
        "month": month,
        "actor": actor,
        "unit": unit,
        "operation": operation,
        "currency": currency,
        "mode": mode,
    }
    live = caller.runtime.settings.stripe_live
    asked = Asked.of(query, caller.account_id(account), livemode=live)
    return streamed(export_sources.open_export(caller.db, caller.identity, what, format, asked))
