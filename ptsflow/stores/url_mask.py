"""Store URLs as they may be shown: without passwords and other secrets."""

from __future__ import annotations

import re

_USERINFO = re.compile(r"(?<=://)([^:@/?]*):.*@", re.DOTALL)
_SECRET_OPTION = re.compile(
    r"(?i)([?&;][^=&;]*(?:password|properties|secret|token|key)=)[^&;]*"
)


def mask(url: str) -> str:
    """Return the URL with `***` for the password and for secrets among its options."""
    base, mark, options = url.partition("?")
    if "@" in options:
        # An unescaped "?" in a password: what follows it is no option.
        base, mark, options = url, "", ""
    shown = _USERINFO.sub(r"\1:***@", base)
    return shown + _SECRET_OPTION.sub(r"\1***", mark + options)
