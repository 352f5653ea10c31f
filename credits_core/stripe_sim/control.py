"""The control plane: what tests and developers do to the simulated world that no API call does.

Every route is a POST with a JSON body (or a GET) below `/sim/control/`, from this machine only: `events`, `clock`,
`fail-next`, `webhooks` and `webhooks/{deliver|drop|duplicate|delay|shuffle}` here, cardholders and banks in
`control_money`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from credits_core.stripe_sim import control_money
from credits_core.stripe_sim.control_money import whole
from credits_core.stripe_sim.errors import StripeFault
from credits_core.stripe_sim.simulator import FAILURES, Simulator
from credits_core.stripe_sim.store import Obj

Body = dict[str, Any]


def events(sim: Simulator, base: str, _body: Body) -> Obj:
    """All events, oldest first."""
    with sim.change(base) as ctx:
        return {"data": ctx.store.find("event", {})[::-1]}


def clock(sim: Simulator, base: str, body: Body) -> Obj:
    """`{"advance_seconds": n}` moves the clock forward and does what falls due; answers `{"now": seconds}`."""
    seconds = whole(body.get("advance_seconds", 0), "advance_seconds")
    sim.store.set_setting("clock_offset_seconds", sim.store.setting("clock_offset_seconds", 0) + seconds)
    with sim.change(base) as ctx:
        return {"now": ctx.store.now()}


def fail_next(sim: Simulator, _base: str, body: Body) -> Obj:
    """`{"kind": "500"|"429"|"lost"|"timeout", "count"?, "seconds"?, "path"?}`: see Simulator.fail_next."""
    kind = str(body.get("kind"))
    if kind not in FAILURES:
        raise StripeFault(f"kind must be one of {', '.join(FAILURES)}.", param="kind")
    count = whole(body.get("count", 1), "count")
    sim.fail_next(kind, count, float(body.get("seconds", 30)), str(body.get("path", "")))
    return {"kind": kind, "count": count}


def configure(sim: Simulator, _base: str, body: Body) -> Obj:
    """`{"url", "secret"?, "mode": "auto"|"manual"}`; `{"url": null}` stops recording deliveries."""
    url, mode = body.get("url"), body.get("mode", "auto")
    if url is None:
        sim.store.set_setting("webhook", None)
        return {"url": None}
    if not str(url).startswith(("http://", "https://")) or mode not in ("auto", "manual"):
        raise StripeFault("url must be an http(s) address and mode auto or manual.", param="url")
    secret = str(body.get("secret") or sim.webhook_secret())
    sim.configure_webhook(str(url), secret, mode=mode)
    return {"url": url, "secret": secret, "mode": mode}


def deliver(sim: Simulator, base: str, body: Body) -> Obj:
    """Send pending deliveries (`event`, `type`, `limit` choose) now; answers what came back for each."""
    with sim.change(base):
        chosen = _pending(sim, body)
    return {"data": [sent for number, _ in chosen if (sent := sim.sender.send(number))]}


def drop(sim: Simulator, base: str, body: Body) -> Obj:
    """Never send the chosen pending deliveries."""
    return _update(sim, base, body, "update deliveries set status = 'dropped' where id = ?")


def duplicate(sim: Simulator, base: str, body: Body) -> Obj:
    """Queue the chosen events again, delivered already or not, `times` (1) more times each."""
    times = whole(body.get("times", 1), "times")
    with sim.change(base) as ctx:
        numbers = {event: None for _, event in _pending(sim, body, pending_only=False)}
        for event in [event for event in numbers for _ in range(times)]:
            ctx.enqueue(event)
    return {"data": [{"event": event, "times": times} for event in numbers]}


def delay(sim: Simulator, base: str, body: Body) -> Obj:
    """Hold the chosen deliveries back for `seconds` of the simulator's clock."""
    seconds = whole(body.get("seconds", 3600), "seconds")
    moment = sim.store.now() + seconds
    return _update(sim, base, body, "update deliveries set not_before = ?2 where id = ?1", moment)


def shuffle(sim: Simulator, base: str, body: Body) -> Obj:
    """Put the pending deliveries into a random order, the same one for the same `seed`."""
    order = random.Random(body.get("seed", 0))  # noqa: S311  a repeatable order, not a secret
    with sim.change(base) as ctx:
        chosen = _pending(sim, body)
        for number, _ in chosen:
            ctx.store.db.execute("update deliveries set position = ? where id = ?", (order.random(), number))
    return {"data": [{"event": event} for _, event in _pending(sim, body)]}


def _pending(sim: Simulator, body: Body, *, pending_only: bool = True) -> list[tuple[int, str]]:
    text = (
        "select d.id, d.event from deliveries d join objects e on e.id = d.event where"
        " (?1 is null or d.event = ?1) and (?2 is null or json_extract(e.body, '$.type') = ?2)"
        " and (not ?3 or d.status = 'pending') order by d.position limit ?4"
    )
    found = sim.store.db.execute(
        text, (body.get("event"), body.get("type"), pending_only, body.get("limit", -1))
    ).fetchall()
    return [(int(number), str(event)) for number, event in found]


def _update(sim: Simulator, base: str, body: Body, statement: str, *values: int) -> Obj:
    with sim.change(base) as ctx:
        chosen = _pending(sim, body)
        ctx.store.db.executemany(statement, [(number, *values) for number, _ in chosen])
    return {"data": [{"event": event} for _, event in chosen]}


Action = Callable[..., Obj]
# fmt: off
ROUTES: dict[str, Action] = {
    **control_money.ROUTES,
    "events": events, "clock": clock, "fail-next": fail_next, "webhooks": configure,
    "webhooks/deliver": deliver,
    "webhooks/drop": drop, "webhooks/duplicate": duplicate, "webhooks/delay": delay,
    "webhooks/shuffle": shuffle,
}
# fmt: on
