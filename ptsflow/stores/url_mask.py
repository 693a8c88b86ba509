"""Store URLs as they may be shown: without passwords and other secrets."""

from __future__ import annotations

import re

# Patterns are compiled when they are first used.
_USERINFO = r"(?s)(?<=://)([^:@/?]*):.*@"
_HIDDEN_OPTION = r"(?i)([?&;][^=&;]*(?:password|properties|secret|token|key)=)[^&;]*"


def mask(url: str) -> str:
    """Return the URL with `***` for the password and for secrets among its options."""
    base, mark, options = url.partition("?")
    if "@" in options:
        # An unescaped "?" in a password: what follows it is no option.
        base, mark, options = url, "", ""
    shown = re.sub(_USERINFO, r"\1:***@", base)
    return shown + re.sub(_HIDDEN_OPTION, r"\1***", mark + options)
