"""Drawings of records: pure functions that return SVG for a page.

Every text is escaped and cut, every mark has a title, colours are classes that
`static/drawing.css` knows, and no drawing is larger than 40 KB, whatever it shows.
"""

from __future__ import annotations

from ptsflow.web.drawing.charts import bars, in_order, sparkline, strip
from ptsflow.web.drawing.graph import graph
from ptsflow.web.drawing.grid import GridColumn, grid
from ptsflow.web.drawing.legend import legend
from ptsflow.web.drawing.svg import names_of
from ptsflow.web.drawing.timeline import MOST_DRAWN, StepTimes, timeline
from ptsflow.web.drawing.zoom import TimelineView, beside

__all__ = [
    "MOST_DRAWN",
    "GridColumn",
    "StepTimes",
    "TimelineView",
    "bars",
    "beside",
    "graph",
    "grid",
    "in_order",
    "legend",
    "names_of",
    "sparkline",
    "strip",
    "timeline",
]
