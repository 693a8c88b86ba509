"""TARGETs: which class they lead to, and what is said where they lead to none."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptsflow.errors import DeclarationError, LoadError
from ptsflow.workflow.loading import Reference, find, load, refer
from ptsflow.workflow.workflow import Workflow
from tests.support.wording import THEIRS, Message

ONE = """
from __future__ import annotations
from ptsflow import Workflow, step

class Feed(Workflow):
    size: int = 5

    @step
    def check(self) -> list[Song]:
        return []

class Song:
    pass

number = 5
"""
TWO = """
from ptsflow import Workflow
class Feed(Workflow): pass
class Nightly(Feed): pass
"""
BASE = """
from ptsflow import Workflow, step
class Base(Workflow):
    hour: int = 1
class Feed(Base):
    @step
    def check(self): pass
"""
ALIAS = """
from ptsflow import Workflow
class Feed(Workflow): pass
Import = Feed
"""
BORROWED = "from one_feed import Feed\n"


@pytest.fixture(autouse=True)
def _fresh_imports() -> Iterator[None]:
    modules, path = dict(sys.modules), list(sys.path)
    yield
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]
    sys.path[:] = path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of modules, which is the current one."""
    for name in ("feeds", "loose"):
        (tmp_path / name).mkdir()
    files = {
        "one_feed.py": ONE,
        "two_feeds.py": TWO,
        "alias_feed.py": ALIAS,
        "borrowed_feed.py": BORROWED,
        "no_feed.py": "number = 5\n",
        "needs_absent.py": "import absent_module\n",
        "raises.py": "raise OSError('no disk\\nno fun')\n",
        "exits.py": "raise SystemExit(3)\n",
        "interrupted.py": "raise KeyboardInterrupt\n",
        "bad_syntax.py": "def (:\n",
        "bad_step.py": (
            "from ptsflow import Workflow, step\n"
            "class Feed(Workflow):\n"
            "    @step\n"
            "    def check(self, other): pass\n"
        ),
        "json.py": ONE,
        "this.py": ONE,
        "named_list.py": (
            "from ptsflow import Workflow, step\n"
            "class Feed(Workflow):\n"
            "    @step\n"
            "    def list(self): return 1\n"
            "    @step\n"
            "    def more(self) -> list[int]: return [1]\n"
        ),
        "cached.py": (
            "import functools\n"
            "from ptsflow import Workflow, step\n"
            "class Feed(Workflow):\n"
            "    @functools.cache\n"
            "    @step\n"
            "    def load(self): return 1\n"
        ),
        "mangled.py": (
            "from ptsflow import Workflow, step\n"
            "class Feed(Workflow):\n"
            "    @step\n"
            "    def __load(self): return 1\n"
        ),
        "reads_rubbish.py": "import json\n\njson.loads('{')\n",
        "needs_rubbish.py": "import reads_rubbish\n",
        "beside.py": "from . import one_feed\n",
        "feeds/beside.py": "from . import epf\nfrom .epf import Feed\n",
        "loose/beside.py": "from . import epf\n",
        "with_base.py": BASE,
        "removes_itself.py": "import sys\ndel sys.modules[__name__]\nraise OSError('x')\n",
        "feeds/__init__.py": "",
        "feeds/epf.py": ONE,
        "feeds/broken.py": "import feeds.absent\n",
        "notes.txt": "no python",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "target",
    [
        "one_feed.py:Feed",
        "one_feed.py",
        "one_feed.py:",
        "./one_feed.py",
        "one_feed:Feed",
        "one_feed",
        "feeds.epf:Feed",
        "feeds.epf",
        "feeds/epf.py:Feed",
        "json.py:Feed",
        "two_feeds.py:Feed",
        "with_base.py",
        "alias_feed.py",
        "alias_feed.py:Import",
        "borrowed_feed.py:Feed",
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_target_leads_to_a_workflow(target: str) -> None:
    found = load(target, Workflow)

    assert issubclass(found, Workflow)
    assert found.__name__ == "Feed"


@pytest.mark.usefixtures("folder")
def test_the_current_folder_stands_on_the_import_path_once() -> None:
    load("one_feed", Workflow)
    load("two_feeds:Feed", Workflow)

    assert sys.path.count(str(Path.cwd())) == 1


def test_an_absolute_path_leads_to_a_workflow(folder: Path) -> None:
    assert load(f"{folder / 'one_feed.py'}:Feed", Workflow).__name__ == "Feed"


def test_annotations_of_a_loaded_file_are_looked_up_in_it(folder: Path) -> None:
    found = load(str(folder / "one_feed.py"), Workflow)

    assert issubclass(found, Workflow)
    assert found.declared_parameters["size"].hint is int


@pytest.mark.parametrize("name", ["one_feed.py", "json.py"])
def test_a_file_is_imported_once(folder: Path, name: str) -> None:
    first = load(str(folder / name), Workflow)

    assert load(name, Workflow) is first


def test_files_of_the_same_name_in_two_folders_are_two_modules(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "one_feed.py").write_text(ONE)

    first = load("one_feed.py", Workflow)
    second = load("other/one_feed.py", Workflow)

    assert first is not second
    assert first.__module__ == "one_feed"
    assert second.__module__ == "ptsflow_target_one_feed"


def test_the_standard_library_is_not_hidden_by_a_file_of_its_name(folder: Path) -> None:
    load(str(folder / "json.py"), Workflow)
    import json  # noqa: PLC0415 - what it is about

    assert hasattr(json, "loads")


def test_a_file_may_import_its_neighbours(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "neighbour.py").write_text(ONE + "import other_one\n")
    (folder / "other" / "other_one.py").write_text("")

    assert load("other/neighbour.py:Feed", Workflow).__name__ == "Feed"


RELATIVE = "it imports relatively, as only a module of a package can"
SHAPE = "TARGET is package.module:Class or path/file.py:Class"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", f"'' names no module; {SHAPE}"),
        (":Feed", f"':Feed' names no module; {SHAPE}"),
        ("absent.py:Feed", "absent.py: no such file; TARGET is path/file.py:Class"),
        ("feeds/:Feed", "feeds/: no such file; TARGET is path/file.py:Class"),
        ("./notes.txt", "./notes.txt: not a Python file; TARGET is path/file.py:Class"),
        (
            "absent:Feed",
            f"absent:Feed: no module 'absent' is found from {{cwd}}; {SHAPE}",
        ),
        (
            "feeds.absent:Feed",
            f"feeds.absent:Feed: no module 'feeds.absent' is found from {{cwd}}; {SHAPE}",
        ),
        (
            "one_feed.absent:Feed",
            (
                "one_feed.absent:Feed: no module 'one_feed.absent' is found from {cwd}; "
                f"{SHAPE}"
            ),
        ),
        (
            "needs_absent:Feed",
            f"needs_absent: importing it failed: ModuleNotFoundError: {THEIRS} (needs_absent.py:1)",
        ),
        (
            "needs_absent.py",
            f"needs_absent.py: importing it failed: ModuleNotFoundError: {THEIRS} (needs_absent.py:1)",
        ),
        (
            "feeds.broken",
            f"feeds.broken: importing it failed: ModuleNotFoundError: {THEIRS} (feeds/broken.py:1)",
        ),
        ("raises", "raises: importing it failed: OSError: no disk (raises.py:1)"),
        ("raises.py", "raises.py: importing it failed: OSError: no disk (raises.py:1)"),
        (
            "reads_rubbish.py",
            (
                f"reads_rubbish.py: importing it failed: JSONDecodeError: {THEIRS} "
                "(reads_rubbish.py:3)"
            ),
        ),
        (
            "needs_rubbish",
            (
                f"needs_rubbish: importing it failed: JSONDecodeError: {THEIRS} "
                "(reads_rubbish.py:3)"
            ),
        ),
        (
            "beside.py",
            (
                f"beside.py: {RELATIVE}; import what lies beside it by its name, without "
                "the dot (beside.py:1)"
            ),
        ),
        (
            "feeds/beside.py:Feed",
            (
                f"feeds/beside.py: {RELATIVE}; type feeds.beside instead of "
                "feeds/beside.py (feeds/beside.py:1)"
            ),
        ),
        (
            "loose/beside.py",
            (
                f"loose/beside.py: {RELATIVE}; type loose.beside instead of "
                "loose/beside.py (loose/beside.py:1)"
            ),
        ),
        ("exits.py", "exits.py: importing it failed: SystemExit: 3 (exits.py:1)"),
        (
            "removes_itself.py",
            "removes_itself.py: importing it failed: OSError: x (removes_itself.py:3)",
        ),
        (
            "bad_syntax.py",
            f"bad_syntax.py: importing it failed: SyntaxError: {THEIRS} (bad_syntax.py:1)",
        ),
        (
            "one_feed.py:Fed",
            "one_feed.py: 'Fed' is not there (did you mean 'Feed'?); its workflows: Feed",
        ),
        (
            "one_feed.py:Song",
            "one_feed.py: 'Song' is not a Workflow; its workflows: Feed",
        ),
        (
            "one_feed:Workflow",
            "one_feed: 'Workflow' is not a Workflow; its workflows: Feed",
        ),
        ("no_feed:Feed", "no_feed: 'Feed' is not there; its workflows: none"),
        ("no_feed:number", "no_feed: 'number' is not a Workflow; its workflows: none"),
        ("no_feed", "no_feed: it defines no Workflow class"),
        ("borrowed_feed.py", "borrowed_feed.py: it defines no Workflow class"),
        (
            "two_feeds.py",
            (
                "two_feeds.py: it defines 2 workflows; "
                "say which: two_feeds.py:Feed, two_feeds.py:Nightly"
            ),
        ),
        (
            "two_feeds:",
            (
                "two_feeds: it defines 2 workflows; "
                "say which: two_feeds:Feed, two_feeds:Nightly"
            ),
        ),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_target_that_leads_nowhere_is_refused_in_one_line(
    target: str, message: str
) -> None:
    with pytest.raises(LoadError) as raised:
        load(target, Workflow)

    assert str(raised.value) == Message(message.replace("{cwd}", str(Path.cwd())))


@pytest.mark.parametrize("target", ["bad_step.py", "bad_step:Feed"])
@pytest.mark.usefixtures("folder")
def test_a_wrong_declaration_says_itself_what_is_wrong(target: str) -> None:
    with pytest.raises(DeclarationError) as raised:
        load(target, Workflow)

    assert str(raised.value) == (
        "Feed.check: the parameter 'other' is no step above it; allowed: task "
        "(bad_step.py:2)"
    )


@pytest.mark.parametrize("target", ["interrupted.py", "interrupted"])
@pytest.mark.usefixtures("folder")
def test_ctrl_c_while_importing_is_no_failure_to_import(target: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        load(target, Workflow)


def test_a_file_that_failed_is_imported_again(folder: Path) -> None:
    (folder / "late_feed.py").write_text("raise OSError('x')\n")
    with pytest.raises(LoadError):
        load("late_feed.py", Workflow)
    (folder / "late_feed.py").write_text(ONE + "# longer than before, for its cache\n")

    assert load("late_feed.py", Workflow).__name__ == "Feed"


def test_a_class_is_found_again_by_its_module(folder: Path) -> None:
    reference = refer(load("one_feed", Workflow))

    assert reference == Reference("one_feed", None, "Feed")
    assert (folder / "one_feed.py").exists()


def test_a_module_that_no_path_leads_to_is_found_again_by_its_file(
    tmp_path: Path,
) -> None:
    file = tmp_path / "elsewhere" / "hidden_feed.py"
    file.parent.mkdir()
    file.write_text(ONE)
    spec = importlib.util.spec_from_file_location("hidden_feed", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["hidden_feed"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    reference = refer(module.Feed)

    assert reference == Reference("hidden_feed", str(file), "Feed")


@pytest.mark.parametrize(
    ("file", "told"),
    [
        pytest.param(
            "this.py",
            "this.py: it is named like Python's own module this, and hides that from "
            "all that import it; rename the file",
            id="a module of Python",
        ),
        pytest.param(
            "named_list.py",
            "; list is the step named list here; name the step otherwise "
            "(named_list.py:6)",
            id="a name of Python",
        ),
        pytest.param(
            "cached.py",
            "; put @step above the other decorators (cached.py:4)",
            id="a decorator that takes functions alone",
        ),
        pytest.param(
            "mangled.py",
            "Feed.__load: the name of a step cannot begin with two underscores, as "
            "Python makes _Feed__load of it; write def load (mangled.py:2)",
            id="two underscores",
        ),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_class_that_cannot_be_made_says_what_is_in_its_way(
    file: str, told: str
) -> None:
    with pytest.raises((LoadError, DeclarationError)) as raised:
        load(file, Workflow)

    assert str(raised.value).endswith(told)


def test_a_class_in_the_main_module_of_a_zip_is_found_by_no_other_process() -> None:
    with pytest.raises(LoadError, match="the __main__ of a zip or a folder"):
        find(Reference("__main__", None, "Feed"))
