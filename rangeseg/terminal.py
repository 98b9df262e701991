"""The terminal: names of files and classes are printed as they are, and nothing in them commands it."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.text import Text

COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move the cursor, colour, ring, turn the direction of text, or stand for bytes that are no text."""


def plain(text: str) -> str:
    """The text with control characters, but for line ends and tabs, as escapes of Python: ``\\x1b[31m``."""
    return COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class PlainConsole(Console):
    """A terminal for words of anybody: no markup, no emoji, no control characters."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """What rich makes of every string that is printed, alone or in a table."""
        return super().render_str(plain(text), **options)
