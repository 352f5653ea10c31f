"""A business of some size for measurements of pages: a busy account, many others, 90 days, made by the real functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from credits_core.db.owner import Connection, connect, run_script
from credits_core.demo import _SETUP as DEMO_FUNCTIONS
from tests.bench.clients import SERVICE

DAYS = 90
BATCH = 1_000
CLOCK = """create or replace function credits._now() returns timestamptz language sql volatile set search_path = '' as
$$ select coalesce(nullif(current_setting('credits.demo_clock', true), '')::timestamptz, clock_timestamp()) $$"""
# One batch of a day: events of some accounts, spread over the ten minutes before the clock.
EVENTS = """
select credits.use_batch((select jsonb_agg(jsonb_build_object(
  'operation', o.codes[1 + floor(power(random(), 3) * cardinality(o.codes))::int], 'quantity', 1,
  'account_id', a.ids[1 + floor(power(random(), 2) * cardinality(a.ids))::int], 'idempotency_key', %(key)s || n,
  'occurred_at', credits._now() - random() * interval '10 minutes')) from generate_series(1, %(batch)s) as n))
  from (select array_agg(code order by code) as codes from credits.operations as o
         where exists (select from credits.prices as p where p.operation_id = o.id and p.catalog = 'ai_services')
           and measure <> 'seconds') as o,
       (select array_agg(id) as ids from credits.accounts where id = any (%(accounts)s::bigint[])) as a"""
CALLS = """
select credits.start_call('voice_call', %(key)s || n, credits._now() - interval '5 minutes',
                          credits._now() - interval '5 minutes' + random() * interval '4 minutes',
                          '+1555010' || lpad(n::text, 4, '0'), null, 'hangup', null, %(account)s::bigint)
  from generate_series(1, %(calls)s) as n"""
BUY = """
select pg_temp.buy(id, %(key)s || id, (array['starter', 'pro', 'enterprise'])[1 + (id %% 3)::int], random() < 0.9)
  from unnest(%(accounts)s::bigint[]) as id"""


def make(owner_dsn: str, *, events: int, of_one: int, accounts: int) -> None:
    """So many usage events, `of_one` of them on the account of holder@demo.test; purchases every day, some unpaid."""
    now = datetime.now(UTC)
    with connect(owner_dsn, autocommit=True) as owner:
        owner.execute("set synchronous_commit = off")
        owner.execute("select set_config('request.jwt.claims', %s, false), setseed(0.42)", (SERVICE,))
        clock = owner.execute("select pg_get_functiondef('credits._now'::regproc)").fetchone()
        assert clock is not None
        owner.execute(CLOCK)
        run_script(owner, DEMO_FUNCTIONS.read_text("utf-8"))
        _live(owner, now, events, of_one, _people(owner, now, accounts))
        run_script(owner, clock[0])
        owner.execute("select set_config('credits.demo_clock', '', false)")
        owner.execute("vacuum analyze")


def _people(owner: Connection, now: datetime, accounts: int) -> tuple[int, list[int]]:
    """The busy account, and the others; each has credits enough for all of it."""
    _set_clock(owner, now - timedelta(days=DAYS))
    owner.execute(
        "select credits.create_demo_user('account' || n || '@demo.test', 'Account ' || n, 'holder', true)"
        " from generate_series(1, %s) as n",
        (accounts,),
    )
    rows = owner.execute("select account_id, email from credits.profiles order by 1").fetchall()
    ids = {email: account for account, email in rows}
    owner.execute(
        "select credits.adjust(account_id, 20000000000000, 'To begin with', 'begin') from credits.profiles"
    )
    busy = ids.pop("holder@demo.test")
    return busy, list(ids.values())


def _live(owner: Connection, now: datetime, events: int, of_one: int, people: tuple[int, list[int]]) -> None:
    busy, others = people
    for day in range(DAYS, 0, -1):
        begin = now - timedelta(days=day)
        for whose, total in [([busy], of_one), (others, events - of_one)]:
            wanted = total // DAYS
            for first in range(0, wanted, BATCH):
                _set_clock(owner, begin + timedelta(seconds=60_000 * first / max(wanted, 1)))
                key, size = f"{day}-{len(whose)}-{first}-", min(BATCH, wanted - first)
                owner.execute(EVENTS, {"key": key, "batch": size, "accounts": whose})
        _set_clock(owner, begin + timedelta(hours=18))
        owner.execute(CALLS, {"key": f"call-{day}-", "calls": 50, "account": busy})
        owner.execute(BUY, {"key": f"buy-{day}-", "accounts": [busy, *others[day::20]]})
        owner.execute("select credits.rollup_usage()")


def _set_clock(owner: Connection, at: datetime) -> None:
    owner.execute("select set_config('credits.demo_clock', %s, false)", (at.isoformat(),))
