"""Feature flags (I6) and the audit trail (I5) over HTTP."""

from __future__ import annotations

from tests.http.answers import Answers
from tests.http.conftest import ADMIN, HOLDER, Api, problem


def about_governing(holder: Api, admin: Api) -> Answers:
    """One good answer of every endpoint about flags and the audit trail."""
    return {
        ("POST", "/credits/admin/flags/{key}"): admin.post(
            "admin/flags/new_chart", {"description": "Another chart", "on": True, "percent": 25}
        ),
        ("POST", "/credits/admin/flags/{key}/accounts"): admin.post(
            "admin/flags/new_chart/accounts", {"account": HOLDER, "on": True}
        ),
        ("GET", "/credits/admin/flags"): admin.get("admin/flags"),
        ("GET", "/credits/flags"): holder.get("flags"),
        ("GET", "/credits/admin/audit"): admin.get("admin/audit", action="set_flag", actor="Demo Admin"),
    }


def test_a_flag_from_its_making_to_the_account_and_the_trail(holder: Api, admin: Api) -> None:
    answers = about_governing(holder, admin)
    assert answers["GET", "/credits/flags"].json()["flags"]["new_chart"] is True
    admin.post("admin/flags/new_chart/accounts", {"account": HOLDER, "on": False})
    assert holder.get("flags").json()["flags"]["new_chart"] is False
    (row,) = answers["GET", "/credits/admin/audit"].json()["items"]
    assert (row["who"]["email"], row["detail"]["key"], row["detail"]["before"]) == (ADMIN, "new_chart", None)
    (named, *_) = admin.get("admin/audit", account=HOLDER).json()["items"]
    assert (named["account_email"], named["detail"]) == (HOLDER, {"key": "new_chart", "on": False})


def test_bad_input_is_a_sentence(holder: Api, admin: Api) -> None:
    assert problem(holder.get("admin/flags"), 403, "not_allowed")
    assert problem(holder.get("admin/audit"), 403, "not_allowed")
    assert problem(holder.post("admin/flags/new_chart", {"description": "mine"}), 403, "not_allowed")
    assert problem(admin.post("admin/flags/No-Flag", {"on": True}), 422, "invalid_request")
    assert problem(
        admin.post("admin/flags/no_flag", {"on": True}), 422, "invalid_request"
    )  # says what it is for
    assert problem(admin.post("admin/flags/invitations", {"percent": 101}), 422, "invalid_request")
    account = {"account": HOLDER, "on": True}
    assert problem(admin.post("admin/flags/no_flag/accounts", account), 404, "not_found")
    assert problem(admin.get("admin/audit", cursor="x"), 422, "invalid_request")
