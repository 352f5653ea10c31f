"""Health and metrics."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, PlainTextResponse

from credits_core.db.port import ANONYMOUS
from credits_core.http import VERSION, models
from credits_core.metrics import METRICS
from credits_core.runtime import get_runtime

router = APIRouter(tags=["Operation"])


@router.get("/health", response_model=models.Health)
def health() -> JSONResponse:
    """Whether the program and its database answer. 503 with a sentence when they do not."""
    runtime = get_runtime()
    database = runtime.db.call("health", ANONYMOUS)
    settings = runtime.settings
    stripe = "simulator" if settings.simulator else "live" if settings.stripe_live else "test"
    return JSONResponse(
        {"status": "ok", **database, "mode": settings.mode, "stripe": stripe, "version": VERSION}
    )


@router.get("/metrics", response_class=PlainTextResponse)
def metrics() -> PlainTextResponse:
    """Counters of this process in Prometheus' text format."""
    return PlainTextResponse(METRICS.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
