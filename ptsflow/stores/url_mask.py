"""URLs as they may be shown: without passwords and other secrets."""

from __future__ import annotations

import re

# Patterns are compiled when they are first used.
_USERINFO = r"(?s)(?<=://)([^:@/?]*):.*@"
_WITHOUT_SCHEME = r"(?s)^([^:@/?]*):.*@"
_IN_TEXT = r"(://[^:@/?\s]*):[^@/\s]*@"
_HIDDEN_OPTION = (
    r"(?i)([?&;][^=&;]*(?:pass|passwd|password|pwd|properties|secret|token|key)=)[^&;]*"
)


def mask(url: str) -> str:
    """Return the URL with `***` for the password and for secrets among its options."""
    base, _, options = url.partition("?")
    # An "@" among the options may end a password that has an unescaped "?".
    secret = url if "@" in options else base
    userinfo = _USERINFO if "://" in secret else _WITHOUT_SCHEME
    shown = re.sub(userinfo, r"\1:***@", secret) + url[len(secret) :]
    return re.sub(_HIDDEN_OPTION, r"\1***", shown)


def mask_in(text: str) -> str:
    """Return a text with `***` for the passwords of the URLs in it."""
    return re.sub(_IN_TEXT, r"\1:***@", text) if "://" in text else text
