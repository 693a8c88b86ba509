from __future__ import annotations

import ast
import re

from tests.support.processes import ROOT
from tests.unit import stores_mongo

ROW = re.compile(r"^\| .+ \| (tests/\S+)::(test_\w+) \|$", re.MULTILINE)


def test_what_mongomock_is_no_witness_of_has_a_test_that_is_there() -> None:
    rows = ROW.findall(stores_mongo.__doc__ or "")
    assert len(rows) == 10
    for path, name in rows:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        tests = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        assert name in tests, path
