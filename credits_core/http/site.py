"""The whole program as app.py assembles it: routes, middleware, start and end. Pages come from Streamlit."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from credits_core import demo, demo_stripe
from credits_core.auth import form
from credits_core.auth.routes import ROUTES
from credits_core.config import Settings
from credits_core.errors import ConfigError, CreditsError
from credits_core.http import problems
from credits_core.http.api import make_api
from credits_core.http.gate import SignInGate
from credits_core.http.middleware import BodyLimit, ClosedAddresses, RequestContext, StaticGZip
from credits_core.http.security import SecurityHeaders
from credits_core.jobs import JobRunner
from credits_core.logs import leave_out_traces, set_up_logs
from credits_core.runtime import Runtime, get_runtime, make_runtime, set_runtime

logger = logging.getLogger(__name__)


def start_settings() -> Settings:
    """Settings from the environment; a mistake in them ends the program with one sentence instead of a trace."""
    try:
        settings = Settings.from_env()
    except ConfigError as error:
        raise SystemExit(f"Cannot start: {error.message}") from None
    set_up_logs(settings.log_level)
    return settings


def routes(settings: Settings) -> list[BaseRoute]:
    """Everything that is not a page. The API takes every address under /api/, so that unknown ones are JSON 404.

    Without a Stripe key the simulator is at /sim; with one there is nothing at that address.
    """
    simulator = [Mount("/sim", _simulator)] if settings.simulator else []
    return [*ROUTES, Mount("/api", make_api()), *simulator]


async def _simulator(scope: Scope, receive: Receive, send: Send) -> None:
    """The simulator of the runtime, which is there once the program has started."""
    await simulator_app(get_runtime())(scope, receive, send)


@lru_cache(maxsize=1)
def simulator_app(runtime: Runtime) -> ASGIApp:
    from credits_core.stripe_sim import create_app  # not loaded where Stripe itself is used

    assert runtime.stripe.simulator is not None
    return create_app(runtime.stripe.simulator)


def middleware(settings: Settings, index_html: Path) -> list[Middleware]:
    """From the outside in."""
    return [
        Middleware(RequestContext),
        Middleware(SecurityHeaders, index_html=index_html, https=settings.https),
        Middleware(ClosedAddresses),
        Middleware(BodyLimit),
        Middleware(SignInGate),
        Middleware(StaticGZip),
    ]


def exception_handlers() -> Mapping[Any, Any]:
    """For what the routes under /auth/ let out; the API has its own."""
    return {HTTPException: _page_for_http_error, CreditsError: _page_for_credits_error}


def _page_for_http_error(request: Request, error: HTTPException) -> Response:
    if not request.url.path.startswith("/auth/"):
        return problems.http_error(error)
    return form.notice("That did not work", str(error.detail), status=error.status_code)


def _page_for_credits_error(request: Request, error: CreditsError) -> Response:
    if not request.url.path.startswith("/auth/"):
        return problems.credits_error(error)
    return form.notice("That did not work", error.message, status=error.http_status)


def lifespan(settings: Settings) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Start and end of the program: the runtime, the jobs, the libraries that pages will ask for."""

    @asynccontextmanager
    async def running(app: Any) -> AsyncIterator[None]:  # noqa: ARG001 - Streamlit hands over the app
        try:
            runtime = await run_in_threadpool(_start, settings)
        except CreditsError as error:
            set_up_logs(settings.log_level)
            logger.critical("cannot start: %s", error.message)
            leave_out_traces()
            raise
        set_runtime(runtime)
        set_up_logs(settings.log_level)  # again: Streamlit sets up its own as it starts
        jobs = JobRunner(runtime)
        jobs.start()
        # Only pages need these: the API answers while they are imported.
        warming = asyncio.create_task(run_in_threadpool(_warm_up))
        logger.info("ready", extra={"mode": settings.mode, "address": settings.base_url})
        try:
            yield
        finally:
            await warming
            await run_in_threadpool(jobs.stop)
            set_runtime(None)
            await run_in_threadpool(runtime.close)

    return running


def _start(settings: Settings) -> Runtime:
    """The runtime, with the demo data of a first start.

    They are made before anybody is served: for some seconds they lock the demo people's accounts and move balances.
    """
    runtime = make_runtime(settings)
    simulator = runtime.stripe.simulator
    if runtime.server is not None and settings.demo:
        demo.seed(runtime.server.owner_dsn())
        if simulator is not None:
            demo_stripe.seed(simulator, runtime.server.owner_dsn(), f"{settings.base_url}/sim")
    if simulator is not None:
        secret = settings.stripe_webhook_secret or simulator.webhook_secret()
        simulator.configure_webhook(f"http://127.0.0.1:{settings.port}/api/credits/webhook", secret)
    return runtime


def _warm_up() -> None:
    """Import what pages need, and tell the collector to leave it alone: a rerun costs 2.5 times less CPU."""
    for library in ("pandas", "pyarrow", "plotly.graph_objects"):
        importlib.import_module(library)
    gc.collect()
    gc.freeze()
