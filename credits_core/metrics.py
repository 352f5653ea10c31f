"""Counters and histograms in Prometheus' text format: a few numbers do not need a client library.

Per process, as Prometheus expects; no business figure is among them, so the endpoint needs no sign-in.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_Labels = tuple[tuple[str, str], ...]


class Metrics:
    """A registry; label values must come from a small set (route templates, never addresses)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._help: dict[str, tuple[str, str]] = {}
        self._values: dict[str, dict[_Labels, float]] = defaultdict(dict)
        self._histograms: dict[str, dict[_Labels, list[float]]] = defaultdict(dict)

    def count(self, name: str, help_text: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        key = _key(labels)
        with self._lock:
            self._help[name] = ("counter", help_text)
            self._values[name][key] = self._values[name].get(key, 0) + amount

    def gauge(self, name: str, help_text: str, value: float, **labels: str) -> None:
        """Set a value that goes up and down."""
        with self._lock:
            self._help[name] = ("gauge", help_text)
            self._values[name][_key(labels)] = value

    def observe(self, name: str, help_text: str, seconds: float, **labels: str) -> None:
        """Add a duration to a histogram with the buckets of `SECONDS`."""
        with self._lock:
            self._help[name] = ("histogram", help_text)
            # counts per bucket (the last one is +Inf), then the sum
            cells = self._histograms[name].setdefault(_key(labels), [0.0] * (len(SECONDS) + 2))
            cells[bisect_left(SECONDS, seconds)] += 1
            cells[-1] += seconds

    def text(self) -> str:
        """Everything, in the exposition format 0.0.4."""
        with self._lock:
            lines = [line for name in sorted(self._help) for line in self._lines(name)]
        return "\n".join(lines) + "\n"

    def _lines(self, name: str) -> list[str]:
        kind, help_text = self._help[name]
        lines = [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
        if kind != "histogram":
            return lines + [f"{name}{_braces(k)} {v:g}" for k, v in sorted(self._values[name].items())]
        for key, cells in sorted(self._histograms[name].items()):
            total = 0.0
            for bound, cell in zip((*SECONDS, float("inf")), cells, strict=False):
                total += cell
                limit = "+Inf" if bound == float("inf") else f"{bound:g}"
                lines.append(f"{name}_bucket{_braces((*key, ('le', limit)))} {total:g}")
            lines += [f"{name}_sum{_braces(key)} {cells[-1]:.6f}", f"{name}_count{_braces(key)} {total:g}"]
        return lines


def _key(labels: dict[str, str]) -> _Labels:
    return tuple(sorted(labels.items()))


def _braces(labels: _Labels) -> str:
    if not labels:
        return ""
    inside = ",".join(
        '{}="{}"'.format(name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for name, value in labels
    )
    return "{" + inside + "}"


METRICS = Metrics()
