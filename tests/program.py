"""The real program as a process: how tests start it, ask it, pay at its simulator, stop and kill it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120  # a first start with demo data on a busy machine


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Program:
    """One process that serves pages and API from `data_dir`, on a port of its own; without demo data unless asked."""

    def __init__(self, data_dir: Path, *command: str, demo: bool = False, **environ: str) -> None:
        self.port = free_port()
        self.data_dir = data_dir
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(data_dir),
            "DATA_DIR": str(data_dir),
            "PORT": str(self.port),
            "DEMO": str(int(demo)),
            **environ,
        }
        self.log = (data_dir / f"log-{self.port}").open("wb")
        started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "credits_core", "serve")), *self.options(command)],
            cwd=ROOT, env=self.environ, stdout=self.log, stderr=self.log,
        )  # fmt: skip
        try:
            self.wait()
        except BaseException:
            self.kill()
            self.log.close()
            raise
        self.start_seconds = time.monotonic() - started

    def options(self, command: tuple[str, ...]) -> list[str]:
        return ["--server.port", str(self.port)] if "streamlit" in command else []

    def wait(self) -> None:
        for _ in range(START_SECONDS * 20):
            assert self.process.poll() is None, self.said()
            try:
                if httpx.get(f"{self.url}/api/health", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(self.said())

    def said(self) -> str:
        return (self.data_dir / f"log-{self.port}").read_text("utf-8", "replace")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """Ask it to end, as an operating system does; it ends in order and tells that it was asked."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) in (0, -signal.SIGTERM)

    def close(self) -> None:
        if self.process.poll() is None:
            self.stop()
        self.log.close()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "credits_core", *arguments],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def api(self, email: str = "holder@demo.test") -> httpx.Client:
        token = self.command("token", "--email", email).stdout.strip().splitlines()[-1]
        return httpx.Client(
            base_url=f"{self.url}/api/credits/", headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    def pay(self, session_id: str) -> None:
        paid = httpx.post(
            f"{self.url}/sim/control/sessions/{session_id}/pay", json={"card": "4242424242424242"}, timeout=30
        )
        assert paid.status_code == 200, paid.text
