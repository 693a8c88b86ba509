"""Templates of names, such as `"epf:{hour:%Y%m%dT%H}"`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ptsflow.core.model import NAME_LIMIT
from ptsflow.core.names import listed, similar, unusable
from ptsflow.errors import DeclarationError

if TYPE_CHECKING:
    from ptsflow.workflow.workflow import Workflow


def named_in(template: str) -> list[str]:
    """Return the names in the fields of a template; an empty name for `{}`.

    Raises:
        ValueError: it is no template.
    """
    import string  # noqa: PLC0415 - 1 ms, only for a template

    fields = [field for _, field, _, _ in string.Formatter().parse(template)]
    return [re.split(r"[.[]", field)[0] for field in fields if field is not None]


def check_template(cls: type[Workflow]) -> None:
    """Refuse the template of a class that no name can be made of.

    Raises:
        DeclarationError: it is no template, or names what it may not.
    """
    if not isinstance(cls.container, str):
        raise DeclarationError(
            f"{cls.__name__}.container: expected a template such as "
            f'"import:{{hour}}", found {cls.container!r}'
        )
    if not cls.container:
        return
    why = unusable(cls.container.replace("{", "").replace("}", "") or "{}")
    if why:
        raise DeclarationError(
            f"{cls.__name__}.container: expected a template of 1 to {NAME_LIMIT} bytes of "
            f"valid text without NUL, found {cls.container!r:.80}: {why}"
        )
    try:
        names = named_in(cls.container)
    except ValueError as error:
        raise DeclarationError(
            f"{cls.__name__}.container = {cls.container!r} is no template: {error}"
        ) from error
    known = ["workflow", *cls.declared_parameters]
    for name in names:
        if name not in known:
            raise DeclarationError(
                f"{cls.__name__}.container = {cls.container!r} names {name!r}"
                f"{similar(name, known)}; it may name {listed(known, name)}"
            )
        if name != "workflow" and cls.declared_parameters[name].is_secret:
            raise DeclarationError(
                f"{cls.__name__}.container = {cls.container!r} names the secret {name}, "
                "and names are shown; leave it out"
            )
