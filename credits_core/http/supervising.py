"""For the staff that runs the program: operations alerts, jobs, the system's figures, the webhook inbox."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import JSONResponse

from credits_core import fulfillment, jobs, operations, retention
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import Text
from credits_core.http.models import Answer, Body
from credits_core.http.reading import Cursor, Limit
from credits_core.http.shapes import answer
from credits_core.http.spending import Id

router = APIRouter(prefix="/credits/admin", tags=["Operation"], route_class=DecimalRoute)

EventId = Annotated[str, Path(max_length=255, pattern=r"^[A-Za-z0-9_]+$", examples=["evt_1QabcDEF"])]
JobName = Annotated[str, Path(max_length=40, pattern=r"^[a-z-]+$", examples=["reconcile"])]
Outcome = Literal["processed", "ignored", "failed", "waiting"]


class Note(Body):
    note: Text | None = Field(default=None, examples=["The bank answers slowly; asked Stripe"])


class OperationsAlert(Answer):
    alert_id: int
    kind: str = Field(examples=["job_late"])
    about: str = Field(examples=["reconcile"])
    sentence: str = Field(description="What is wrong, as it is told by e-mail and chat.")
    evidence: dict[str, Any]
    account_id: int | None
    opened_at: str
    resolved_at: str | None = Field(description="null: still so. Alerts close by themselves.")
    acknowledged_at: str | None
    acknowledged_by: str | None
    note: str | None


class OperationsAlerts(Answer):
    items: list[OperationsAlert]
    next_cursor: str | None


class Job(Answer):
    job: str = Field(examples=["reconcile"])
    does: str
    every_seconds: int
    state: Literal["running", "failed", "late", "waiting", "never"]


class Jobs(Answer):
    items: list[Job]


class JobRun(Answer):
    job: str
    ran: bool = Field(description="false: another process runs it at this moment.")
    outcome: dict[str, Any] | None = Field(examples=[{"accounts": 40, "differences": 0}])


class System(Answer):
    postgres: str
    catalog: str | None
    migration: str | None
    database_bytes: int
    accounts: int
    transactions: int
    purchases_in_review: int
    referrals_held: int
    events_waiting: int
    messages_waiting: int
    last_verify: dict[str, Any] | None
    last_reconciliation: dict[str, Any] | None


class StripeEvent(Answer):
    event_id: str
    type: str = Field(examples=["checkout.session.completed"])
    livemode: bool
    object_id: str | None
    received_at: str
    deliveries: int
    outcome: Outcome
    error: str | None
    processed_at: str | None
    pruned_at: str | None = Field(description="Since when its payload is no longer kept.")


class StripeEvents(Answer):
    items: list[StripeEvent]
    next_cursor: str | None
    types: list[str] = Field(description="Types that came lately, for the filter.")


class Kept(Answer):
    what: Literal["messages", "stripe_events"]
    days: int
    updated_at: str
    updated_by_name: str | None


class Retention(Answer):
    items: list[Kept]


class Keep(Body):
    what: Literal["messages", "stripe_events"] = Field(examples=["messages"])
    days: int = Field(ge=35, le=3650, strict=True, examples=[180])
    reason: Text = Field(min_length=3, examples=["Asked for by the auditor"])


class StripeEventDetail(StripeEvent):
    payload: dict[str, Any] = Field(description="As Stripe sent it, its secrets hidden.")


@router.get("/alerts", response_model=OperationsAlerts)
def alerts(
    caller: Called,
    open_only: Annotated[bool, Query(description="false: also those that are over.")] = True,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """What the staff should look at, newest first: late jobs, failing payments, queues, differences. For staff."""
    found = operations.operations_alerts(
        caller.db, caller.identity, open_only=open_only, limit=limit, cursor=cursor
    )
    return answer(found)


@router.post("/alerts/{alert_id}/acknowledge", response_model=OperationsAlert)
def acknowledge(caller: Called, alert_id: Id, body: Note | None = None) -> JSONResponse:
    """Say that somebody is at it; the first one stays. For staff."""
    note = body.note if body else None
    return answer(operations.acknowledge(caller.db, caller.identity, alert_id, note))


@router.get("/jobs", response_model=Jobs)
def list_jobs(caller: Called) -> JSONResponse:
    """Every background job with its last run and when it is due. For staff."""
    return answer({"items": jobs.overview(caller.db, caller.identity)})


@router.post("/jobs/{job}/run", response_model=JobRun)
def run_job(caller: Called, job: JobName) -> JSONResponse:
    """Run a job now, whether it is due or not; answers when it is over. For administrators."""
    outcome = jobs.run_now(caller.runtime, caller.identity, job)
    return answer({"job": job, "ran": outcome is not None, "outcome": outcome})


@router.get("/system", response_model=System)
def system(caller: Called) -> JSONResponse:
    """Versions, figures of the database, what waits in each queue, the last checks. For administrators."""
    return answer(operations.system_status(caller.db, caller.identity))


@router.get("/retention", response_model=Retention)
def kept(caller: Called) -> JSONResponse:
    """For how many days finished messages and the payloads of processed Stripe events are kept. For staff."""
    return answer(retention.retention(caller.db, caller.identity))


@router.post("/retention", response_model=Retention)
def keep(caller: Called, body: Keep) -> JSONResponse:
    """Keep one of them for another time, with a reason; what is older goes with the next run of the job. For super admins."""
    return answer(retention.set_retention(caller.db, caller.identity, body.what, body.days, body.reason))


@router.get("/stripe-events", response_model=StripeEvents)
def stripe_events(
    caller: Called,
    type: Annotated[str | None, Query(max_length=100)] = None,
    outcome: Outcome | None = None,
    search: Annotated[str | None, Query(max_length=255, description="Id of an event or its object.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """The webhook inbox, newest first. For administrators."""
    found = operations.stripe_events(
        caller.db,
        caller.identity,
        type=type,
        outcome=outcome,
        search=search,
        limit=limit,
        cursor=cursor,
    )
    return answer(found)


@router.get("/stripe-events/{event_id}", response_model=StripeEventDetail)
def stripe_event(caller: Called, event_id: EventId) -> JSONResponse:
    """One event with its payload. For administrators."""
    return answer(operations.stripe_event(caller.db, caller.identity, event_id))


@router.post("/stripe-events/{event_id}/process", response_model=StripeEventDetail)
def process_again(caller: Called, event_id: EventId) -> JSONResponse:
    """Process an event once more. Harmless: Stripe's object is read anew. For administrators."""
    return answer(fulfillment.process_again(caller.runtime, caller.identity, event_id))
