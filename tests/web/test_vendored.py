"""What the page has from others is what these published."""

from __future__ import annotations

import hashlib
import re

import pytest

from tests.support.processes import ROOT

STATIC = ROOT / "ptsflow" / "web" / "static"

#: Of the npm package htmx.org 4.0.1: dist/htmx.min.js and dist/ext/hx-sse.min.js.
HASHES = {
    "htmx.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "hx-sse.min.js": "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
}


@pytest.mark.parametrize("name", HASHES)
def test_a_vendored_file_is_the_published_one(name: str) -> None:
    found = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()

    assert found == HASHES[name]


def test_nothing_moves_for_those_who_asked_for_less_motion() -> None:
    style = "".join(path.read_text("utf-8") for path in STATIC.glob("*.css"))

    moving = [line for line in style.splitlines() if "animation:" in line]
    assert moving
    assert all("prefers-reduced-motion: no-preference" in line for line in moving)


def test_every_script_is_vendored_or_short() -> None:
    own = [path for path in STATIC.glob("*.js") if path.name not in HASHES]

    assert [path.name for path in own] == ["table.js"]
    assert len(own[0].read_text(encoding="utf-8").splitlines()) <= 120


def test_only_drawings_are_trusted_to_be_html() -> None:
    web = ROOT / "ptsflow" / "web"
    code = [path for path in web.rglob("*.py") if path.parent.name != "drawing"]
    pages = web.rglob("*.html")

    trusted = [p.name for p in code if "Markup(" in p.read_text(encoding="utf-8")]
    # The report puts the style sheets of this package into its file.
    assert trusted == ["report.py"]
    unsafe = re.compile(r"\|\s*safe\b|autoescape|<script(?! src)|\sstyle=|\son[a-z]+=")
    assert [p.name for p in pages if unsafe.search(p.read_text("utf-8"))] == []
