"""supabase/README.md names every public function with its arguments, and nothing that is not there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from credits_core.db.migrations import MIGRATIONS

ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| (.+?) \|$", re.MULTILINE)


def test_the_readme_lists_every_public_function(owner_sql: Callable[..., list[dict[str, Any]]]) -> None:
    rows = owner_sql(
        "select proname as name, array(select substr(a, 3) from unnest(proargnames) as a) as arguments from pg_proc"
        " where pronamespace = 'credits'::regnamespace and proname !~ '^_' and proname <> 'create_demo_user'"
    )
    found = {row["name"]: row["arguments"] for row in rows}
    text = (MIGRATIONS.parent / "README.md").read_text("utf-8")
    written = {name: re.findall(r"`(\w+)`", arguments) for name, arguments, _ in ROW.findall(text)}
    assert written == found
