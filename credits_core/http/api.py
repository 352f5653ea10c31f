"""The API as one FastAPI application, mounted under /api."""

from __future__ import annotations

from fastapi import FastAPI

from credits_core.http import (
    VERSION,
    account,
    admin,
    approving,
    buying,
    docs,
    drafting,
    exporting,
    figures,
    finance,
    governing,
    inviting,
    keys,
    metering,
    models,
    notifying,
    operations,
    paying,
    problems,
    promotions,
    reading,
    reconciling,
    refunding,
    reloading,
    spending,
    statements,
    subscribing,
    supervising,
    vapi,
    watching,
)

DESCRIPTION = """Prepaid credits over HTTP: buy, check, spend, explain.

Amounts are decimal text in credits (`"0.30"`) and whole micros beside it (`charged_micros: 300000`).
Every write takes an `Idempotency-Key`: the same key and body again give the first answer, another body is refused.
Every refusal is `{"error": {"code", "message", "detail"}}`; `X-Request-ID` names a request in the logs."""

_REFUSALS = {
    401: "No identity, or one that has expired.",
    402: "Not enough credits; `detail` has needed_micros and available_micros.",
    403: "Not yours.",
    404: "Not found.",
    409: "A conflict with what is there, or an idempotency key used for something else.",
    422: "The request is malformed; the message says where.",
    429: "A limit is reached.",
    503: "The database does not answer; try again.",
}

ROUTERS = (
    reading.router,
    buying.router,
    spending.router,
    watching.router,  # calls/live before calls/{call_id}
    metering.router,
    account.router,
    figures.router,
    finance.router,
    keys.router,
    admin.router,
    refunding.router,
    reconciling.router,
    paying.router,
    approving.router,
    reloading.router,
    subscribing.router,
    notifying.router,
    promotions.router,
    drafting.router,
    inviting.router,
    exporting.router,
    governing.router,
    statements.router,
    vapi.router,
    supervising.router,
    operations.router,
)


def make_api() -> FastAPI:
    """All endpoints, with one shape for every refusal and an OpenAPI document that says so."""
    api = FastAPI(
        title="Prepaid Credits",
        version=VERSION,
        description=DESCRIPTION,
        openapi_url="/openapi.json",
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere; ours come from here
        redoc_url=None,
        redirect_slashes=False,
        responses={
            status: {"model": models.Problem, "description": text} for status, text in _REFUSALS.items()
        },
        exception_handlers=problems.HANDLERS,
        servers=[{"url": "/api"}],
        root_path_in_servers=False,
    )
    for router in (*ROUTERS, docs.router):
        api.include_router(router)
    return api
