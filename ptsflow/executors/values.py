"""Stored values as a body is given them: each body has an object of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct

from ptsflow import codec
from ptsflow.workflow.handle import TaskHandle

Reading = Callable[[], Any]

#: How many characters of text are freed before their memory is given back.
_LARGE = 64 * 1024 * 1024


class Shared:
    """A stored value that many bodies are given, each as an object of its own.

    It is read for the first body, which may be the only one, and once more when the second
    one asks; that object is kept, and handed to no body: the others get copies of it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_wanted = False
        self._copy: Reading | None = None

    def get(self, read: Reading, read_again: Callable[[], Reading]) -> Any:
        """Return the value.

        Args:
            read: returns a new object of it.
            read_again: returns what does the same, but has parsed the text.
        """
        make = self._copy
        if make is None:
            with self._lock:
                is_wanted, self._is_wanted = self._is_wanted, True
                if is_wanted and self._copy is None:
                    self._copy = codec.copies_of(read()) or read_again()
                make = self._copy or read
        return make()


class Value(Struct, frozen=True):
    """A stored value, and the annotation by which it is read."""

    text: str | None
    hint: Any
    shared: Shared | None = None

    def size(self) -> int:
        """How long its text is, in characters."""
        return len(self.text or "")

    def read(self) -> Any:
        """Return a new object of the value."""
        if self.shared is None:
            return self._read()
        return self.shared.get(self._read, self._read_again)

    def _read(self) -> Any:
        return None if self.text is None else codec.decode(self.text, self.hint)

    def _read_again(self) -> Reading:
        return partial(codec.from_tree, codec.parse(self.text or "null"), self.hint)


class Values(Struct, frozen=True):
    """The stored results of the done items of a joined fan-out, in order."""

    texts: list[str]
    hint: Any
    shared: Shared | None = None

    def size(self) -> int:
        """How long its texts are, in characters."""
        return sum(map(len, self.texts))

    def read(self) -> Any:
        """Return a new list of the values; texts that are not shared can be read once.

        Each of them is freed when it is read: all texts and all values together may be
        more than fits in memory.
        """
        if self.shared is not None:
            return self.shared.get(self._read, self._read_again)
        left = self.texts
        left.reverse()
        found = list[Any]()
        freed = 0
        while left:
            found.append(codec.decode(left[-1], self.hint))
            freed += len(left.pop())
            if freed > _LARGE:
                from ptsflow.host.memory import give_back  # noqa: PLC0415 - rare

                freed = 0
                give_back()
        return found

    def _read(self) -> Any:
        return [codec.decode(text, self.hint) for text in self.texts]

    def _read_again(self) -> Reading:
        trees = [codec.parse(text) for text in self.texts]
        return lambda: [codec.from_tree(tree, self.hint) for tree in trees]


class Element(Struct, frozen=True):
    """One element of a stored list, as parsed JSON."""

    tree: Any
    hint: Any

    def read(self) -> Any:
        """Return a new object of the element: attempts share no objects."""
        return codec.from_tree(self.tree, self.hint)


#: What one parameter of a body receives, before it is read.
Argument = Value | Values | Element | TaskHandle
