"""How bash asks for proposals, and how it is answered."""

from __future__ import annotations

import os
import re
import shlex

from click.shell_completion import BashComplete, CompletionItem, split_arg_string

#: Where bash ends a word, beside blanks: what is proposed replaces only what stands behind.
_BREAKS = re.compile(r".*[:=]")
_SAFE = re.compile(r"[\w@%+:,./=-]")


class Bash(BashComplete):
    """Completes also names with colons, equals signs, blanks and brackets."""

    source_template = r"""
%(complete_func)s() {
    local IFS=$'\n' type value response
    response=$(PTSFLOW_LINE="${COMP_LINE:0:$COMP_POINT}" \
        COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
        case $value in *[:=/]) compopt -o nospace ;; esac
    done <<< "$response"
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, and the last one as far as it is typed."""
        line = os.environ.get("PTSFLOW_LINE")
        if line is None:
            return super().get_completion_args()
        words = split_arg_string(line)
        is_new = line[-1:].isspace() and not _is_quoted(line)
        incomplete = "" if is_new or len(words) < 2 else words.pop()  # noqa: PLR2004
        self._typed = incomplete if not _is_quoted(line) else None
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Return a proposal as it replaces the last part of what is typed."""
        value, typed = item.value, getattr(self, "_typed", None)
        if typed is not None and item.type == "plain":
            found = _BREAKS.match(typed)
            value = value[found.end() if found else 0 :]
            value = "".join(c if _SAFE.match(c) else f"\\{c}" for c in value)
        return f"{item.type},{value}"


def _is_quoted(line: str) -> bool:
    """Whether the cursor stands within quotes."""
    try:
        shlex.split(line)
    except ValueError:
        return True
    return False
