"""What anonymous visitors get, whatever address they asked for: the way to the sign-in page and nothing else."""

from __future__ import annotations

from urllib.parse import quote, urlencode, urlsplit

import streamlit as st
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx


def address() -> str:
    """The sign-in page, which leads back to where the visitor wanted to go."""
    name = urlsplit(st.context.url or "/").path.strip("/").split("/")[-1]
    query = urlencode(st.query_params.to_dict())
    path = f"/{name}" + (f"?{query}" if query else "")
    return "/auth/sign-in" if path == "/" else f"/auth/sign-in?next={quote(path, safe='')}"


def show() -> None:
    """Sends the browser to the sign-in page; the link is for whoever stays here all the same."""
    target = address()
    # What st.login itself sends: markup cannot redirect, since Streamlit removes <meta> and our CSP stops scripts.
    if ctx := get_script_run_ctx():
        message = ForwardMsg()
        message.auth_redirect.url = target
        ctx.enqueue(message)
    st.title("Sign in")
    st.caption("Sign in to see your balance, your calls and your purchases.")
    st.link_button("Go to the sign-in page", target, type="primary")
