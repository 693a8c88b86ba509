"""What tests ask of a drawing: whether it is whole, and where its marks are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_COMMAND = re.compile(r"([MHVCvh])([^MHVCvhz]*)")
#: Names of attributes and elements that could load or run something.
_ACTIVE = re.compile(r"^(on|xlink|style$|src)|href")
#: How wide a column of text is at the most, in units.
_CELL = 7.5

Box = tuple[float, float, float, float]


class Drawn:
    """A drawing, read as XML.

    Args:
        markup: as it was drawn.
    """

    def __init__(self, markup: str) -> None:
        self.size = len(markup.encode())
        # Parsing fails if anything is not well-formed.
        self.root = ET.fromstring(markup)  # noqa: S314 - our own
        box = self.root.get("viewBox") or "0 0 0 0"
        _, _, self.width, self.height = map(float, box.split())

    @property
    def texts(self) -> list[str]:
        """All texts, titles among them."""
        return [text for text in self.root.itertext() if text]

    def titles(self, name: str) -> list[str]:
        """Return what the marks of a class say."""
        return [
            element.findtext("title") or ""
            for element in self.root.iter()
            if name in (element.get("class") or "").split()
        ]

    def boxes(self, name: str) -> list[Box]:
        """Return where the marks of a class are: left, top, right, bottom."""
        return [
            box
            for element in self.root.iter()
            if name in (element.get("class") or "").split()
            for box in _boxes(element)
        ]

    def outside(self) -> list[str]:
        """Return the marks that are not within the view box."""
        found = []
        for element in self.root.iter():
            for left, top, right, bottom in _boxes(element):
                if (
                    min(left, top) < -0.2
                    or right > self.width + 0.2
                    or bottom > self.height + 0.2
                ):
                    found.append(ET.tostring(element, encoding="unicode"))
        return found

    def active(self) -> list[str]:
        """Return attributes and elements that a drawing without links must not have."""
        tags = {
            "svg",
            "rect",
            "path",
            "text",
            "tspan",
            "title",
            "polyline",
            "circle",
            "g",
        }
        found = [e.tag for e in self.root.iter() if e.tag not in tags]
        for element in self.root.iter():
            found += [name for name in element.attrib if _ACTIVE.search(name)]
        return found


def _boxes(element: ET.Element) -> Iterator[Box]:
    def at(name: str) -> float:
        return float(element.get(name) or 0)

    if element.tag == "rect":
        x, y = at("x"), at("y")
        yield x, y, x + at("width"), y + at("height")
    elif element.tag == "circle":
        x, y, r = at("cx"), at("cy"), at("r")
        yield x - r, y - r, x + r, y + r
    elif element.tag == "text":
        # How wide a text is, only a browser knows: places are tested, and rough widths.
        x, y = at("x"), at("y")
        is_middle = {"sign", "middle"} & set((element.get("class") or "").split())
        inner = "".join(element.itertext()).removeprefix(
            element.findtext("title") or ""
        )
        width = 0 if is_middle else len(inner) * _CELL * inner.isascii()
        yield x, y - 9, x + width, y
    elif element.tag == "polyline":
        numbers = list(map(float, _NUMBER.findall(element.get("points") or "")))
        yield from _around(numbers[::2], numbers[1::2])
    elif element.tag == "path":
        yield from _path(element.get("d") or "")


def _path(way: str) -> Iterator[Box]:
    xs: list[float] = []
    ys: list[float] = []
    x = y = 0.0
    for command, rest in _COMMAND.findall(way):
        numbers = list(map(float, _NUMBER.findall(rest)))
        if command == "M":
            x, y = numbers
        elif command in "Hh":
            x = numbers[0] + (x if command == "h" else 0)
        elif command in "Vv":
            y = numbers[0] + (y if command == "v" else 0)
        else:
            # A curve stays within the hull of its points.
            xs += numbers[::2]
            ys += numbers[1::2]
            x, y = numbers[-2:]
        xs.append(x)
        ys.append(y)
    yield from _around(xs, ys)


def _around(xs: list[float], ys: list[float]) -> Iterator[Box]:
    if xs:
        yield min(xs), min(ys), max(xs), max(ys)
