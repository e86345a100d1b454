from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from markupsafe import Markup

from fangxin.dialogue import Language
from fangxin.report._numbers import (
    DASH,
    bounds_of,
    count,
    interval,
    milliseconds,
    number,
    percent,
    points,
    points_interval,
    rate_of,
)
from fangxin.report._plots import Row
from fangxin.report._result import after_of, part, value_of
from fangxin.report._texts import Texts
from fangxin.risks import RiskError, regime, risk


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: text, smaller text under it, tone (`good`, `bad`, `warn`, `mute`), whether code."""

    main: str
    sub: str = ""
    tone: str = ""
    code: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of each row names it."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot with its heading, what its lines mean, and what it shows in words."""

    title: str
    svg: Markup
    alt: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: an anchor, its name in the contents, and whatever it has to show.

    Where `wide_first` is set or there are `right_notes` or `right_tables`, the first figure stands
    to the left of the rest; otherwise figures stand in a row.
    """

    id: str
    nav: str
    title: str
    lead: str = ""
    coda: str = ""
    notes: Sequence[str] = ()
    legend: Sequence[tuple[str, str]] = ()
    figures: Sequence[Figure] = ()
    right_notes: Sequence[str] = ()
    right_tables: Sequence[Table] = ()
    tables: Sequence[Table] = ()
    folded: Sequence[Table] = ()
    beside: Sequence[str] = ()
    facts: Sequence[tuple[str, Sequence[tuple[str, Cell]]]] = ()
    commands: Sequence[tuple[str, str]] = ()
    examples: Sequence[Mapping[str, Any]] = ()
    wide_first: bool = False


@dataclass(frozen=True)
class Words:
    """A result's figures and names in one language."""

    result: Mapping[str, Any]
    language: Language
    t: Texts = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "t", Texts(self.language))

    def risk(self, id: Any) -> str:
        """A risk's short name; its identifier where no taxonomy has it."""
        try:
            return risk(str(id)).name(self.language)
        except RiskError:
            return str(id)

    def regime(self, id: Any) -> str:
        """A regime's name; its identifier where there is no such regime."""
        try:
            return regime(str(id)).name(self.language)
        except RiskError:
            return str(id)

    def in_language(self, code: Any) -> str:
        """The name of a language."""
        return self.t.word("language", str(code))

    def percent(self, rate: Any) -> str:
        """A rate's point."""
        return percent(rate_of(rate), self.t("page.unmeasured"))

    def interval(self, rate: Any) -> str:
        """A rate's interval."""
        return interval(bounds_of(rate))

    def change(self, before: Any, after: Any) -> str:
        """Two points with an arrow between them."""
        return f"{percent(rate_of(before))} → {percent(rate_of(after))}"

    def sizes(self, rate: Any) -> str:
        """A rate's interval and what it rests on: answers and independent goals."""
        if rate_of(rate) is None:
            return ""
        n, clusters = number(rate.get("n")), number(rate.get("clusters"))
        parts = [] if n is None else [f"n {count(n)}"]
        # Where every answer has its own goal, saying so once is enough.
        if clusters is not None and clusters != n:
            parts.append(self.t("page.goals", n=count(clusters)))
        return "\n".join(line for line in (self.interval(rate), " · ".join(parts)) if line)

    def rate(self, rate: Any) -> Cell:
        """A rate as a table's cell: its point, under it its interval and sizes."""
        return Cell(self.percent(rate), self.sizes(rate), "" if rate_of(rate) is not None else "mute")

    def difference(self, rate: Any) -> Cell:
        """A difference of rates as a table's cell, in percentage points."""
        value = rate_of(rate)
        if value is None:
            return Cell(self.t("page.unmeasured"), tone="mute")
        return Cell(points(value), points_interval(bounds_of(rate)))

    def margin(self, value: float | None) -> str:
        """A margin in words, unsigned: `5.0 points`."""
        return self.t("proof.points", n=f"{100 * value:.1f}") if value is not None else DASH

    def beside(self) -> list[str]:
        """What stands next to every attack success rate: over-refusal, ability and cost, with intervals."""
        before, after = part(self.result, "baseline"), part(self.result, after_of(self.result))
        lines = []
        for measure in ("over_refusal", "ability"):
            name = self.t(f"measure.{measure}")
            if part(self.result, "repaired"):
                lines.append(
                    self.t(
                        "beside.line",
                        name=name,
                        before=percent(rate_of(before.get(measure))),
                        after=percent(rate_of(after.get(measure))),
                        interval=self.interval(after.get(measure)),
                    )
                )
            else:
                values = {
                    "after": self.percent(after.get(measure)),
                    "interval": self.interval(after.get(measure)),
                }
                lines.append(self.t("beside.single", name=name, **values))
        return [*lines, self.cost()]

    def cost(self) -> str:
        """What serving the repair costs, in a few words."""
        cost = part(self.result, "cost")
        if not part(self.result, "repaired") and not value_of(cost, "added_ms_p50"):
            return self.t("beside.no_cost")
        ms, tokens = milliseconds(cost.get("added_ms_p50")), count(cost.get("added_tokens"))
        return self.t("beside.cost", ms=ms, tokens=tokens)

    def thousand(self, rate: Any) -> Cell:
        """A count in a thousand requests as a cell, with its interval and size."""
        value, bounds = rate_of(rate), bounds_of(rate)
        if value is None:
            return Cell(self.t("page.unmeasured"), tone="mute")
        parts = [] if bounds is None else [f"{count(round(bounds[0], 1))}{DASH}{count(round(bounds[1], 1))}"]
        if (n := number(rate.get("n"))) is not None:
            parts.append(f"n {count(n)}")
        return Cell(count(round(value, 1)), " · ".join(parts))

    def duration(self, seconds: Any) -> str:
        """A time in hours, minutes and seconds."""
        known = number(seconds)
        if known is None:
            return DASH
        whole = round(known)
        if whole >= 3600:
            return self.t("page.hours", h=whole // 3600, m=whole % 3600 // 60)
        if whole >= 60:
            return self.t("page.minutes", m=whole // 60, s=whole % 60)
        return self.t("page.seconds", s=count(round(known, 1)))

    def moment(self, value: Any) -> str:
        """A time stamp, ISO 8601 text or Unix seconds, to the minute, with its zone."""
        try:
            if (seconds := number(value)) is not None:
                at = datetime.fromtimestamp(seconds).astimezone()
            else:
                at = datetime.fromisoformat(str(value))
        except (ValueError, OverflowError, OSError):
            return str(value or "")
        return at.strftime("%Y-%m-%d %H:%M %Z").strip()


def alt(title: str, rows: Sequence[Row]) -> str:
    """What an interval plot shows, for those who can't see it."""
    return f"{title}: " + "; ".join(f"{row.label} {row.figures}" for row in rows)
