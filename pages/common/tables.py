"""Tables: rows of the database as typed columns that the browser formats and sorts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from credits_core.units import format_credits
from pages.common.formats import Viewer, duration, plotted
from pages.common.widgets import pills_column, status_label

Rows = Sequence[Mapping[str, Any]]
ROW_HEIGHT = 33


class Table:
    """A table built column by column; every column takes the same rows.

    Columns named in `wide` when it is drawn are left out on a phone, whose screen has room for three or four.
    """

    def __init__(self, rows: Rows, viewer: Viewer) -> None:
        self._rows = rows
        self._viewer = viewer
        self._data: dict[str, Any] = {}
        self._config: dict[str, ColumnConfig] = {}

    def text(self, label: str, field: str, **options: Any) -> Table:
        return self._add(
            label, [row.get(field) or "" for row in self._rows], st.column_config.TextColumn(label, **options)
        )

    def texts(
        self, label: str, values: Iterable[str], *, phone_width: int | None = None, **options: Any
    ) -> Table:
        """A column of texts made by the page, one for each row. On a phone it is as wide as `phone_width`, or as its texts."""
        if self._viewer.phone:
            options["width"] = phone_width
        return self._add(label, list(values), st.column_config.TextColumn(label, **options))

    def actor(self, label: str, field: str) -> Table:
        """Who did it: the holder, a program, or somebody of the staff (by the start of their id)."""
        return self.texts(label, [_actor(row.get(field)) for row in self._rows])

    def time(
        self, label: str, field: str, *, seconds: bool = False, day_alone: bool = False, **options: Any
    ) -> Table:
        """A moment in the viewer's zone."""
        pattern = self._viewer.dates.cells(time=not day_alone, seconds=seconds)
        values = pd.to_datetime([row.get(field) for row in self._rows], utc=True, format="ISO8601")
        return self._add(
            label,
            values,
            st.column_config.DatetimeColumn(
                label, format=pattern, timezone=self._viewer.zone_name, **options
            ),
        )

    def day(self, label: str, field: str) -> Table:
        values = pd.to_datetime([row.get(field) for row in self._rows], format="ISO8601").date
        return self._add(
            label, values, st.column_config.DateColumn(label, format=self._viewer.dates.cells(year=True))
        )

    def credits(
        self, label: str, field: str, *, signed: bool = False, places: int | None = None, **options: Any
    ) -> Table:
        """Credits from micros, all with the decimals that the finest of them needs, or with `places` (sums)."""
        values = [row.get(field) for row in self._rows]
        return self._add(
            label,
            [None if value is None else plotted(value) for value in values],
            st.column_config.NumberColumn(
                label,
                **self._decimals(_places(values) if places is None else places, "+" if signed else ""),
                **options,
            ),
        )

    def _decimals(self, places: int, plus: str) -> dict[str, Any]:
        """How a column writes numbers: in the browser's language where that differs from English; `step` says the decimals."""
        if self._viewer.separators == (",", "."):
            return {"format": f"%{plus},.{places}f"}
        return {"format": "localized", "step": 10**-places}

    def cost_bar(self, label: str, field: str, *, places: int | None = None) -> Table:
        """Credits with a bar against the largest of the shown rows (the number alone on a phone, and in other languages)."""
        if self._viewer.phone or self._viewer.separators != (",", "."):
            return self.credits(label, field, places=places)
        values = [row.get(field) or 0 for row in self._rows]
        return self._add(
            label,
            [plotted(value) for value in values],
            st.column_config.ProgressColumn(
                label,
                format=f"%,.{_places(values) if places is None else places}f",
                min_value=0,
                max_value=plotted(max([*values, 1])),
                color="primary",
            ),
        )

    def money(self, label: str, field: str, currency: str = "currency") -> Table:
        """A price from its smallest unit and the row's currency."""
        texts = [self._viewer.money(row[field], row[currency]) for row in self._rows]
        return self.texts(label, texts, alignment="right")

    def count(self, label: str, field: str) -> Table:
        return self._add(
            label,
            [row.get(field) for row in self._rows],
            st.column_config.NumberColumn(
                label, format="%,d" if self._viewer.separators == (",", ".") else "localized"
            ),
        )

    def percent(self, label: str, field: str) -> Table:
        if self._viewer.separators != (",", "."):  # the browser writes this form in English only
            shares = [row.get(field) for row in self._rows]
            texts = ["–" if share is None else self._viewer.percent(share) for share in shares]
            return self.texts(label, texts, alignment="right")
        return self._add(
            label,
            [row.get(field) for row in self._rows],
            st.column_config.NumberColumn(label, format="%.1f%%"),
        )

    def duration(self, label: str, field: str, **options: Any) -> Table:
        return self.texts(
            label, [duration(row.get(field)) for row in self._rows], alignment="right", **options
        )

    def pill(self, label: str, field: str, **options: Any) -> Table:
        """Statuses as coloured pills."""
        return self._add(
            label, [[status_label(row[field])] for row in self._rows], pills_column(label, **options)
        )

    def link(self, label: str, field: str, text: str) -> Table:
        return self._add(
            label,
            [row.get(field) for row in self._rows],
            st.column_config.LinkColumn(label, display_text=text),
        )

    def draw(
        self, *, key: str, alt: str, wide: Sequence[str] = (), most_rows: int | None = None, **options: Any
    ) -> Any:
        """Shows it; `options` go to st.dataframe (selection). `alt` says what the table holds.

        More than `most_rows` scroll within the table: a browser paints what is seen, and a page of a thousand rows has an end.
        """
        frame = pd.DataFrame(self._data)
        if self._viewer.phone:
            frame = frame.drop(columns=[label for label in wide if label in frame])
        return st.dataframe(
            frame,
            hide_index=True,
            column_config=self._config,
            key=key,
            alt=alt,
            row_height=ROW_HEIGHT,
            height=ROW_HEIGHT * (most_rows + 1) if most_rows and len(frame) > most_rows else "content",
            **options,
        )

    def _add(self, label: str, values: Any, config: ColumnConfig) -> Table:
        self._data[label] = values
        self._config[label] = config
        return self


def _places(values: Iterable[int | None]) -> int:
    return max(
        (len(format_credits(value).partition(".")[2]) for value in values if value is not None), default=2
    )


def _actor(actor: str | None) -> str:
    if actor in (None, "owner"):
        return "Account holder"
    return "System" if str(actor).startswith("service") else f"Staff {str(actor)[:8]}"
