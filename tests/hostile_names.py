"""A hundred names that a terminal, a pipe or an encoding would rather not meet, each legal for a file on Linux."""

from __future__ import annotations

# What moves the cursor, clears, titles, links, fills the clipboard, asks for an answer, or prints in magenta.
SEQUENCES = (
    "\x1b[3J", "\x1b[5;5H", "\x1b[35;5m", "\x1b[8m", "\x1b]0;title\x07", "\x1b]52;c;cm0gLXJm\x07",
    "\x1b]8;;https:example.invalid\x1b\\link\x1b]8;;\x1b\\", "\x1bP+q544e\x1b\\", "\x1b[6n", "\x1b[?1049h", "\x1bc",
    "\x9b3J", "\x9d0;title\x9c", "\x90q\x9c", "\x1b(0", "\x1b[2;9r", "\x1b#8", "\x1b^x\x1b\\", "\x1b_x\x1b\\", "\x1b%G",
)  # fmt: skip
CONTROLS = (
    "\n", "\r", "\r\n", "\t", "\x08\x08\x08", "\x07", "\x7f", "\v", "\f", "\x85", "\x01", "\x0e", "\x0f", "\x1a",
    "\x1c", "\x1e", "\x80", "\x84", "\x8d", "\xad",
)  # fmt: skip
FORMATS = (
    "\u202e", "\u202a", "\u202b", "\u202c", "\u202d", "\u2066", "\u2067", "\u2068", "\u2069", "\u200e", "\u200f",
    "\u061c", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u2028", "\u2029", "\u180e", "\ufff9", "\U000e0041",
    "\U0001d173", "\ue000", "\U000f0000", "\u0378", "\uffff", "\U0010ffff", "\u0600", "\u2061",
)  # fmt: skip
BYTES = (
    "\udcff\udcfe",
    "\udc80",
    "ros\udce9",
    "\udcc3",
    "\udcf0\udc9f\udc98",
    "\udced\udca0\udc80",
    "\udcc0\udcaf",
    "\udc9b2J",
)
WORDS = (
    "[red]x[bold]", "[bold]", "[link=https:x]", "{name}", "%s%n", "$(id)", "`id`", "--json", "-rf", "日本語",
    "ひらがな", "한국어", "中文", "ру́сский", "العربية", "हिन्दी", "İstanbul ğüş", "😀👍🏽",
    "e\u0301", "a" * 200, "z\u0310\u0311" * 30, "$x^2$",
)  # fmt: skip
NAMES = tuple(f"n{number:02d}{name}" for number, name in enumerate((*SEQUENCES, *CONTROLS, *FORMATS, *BYTES, *WORDS)))
