"""The small line or bars in a tile: an SVG of some hundred bytes, painted at once, where a chart library takes 15 ms for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote

Kind = Literal["line", "bar", "area"]

WIDTH, HEIGHT = 120.0, 32.0  # of the drawing's own units; CSS stretches it to the tile
BAR_SHARE = 0.66  # of its place, the rest is the gap


def markup(values: Sequence[float], kind: Kind, tone: str) -> str:
    """`values` from left to right; `tone` is a colour of `pc-spark-…` in pages.css. The figure beside it says the same in text.

    The drawing is the mask of a coloured box: Streamlit takes <svg> out of what it is given, and the colour follows the theme.
    """
    drawn = _bars(values) if kind == "bar" else _line(values, filled=kind == "area")
    image = quote(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none">{drawn}</svg>'
    )
    return f"""<div class="pc-spark pc-spark-{tone}" style="mask-image: url('data:image/svg+xml,{image}')"></div>"""


def tone(delta: str | None, delta_color: str) -> str:
    """The colour of the change beside it: gray without one, green and red where more is good or bad, or the one that is named."""
    if delta is None or delta_color == "off":
        return "gray"
    if delta_color not in ("normal", "inverse"):
        return delta_color
    return "green" if delta.startswith("-") == (delta_color == "inverse") else "red"


def _bars(values: Sequence[float]) -> str:
    """From zero up; days without any have no bar."""
    step, most = WIDTH / len(values), max(values)
    return "".join(
        f'<rect x="{step * place + step * (1 - BAR_SHARE) / 2:.2f}" y="{HEIGHT - tall:.2f}" '
        f'width="{step * BAR_SHARE:.2f}" height="{tall:.2f}" rx="0.6"/>'
        for place, value in enumerate(values)
        if value > 0 and (tall := max(HEIGHT * value / most, 1))
    )


def _line(values: Sequence[float], *, filled: bool) -> str:
    """From the least to the most; one value, or always the same, is a level line."""
    values = values if len(values) > 1 else [*values, *values]
    least, most = min(values), max(values)
    step, room = WIDTH / (len(values) - 1), HEIGHT - 2
    points = " ".join(
        f"{step * place:.2f},{1 + room * (most - value) / (most - least) if most > least else HEIGHT / 2:.2f}"
        for place, value in enumerate(values)
    )
    area = (
        f'<polygon points="0,{HEIGHT:g} {points} {WIDTH:g},{HEIGHT:g}" fill-opacity="0.14"/>'
        if filled
        else ""
    )
    return f'{area}<polyline points="{points}" fill="none" stroke="#000" stroke-width="1.6" vector-effect="non-scaling-stroke"/>'
