"""`serve`: pages and API in one process, as `make run` starts them."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

import uvicorn

from credits_core.config import Settings

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 5  # an open page keeps its socket; it reconnects to the next process
NOT_STARTED = 3


class Server(uvicorn.Server):
    """Says when pages can be opened: until then a browser finds nobody there."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._ready, flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "HOST, PORT and DATA_DIR in the environment say where; Ctrl+C stops it."


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    settings = Settings.from_env()
    # Streamlit finds .streamlit/ in the working directory; a relative DATA_DIR was meant from where we are now.
    os.environ["DATA_DIR"] = str(settings.data_dir)
    os.chdir(ROOT)
    test_mode = "" if settings.stripe_live else " Test mode: no card is charged."
    print(f"Prepaid Credits starts on {settings.base_url} (Ctrl+C stops it).{test_mode}", flush=True)
    if settings.embedded and settings.demo and not (settings.data_dir / "postgres").exists():
        print("The first start makes a database and demo data: 15 to 40 seconds, once.", flush=True)
    sys.path.insert(0, str(ROOT))  # where app.py is
    config = uvicorn.Config(
        "app:app",
        host=settings.host,
        port=settings.port,
        log_config=None,  # the app sets up its own logs
        access_log=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = Server(config, f"Ready: {settings.base_url}")
    with suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else NOT_STARTED
