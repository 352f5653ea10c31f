"""Cut a migration into its statements, as the Supabase CLI does for its history table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

# What can hide a semicolon, and what ends a statement. `''` in a string reads as two strings: as good.
_TOKEN = re.compile(
    r"""
      (?P<skip>
          --[^\n]*
        | (?<![\w$])[eE]'(?:[^'\\]|\\.|'')*'
        | '[^']*'
        | "[^"]*"
        | (?<![\w$])(?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag)
      )
    | (?P<comment>/\*)
    | (?P<atomic>\bbegin\s+atomic\b)
    | (?P<opens>\bcase\b)
    | (?P<closes>\bend\b)
    | (?P<semicolon>;)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def split_statements(text: str) -> list[str]:
    """Statements without semicolon and outer white space; comments stay with the statement they precede."""
    edges = [0, *_ends(text), len(text)]
    pieces = (text[start:end].strip().removesuffix(";").strip() for start, end in pairwise(edges))
    return [piece for piece in pieces if piece]


def _ends(text: str) -> Iterator[int]:
    """Where each statement's semicolon ends; semicolons of a `begin atomic ... end` body are part of it."""
    position = depth = 0
    while found := _TOKEN.search(text, position):
        position = found.end()
        match found.lastgroup:
            case "comment":
                position = _comment_end(text, position)
            case "atomic":
                depth += 1
            case "opens" if depth:
                depth += 1
            case "closes" if depth:
                depth -= 1
            case "semicolon" if not depth:
                yield position


def _comment_end(text: str, position: int) -> int:
    """Behind the end of a block comment, which may hold others."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(text, position)):
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return len(text) if depth else position
