"""Cutting migrations into statements, as the Supabase CLI does (compared with it in test_supabase_tools)."""

from __future__ import annotations

import pytest

from credits_core.db.statements import split_statements


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        (" ;; \n ; ", []),
        ("select 1; select 2", ["select 1", "select 2"]),
        ("select 'a;b', 'it''s; so';select 2;", ["select 'a;b', 'it''s; so'", "select 2"]),
        ("select E'it\\'s; so'; select 2", ["select E'it\\'s; so'", "select 2"]),
        ('select ";" from "a""b;c"; select 2', ['select ";" from "a""b;c"', "select 2"]),
        ("-- one; two\nselect 1; -- last; words", ["-- one; two\nselect 1", "-- last; words"]),
        ("/* a; /* b; */ c; */ select 1;select 2", ["/* a; /* b; */ c; */ select 1", "select 2"]),
        ("do $$ begin null; end $$; select 2", ["do $$ begin null; end $$", "select 2"]),
        (
            "do $a$ $$ ; $$ ; $a$; select a$b, c$ ; select 2",
            ["do $a$ $$ ; $$ ; $a$", "select a$b, c$", "select 2"],
        ),
        (
            "create function f() returns int begin atomic select case when true then 1 end; select 2; end; select 3",
            [
                "create function f() returns int begin atomic select case when true then 1 end; select 2; end",
                "select 3",
            ],
        ),
        ("/* never closed; ", ["/* never closed;"[:-1]]),
    ],
)
def test_statements_end_at_semicolons_that_are_not_hidden(text: str, statements: list[str]) -> None:
    assert split_statements(text) == statements
