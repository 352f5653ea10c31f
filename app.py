"""Entry: pages and API in one program. `uvicorn app:app` or `streamlit run app.py`."""

from pathlib import Path

import streamlit as st

from credits_core.http import site

settings = site.start_settings()

# Written literally: `streamlit run` finds the app by reading this file.
app = st.App(
    Path(__file__).parent / "pages" / "router.py",
    routes=site.routes(settings),
    lifespan=site.lifespan(settings),
    middleware=site.middleware(settings, Path(st.__file__).parent / "static" / "index.html"),
    exception_handlers=site.exception_handlers(),
)
