"""How long credits last (G6): a date with a range, on made-up histories, and a month-old forecast against what happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from tests.sql.conftest import Call, Clock, Person, refused

CREDIT = 1_000_000
WEEKDAYS_ONLY = [10, 10, 10, 10, 10, 0, 0]


@pytest.fixture
def spent(holder: Callable[..., Person], clock: Clock, set_price: Call) -> Callable[..., Person]:
    """`spent([10, 0, 3], "50")`: somebody who spent so many credits a day up to yesterday, and has 50 left today."""
    clock.advance(days=-100)  # the price must be there before the use
    set_price("call", {"unit": "call", "price_micros": CREDIT})
    clock.advance(days=100)

    def live(days: Sequence[int], left: str) -> Person:
        anna = holder(str(sum(days) + int(left)))
        today = clock.now
        for ago, credits in enumerate(reversed(days), 1):
            for _ in range(credits):
                anna.use("call", 1, occurred_at=today - timedelta(days=ago))
        return anna

    return live


def forecast(anna: Person, **more: object) -> dict[str, Any]:
    return dict(anna.call("run_out_forecast", **more))


def test_without_any_use_there_is_no_date(holder: Callable[..., Person], clock: Clock) -> None:
    """G6: nothing to go by is said, not guessed; nor is a range."""
    told = forecast(holder("10.00"))
    assert (told["reason"], told["days"], told["date"], told["soonest_date"], told["latest_date"]) == (
        "no_use", None, None, None, None,
    )  # fmt: skip
    assert told["past"] is None
    assert {day["expected_micros"] for day in told["path"]} == {10 * CREDIT}


def test_the_same_every_day_ends_on_one_day(spent: Callable[..., Person], clock: Clock) -> None:
    """G6: use that never varies leaves nothing in doubt."""
    told = forecast(spent([2] * 28, "20"))
    assert (told["reason"], told["daily_micros"], told["trend"]) == ("weeks", 2 * CREDIT, "steady")
    assert told["soonest_days"] == told["days"] == told["latest_days"] == 10
    assert told["date"] == (clock.now.date() + timedelta(days=10)).isoformat()
    assert [day["expected_micros"] for day in told["path"][8:11]] == [2 * CREDIT, 0, 0]


def test_a_few_days_of_use_give_a_wide_range(spent: Callable[..., Person]) -> None:
    """G6: below two weeks the average since the first use, half and double."""
    told = forecast(spent([3, 3, 3], "30"))
    assert (told["reason"], told["basis_days"]) == ("average", 3)
    assert (told["soonest_days"], told["days"], told["latest_days"]) == (5, 10, 20)


def test_weekends_are_expected_to_be_quiet(spent: Callable[..., Person]) -> None:
    """G6: the clock stands on a Monday; 50 credits are the five working days, and the weekend costs nothing."""
    told = forecast(spent(WEEKDAYS_ONLY * 4, "50"))
    assert told["days"] == 7  # until the next Monday, when the first call is not covered
    assert forecast(spent(WEEKDAYS_ONLY * 4, "49"))["days"] == 4  # during Friday


def test_bursts_make_the_range_wide(spent: Callable[..., Person]) -> None:
    """G6: the same sum in bursts and evenly: same middle, and the bursts may end it much sooner or later."""
    even = forecast(spent([2] * 84, "60"))
    bursts = forecast(spent(([0] * 20 + [42]) * 4, "60"))
    assert even["days"] == 30
    assert abs(bursts["days"] - even["days"]) <= 7
    assert bursts["soonest_days"] < 20
    assert bursts["latest_days"] > 40


def test_growing_use_is_followed(spent: Callable[..., Person]) -> None:
    """G6: each week a credit a day more; going on like that, what comes lies within the range, and the plain average does not."""
    told = forecast(spent([week for week in range(2, 10) for _ in range(7)], "300"))
    assert told["trend"] == "rising"
    left, came = 300, 0
    while (today := 10 + came // 7) <= left:
        left, came = left - today, came + 1
    assert told["soonest_days"] <= came <= told["latest_days"]
    assert abs(told["days"] - came) <= 1
    assert came < 300 / (sum(range(2, 10)) / 8) - 20


def test_use_that_dies_out_lasts(spent: Callable[..., Person]) -> None:
    """G6: ever less each week, then nothing: not a date in the near, as an average would say."""
    told = forecast(spent([week for week in range(8, 0, -1) for _ in range(7)], "60"))
    assert told["trend"] == "falling"
    assert told["days"] is None
    assert told["latest_date"] is None


def test_credits_that_expire_first_count_as_gone(
    spent: Callable[..., Person], give: Call, clock: Clock
) -> None:
    """G6, B9: of 70 credits 50 end in ten days, when 20 of them are used: 20 + 20 last 20 days, not 35."""
    anna = spent([2] * 28, "20")
    assert forecast(anna)["days"] == 10
    give(anna, "50.00", expires_at=clock.now + timedelta(days=9, hours=12))
    assert forecast(anna)["days"] == 20


def test_last_months_forecast_is_held_against_what_happened(
    spent: Callable[..., Person], clock: Clock
) -> None:
    """G6: a month ago 2 credits a day and 60 in hand; since then 3 a day: above the range, and used up in 20 days, not 30."""
    anna = spent([2] * 27, "62")
    for _ in range(2):
        anna.use("call", 1)
    clock.advance(days=1)
    began = clock.now.date()
    assert forecast(anna)["days"] == 30
    for _ in range(20):
        for _ in range(3):
            anna.use("call", 1)
        clock.advance(days=1)
    clock.advance(days=10)
    past = forecast(anna)["past"]
    assert (past["from"], past["had_micros"]) == (began.isoformat(), 60 * CREDIT)
    assert (past["expected_micros"], past["spent_micros"], past["was_within"]) == (
        60 * CREDIT,
        60 * CREDIT,
        True,
    )
    assert past["lasts"]["date"] == (began + timedelta(days=30)).isoformat()
    assert past["used_up_on"] == (began + timedelta(days=19)).isoformat()


def test_a_forecast_that_was_wrong_is_called_so(
    spent: Callable[..., Person], give: Call, clock: Clock
) -> None:
    """G6: twice the expected use, paid from credits bought later."""
    anna = spent([2] * 28, "60")
    give(anna, "60.00")
    for _ in range(30):
        for _ in range(4):
            anna.use("call", 1)
        clock.advance(days=1)
    past = forecast(anna)["past"]
    assert (past["expected_micros"], past["spent_micros"], past["was_within"]) == (
        60 * CREDIT,
        120 * CREDIT,
        False,
    )


def test_days_are_those_of_the_asked_zone(spent: Callable[..., Person], clock: Clock) -> None:
    """G6: at 09:00 UTC it is still Monday in Honolulu at 23:00 of Sunday; the date is the one on the wall."""
    told = forecast(spent([2] * 28, "20"), time_zone="Pacific/Honolulu")
    assert date.fromisoformat(told["path"][0]["day"]) == clock.now.date()
    assert told["time_zone"] == "Pacific/Honolulu"


def test_only_the_owner_and_staff_see_it(
    holder: Callable[..., Person], person: Callable[..., Person]
) -> None:
    """I4: other people's account is refused; finance may look."""
    anna, ben = holder("5.00"), holder("5.00")
    assert refused(lambda: forecast(ben, account_id=anna.account_id)).code in ("not_allowed", "not_found")
    assert forecast(person("finance"), account_id=anna.account_id)["available_micros"] == 5 * CREDIT
