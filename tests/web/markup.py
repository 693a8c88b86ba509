"""What a page is made of: its elements, links and texts, and what must not be in it."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

#: Elements that can do something, and that no page of ours has.
_ACTIVE = frozenset(
    [
        "animate",
        "applet",
        "audio",
        "base",
        "embed",
        "foreignobject",
        "frame",
        "frameset",
        "iframe",
        "image",
        "img",
        "math",
        "noscript",
        "object",
        "param",
        "picture",
        "plaintext",
        "portal",
        "set",
        "source",
        "style",
        "template",
        "track",
        "video",
        "xmp",
    ]
)
#: Attributes that are addresses.
_ADDRESSES = frozenset({"action", "formaction", "href", "src", "xlink:href"})
#: Attributes that can do something, and that no page of ours has.
_DOING = frozenset({"background", "formaction", "http-equiv", "srcdoc", "style"})
#: What a text must not have: control characters but for tabs and ends of lines, and what
#: turns the direction of texts around.
_UNCLEAN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Markup(HTMLParser):
    """The elements and texts of a page.

    Args:
        html: the page.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements = Counter[str]()
        self.links: list[str] = []
        self.ids = Counter[str]()
        self.dangers: list[str] = []
        self._texts: list[str] = []
        self._in_script = False
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        """The texts of the page, with one blank for every gap."""
        return " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in an element."""
        self.elements[tag] += 1
        self._in_script = tag == "script"
        if tag in _ACTIVE:
            self.dangers.append(f"<{tag}>")
        for name, value in attrs:
            self._attribute(tag, name, value or "")
        given = dict(attrs)
        if tag == "script" and not (given.get("src") or "").startswith("/static/"):
            self.dangers.append(f"<script {given}>")
        if tag == "a":
            self.links.append(given.get("href") or "")

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        """Take in a text."""
        if self._in_script and data.strip():
            self.dangers.append(f"a script in the page: {data[:80]!r}")
        if found := _UNCLEAN.search(data):
            self.dangers.append(f"{found[0]!r} in {data[:80]!r}")
        self._texts.append(data)

    def handle_comment(self, data: str) -> None:
        """Take in a comment, of which a page has none."""
        self.dangers.append(f"<!--{data[:80]}-->")

    def _attribute(self, tag: str, name: str, value: str) -> None:
        if name == "id":
            self.ids[value] += 1
        if name.startswith("on") or name in _DOING:
            self.dangers.append(f"<{tag} {name}={value[:80]!r}>")
        if name.startswith("hx-") and not re.fullmatch(r"hx-[a-z:-]+", name):
            self.dangers.append(f"<{tag} {name}>")
        if name in _ADDRESSES or name == "hx-sse:connect":
            address = urlsplit(value)
            if address.scheme or address.netloc or re.search(r"[\s\\]", value):
                self.dangers.append(f"<{tag} {name}={value[:80]!r}>")
        if not name.islower() and not re.fullmatch(r"[a-zA-Z:-]+", name):
            self.dangers.append(f"<{tag} {name[:80]!r}>")
        if found := _UNCLEAN.search(value):
            self.dangers.append(f"<{tag} {name}> has {found[0]!r}")


def shape_of(address: str) -> str:
    """Return what addresses of pages of one kind have in common."""
    parts = urlsplit(address)
    query = [
        f"{name}={value}" if name == "tab" else name
        for name, value in parse_qsl(parts.query)
    ]
    path = re.sub(r"^/w/.*", "/w/*", parts.path)
    return f"{path}?{'&'.join(sorted(query))}"


def crawl(
    get: Callable[[str], Any], *starts: str, alike: int = 3
) -> Iterator[tuple[str, Any]]:
    """Yield the pages that links lead to, and what the server answered.

    Args:
        get: returns the answer of a server to an address.
        starts: where to begin.
        alike: of pages whose addresses have the same shape, yield no more.
    """
    ahead, known = deque(starts), set(starts)
    shapes = Counter(map(shape_of, starts))
    while ahead:
        address = ahead.popleft()
        answer = get(address)
        yield address, answer
        if not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        text = answer.text if isinstance(answer.text, str) else answer.text()
        for link in Markup(text).links:
            found = urljoin(address, link).partition("#")[0]
            shape = shape_of(found)
            if found not in known and shapes[shape] < alike:
                shapes[shape] += 1
                known.add(found)
                ahead.append(found)
