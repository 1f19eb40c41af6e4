"""Escape foreign text for the place it is written to: a terminal, a Markdown page, or a cell of a CSV file."""

import re

# control characters except tab and newline, line separators, and characters that change the direction of text
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_MARKDOWN = re.compile(r"([\\`*\[\]<>|~$]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;))")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def terminal_text(text: str) -> str:
    """Escape control characters, which could move the cursor or change colors and titles; newlines and tabs stay."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def json_text(text: str) -> str:
    """Escape control characters in JSON text, which `json.dumps` leaves if it does not escape all of Unicode."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def markdown_text(text: str) -> str:
    """Escape text for one line of Markdown, so that it is shown as it is, also in a cell of a table."""
    return _MARKDOWN.sub(r"\\\1", terminal_text(" ".join(text.split())))


def markdown_code(text: str) -> str:
    """Escape text for inline code in Markdown, also in a cell of a table; a backtick becomes an apostrophe."""
    return f"`{terminal_text(' '.join(text.split())).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def csv_cell(text: str) -> str:
    """Escape a cell that a spreadsheet would evaluate as a formula, by an apostrophe before it; numbers stay."""
    return f"'{text}" if text.startswith(_FORMULA) and not _is_numbers(text) else text


def _is_numbers(text: str) -> bool:
    try:
        return bool([float(part) for part in text.split()])
    except ValueError:
        return False
