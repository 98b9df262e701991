"""A console that prints text without markup and escapes control characters, because names may come from strangers."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.text import Text

COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters (cursor, colour, bell), marks of text direction, and surrogates (bytes that are not text)."""


def plain(text: str) -> str:
    """Replace control characters, except line feeds and tabs, by Python escapes: ``\\x1b[31m``."""
    return COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class PlainConsole(Console):
    """A console for text from any source: no markup, no emoji, no control characters."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a string to a `Text` without control characters. Rich calls this for all strings, also in tables."""
        return super().render_str(plain(text), **options)
