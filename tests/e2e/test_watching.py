"""The watch itself: a page with one fault of each kind, so that a silent watch means a good page."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.screens import PHONE
from tests.e2e.watching import Watch, barriers, too_wide

pytestmark = pytest.mark.browser
FAULTY = """<!doctype html><html lang="en"><title>Faulty</title>
<meta name="viewport" content="width=device-width">
<main><h1 style="width: 900px; color: #DDD; background: #FFF">Pale</h1>
<button></button><img src="http://elsewhere.test/pixel.png" alt=""></main>
<script>console.error("something broke"); nothing.at.all</script>"""


def test_a_bad_page_is_noticed_in_every_way(chromium: Browser) -> None:
    page = chromium.new_context(**PHONE.options()).new_page()
    watch = Watch(page)
    page.route("**/*", lambda route: route.fulfill(body=FAULTY, content_type="text/html", status=500))
    page.goto("http://127.0.0.1/faulty")
    expect(page.get_by_text("Pale")).to_be_visible()
    for complaint in (
        "500: GET http://127.0.0.1/faulty",
        "asked another machine: http://elsewhere.test/pixel.png",
        "console: something broke",
        "script error: nothing is not defined",
    ):
        assert any(said.startswith(complaint) for said in watch.complaints), watch.complaints
    assert [barrier.partition(" ")[0] for barrier in barriers(page)] == ["button-name", "color-contrast"]
    assert too_wide(page)
    page.context.close()
