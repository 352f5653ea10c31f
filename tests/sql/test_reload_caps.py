"""Caps of auto-reload (A10) whatever the clocks do: midnight and ends of months in the owner's zone, summer time, jumps ahead and
back, outages that last over midnight, terms and zones that change in between."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.sql.conftest import Call, Clock, Person, paid
from tests.sql.test_auto_reload import agree

ZONES = ("UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati")


@pytest.mark.parametrize("seed", (19, 26, 28, 33, 36, 37))
def test_no_day_and_no_month_goes_beyond_its_cap(
    seed: int, holder: Callable[..., Person], clock: Clock, service: Call
) -> None:
    """Charges counted by the moment the money was taken, by the owner's calendar: never above what was agreed."""
    rng = random.Random(seed)
    zone = ZONES[seed % len(ZONES)]
    clock.set(datetime(2027, rng.choice([1, 2, 3, 10]), 27, 21, tzinfo=UTC))
    anna = holder("1.00")
    anna.call("set_account_settings", time_zone=zone)
    day_cap, month_cap = rng.choice([(2400, 6000), (5000, 5000), (3000, 20_000)])
    agree(anna, cap_day_cents=day_cap, cap_month_cents=month_cap)
    days: Counter[str] = Counter()
    months: Counter[str] = Counter()
    for _ in range(120):
        # mostly little steps over midnight; sometimes a clock that is set back, or a machine that slept
        clock.advance(minutes=rng.choice([7, 31, 59, 180, 61 * 12, -45, 60 * 26]))
        for one in service("claim_auto_reloads", livemode=False, lease_seconds=600)["items"]:
            outcome = rng.choice(["succeeded", "succeeded", "outage", "declined", "asks"])
            if outcome == "outage":
                service("finish_auto_reload", attempt_id=one["attempt_id"], outcome="outage")
                continue
            if outcome == "asks":  # the owner confirms a while later
                service("finish_auto_reload", attempt_id=one["attempt_id"], outcome="authentication_required")
                clock.advance(minutes=rng.choice([1, 90, 1500]))
                outcome = "paid later"
            if outcome == "declined":
                service("finish_auto_reload", attempt_id=one["attempt_id"], outcome="declined")
            else:
                purchase = service("purchase", purchase_id=one["purchase_id"])
                service("fulfill_purchase", session=paid(purchase))
                if outcome == "succeeded":
                    service("finish_auto_reload", attempt_id=one["attempt_id"], outcome="succeeded")
                local = clock.now.astimezone(ZoneInfo(zone))
                if (
                    outcome == "succeeded"
                ):  # what the owner paid in person is beyond nothing, but counts for what follows
                    assert days[f"{local:%Y-%m-%d}"] + one["amount_cents"] <= day_cap, local
                    assert months[f"{local:%Y-%m}"] + one["amount_cents"] <= month_cap, local
                days[f"{local:%Y-%m-%d}"] += one["amount_cents"]
                months[f"{local:%Y-%m}"] += one["amount_cents"]
        if anna.call("auto_reload")["state"] == "paused":
            anna.call("switch_auto_reload", action="resume")
        if rng.random() < 0.95 and anna.available > 2_000_000:
            anna.use("call", rng.randint(1, anna.available // 150_000) * 60)
        if rng.random() < 0.1:
            agree(
                anna,
                cap_day_cents=day_cap,
                cap_month_cents=month_cap,
                threshold_micros=rng.choice([4, 5, 9]) * 1_000_000,
            )
    assert sum(days.values()) > day_cap
