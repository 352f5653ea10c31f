"""Demo data for the embedded mode: 40 accounts and 90 days, made by calling the real functions.

Everything it makes is marked: e-mail addresses end in @demo.test and the profiles say `is_demo`. It never runs on
Supabase: it needs the embedded server's owner and `create_demo_user`, which exists only there.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from credits_core.db.owner import Connection, connect, run_script

ACCOUNTS = 40
DAYS = 90
INVITED = 4  # of the companies, by the demo holder
_SETUP = Path(__file__).with_name("demo.sql")
_SERVICE = json.dumps({"role": "service_role", "actor": "demo"})
_NAMES = (
    "Amber Hotels,Birch Clinics,Blue Harbor Travel,Cedar Dental,Clearwater Legal,Copper Kettle Cafes,Delta Logistics,"
    "Driftwood Rentals,Elm Street Books,Falcon Couriers,Fernhill Estates,Granite Fitness,Green Valley Farms,"
    "Harvest Kitchen,Hilltop Schools,Indigo Events,Ivory Pianos,Juniper Care,Kestrel Insurance,Lakeside Motors,"
    "Lantern Studios,Maple Bakery,Meadow Vets,Northgate Homes,Oak & Iron Works,Orchard Foods,Pinecrest Labs,"
    "Quarry Tools,Redwood Staffing,Riverbend Spa,Saffron Eats,Silver Birch Bank,Stonebridge Tax,Summit Outdoors,"
    "Thistle Flowers,Willow Design"
).split(",")

logger = logging.getLogger(__name__)


def seed(owner_dsn: str, *, now: datetime | None = None) -> int:
    """Make the demo data unless the ledger has something in it already; answers the number of transactions made.

    One transaction as the schema's owner: it replaces the clock `credits._now()` for itself alone and puts it back
    before the commit, so no other connection ever sees another time.
    """
    now = now or datetime.now(UTC)
    with connect(owner_dsn) as owner:
        owner.execute("select pg_advisory_xact_lock(hashtext('credits.demo'))")
        if owner.execute("select exists (select from credits.transactions)").fetchone() == (True,):
            return 0
        owner.execute("select set_config('request.jwt.claims', %s, true), setseed(0.42)", (_SERVICE,))
        clock = owner.execute("select pg_get_functiondef('credits._now'::regproc)").fetchone()
        assert clock is not None
        owner.execute(
            "create or replace function credits._now() returns timestamptz language sql volatile set search_path = '' as "
            "$$ select coalesce(nullif(current_setting('credits.demo_clock', true), '')::timestamptz, clock_timestamp()) $$"
        )
        run_script(owner, _SETUP.read_text(encoding="utf-8"))
        _live(owner, now)
        # What was told along the way is in the app; nobody gets 90 days of it by e-mail.
        owner.execute("delete from credits.messages")
        owner.execute(
            "update credits.alerts set read_at = created_at where created_at < %s", (now - timedelta(days=7),)
        )
        run_script(owner, clock[0])
        owner.execute("select set_config('credits.demo_clock', '', true)")
        made = owner.execute("select count(*) from credits.transactions").fetchone()
        owner.execute("select credits.rollup_usage()")
    with connect(owner_dsn, autocommit=True) as owner:
        owner.execute("analyze")
    assert made is not None
    logger.info("demo data made", extra={"accounts": ACCOUNTS, "days": DAYS, "transactions": made[0]})
    return int(made[0])


def _live(owner: Connection, now: datetime) -> None:
    """The four demo people and the companies, each with its own pace; the demo holder is the busiest small customer."""
    start = (now - timedelta(days=DAYS)).replace(hour=0, minute=0, second=0, microsecond=0)
    people = [
        row[0] for row in owner.execute("select account_id from credits.profiles where is_demo order by 1")
    ]
    owner.execute("select pg_temp.set_clock(%s)", (start,))
    owner.execute("select pg_temp.set_costs(%s)", (people[0],))
    owner.execute("select pg_temp.set_terms(%s)", (start,))
    companies = _NAMES[: ACCOUNTS - len(people)]
    invited: list[int] = []
    for number, name in enumerate(companies):
        email = f"{name.split()[0].lower()}{number + 1:02d}@demo.test"
        joined = start + timedelta(days=number * 7 % (2 * DAYS // 3))  # new customers come all the time
        if number >= len(companies) - INVITED:
            joined = now - timedelta(days=2 * (len(companies) - number))
        owner.execute("select pg_temp.set_clock(%s)", (joined,))
        row = owner.execute(
            "select credits.create_demo_user(%s, %s, 'holder', true) ->> 'account_id'", (email, name)
        ).fetchone()
        assert row is not None
        if number >= len(companies) - INVITED:
            invited.append(int(row[0]))
            continue
        owner.execute(
            "select pg_temp.live(%s::bigint, %s, %s, %s::numeric)",
            (int(row[0]), joined, now, 0.5 + (number * 7 % 11) * 0.4),
        )
    holder = owner.execute(
        "select account_id from credits.profiles where email = 'holder@demo.test'"
    ).fetchone()
    if holder is not None:
        owner.execute("select pg_temp.live(%s::bigint, %s, %s, 8)", (holder[0], start, now))
        owner.execute("select pg_temp.set_clock(%s)", (now - timedelta(minutes=50),))
        owner.execute(
            "select credits.adjust(%s, 2000000, 'Welcome credit of the demo', 'demo-welcome')", (holder[0],)
        )
        _invitations(owner, now, int(holder[0]), invited)


def _invitations(owner: Connection, now: datetime, holder: int, invited: list[int]) -> None:
    """The last companies came by the holder's code; all but the newest have bought, in the last hour."""
    for number, account in enumerate(invited):
        owner.execute("select pg_temp.set_clock(%s)", (now - timedelta(days=1, hours=number),))
        owner.execute("select pg_temp.invite(%s, %s)", (holder, account))
    for number, account in enumerate(invited[:-1]):
        owner.execute("select pg_temp.set_clock(%s)", (now - timedelta(minutes=45 - 10 * number),))
        owner.execute("select pg_temp.first_purchase(%s)", (account,))
