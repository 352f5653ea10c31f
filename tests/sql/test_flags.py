"""Feature flags (I6): a staged roll-out that only grows, named accounts, and who may switch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from credits_core import errors
from tests.sql.conftest import Call, Person, Rows, refused


@pytest.fixture
def flag(service: Call) -> Call:
    """`flag(percent=25)`: the flag `new_chart`, on for so many."""
    return lambda **what: service(
        "set_flag", key="new_chart", description="Another chart", **{"on": True} | what
    )


def has(somebody: Person) -> bool:
    return bool(somebody.call("flags")["flags"]["new_chart"])


def test_raising_the_per_cent_only_adds_accounts(holder: Callable[..., Person], flag: Call) -> None:
    people = [holder() for _ in range(30)]
    before: set[int] = set()
    for percent in (0, 10, 35, 60, 100):
        flag(percent=percent)
        now = {somebody.account_id for somebody in people if has(somebody)}
        assert before <= now
        before = now
    assert len(before) == 30
    flag(percent=100, on=False)
    assert not any(has(somebody) for somebody in people)


def test_a_per_cent_means_about_so_many_and_others_for_another_flag(owner_sql: Callable[..., Rows]) -> None:
    """So that the same accounts are not first with everything."""
    shares = owner_sql(
        "select count(*) filter (where credits._flag_bucket('one', n) < 20) as one,"
        " count(*) filter (where credits._flag_bucket('two', n) < 20) as two,"
        " count(*) filter (where credits._flag_bucket('one', n) < 20 and credits._flag_bucket('two', n) < 20) as both,"
        " min(credits._flag_bucket('one', n)) as least, max(credits._flag_bucket('one', n)) as most"
        " from generate_series(1, 10000) as n"
    )[0]
    assert 1850 < shares["one"] < 2150 and 1850 < shares["two"] < 2150 and 300 < shares["both"] < 500
    assert (shares["least"], shares["most"]) == (0, 99)


def test_named_accounts_go_before_the_per_cent_and_off_is_off(
    holder: Callable[..., Person], flag: Call, service: Call
) -> None:
    anna, ben = holder(), holder()
    flag(percent=0)
    service("set_flag_account", key="new_chart", account_id=anna.account_id, on=True)
    assert (has(anna), has(ben)) == (True, False)
    flag(percent=100)
    service("set_flag_account", key="new_chart", account_id=ben.account_id, on=False)
    assert (has(anna), has(ben)) == (True, False)
    service("set_flag_account", key="new_chart", account_id=ben.account_id)
    assert has(ben)
    flag(on=False)
    assert not has(anna)


def test_the_reach_of_a_change_is_known_before_it_is_made(
    holder: Callable[..., Person], flag: Call, service: Call
) -> None:
    people = [holder() for _ in range(12)]
    flag(percent=0)
    service("set_flag_account", key="new_chart", account_id=people[0].account_id, on=True)
    told = service("flag_reach", key="new_chart", percent=50)
    assert told["now"] == 1
    assert not has(people[1]) or not has(people[2])
    flag(percent=50)
    assert sum(has(somebody) for somebody in people) == told["then"] <= told["accounts"] == 12
    assert service("flag_reach", key="new_chart", on=False)["then"] == 0


def test_administrators_switch_and_every_change_is_on_record(
    person: Callable[..., Person], holder: Callable[..., Person], owner_sql: Callable[..., Rows]
) -> None:
    """I5: with what it was before. Others neither switch nor see who is named."""
    anna, admin = holder(), person("admin")
    change = {"key": "new_chart", "description": "Another chart", "percent": 5}
    for role in ("holder", "finance"):
        assert isinstance(refused(partial(person(role).call, "set_flag", **change)), errors.NotAllowed)
        named = partial(person(role).call, "set_flag_account", key="invitations", account_id=anna.account_id)
        assert isinstance(refused(named), errors.NotAllowed)
    assert isinstance(refused(lambda: anna.call("flag_list")), errors.NotAllowed)
    admin.call("set_flag", **change)
    admin.call("set_flag", key="new_chart", percent=10)
    rows = owner_sql("select actor, detail from credits.audit_log where action = 'set_flag' order by id")
    assert [row["detail"]["after"]["percent"] for row in rows] == [5, 10]
    assert rows[1]["detail"]["before"] == {"on": False, "percent": 5, "description": "Another chart"}
    assert {row["actor"] for row in rows} == {str(admin.identity.claims["sub"])}
    for wrong in ({"key": "A b"}, {"percent": 101}, {"percent": -1}, {"key": "other", "description": None}):
        assert isinstance(refused(partial(admin.call, "set_flag", **change | wrong)), errors.InvalidRequest)
    missing = partial(admin.call, "set_flag_account", key="nope", account_id=anna.account_id, on=True)
    assert isinstance(refused(missing), errors.NotFound)
