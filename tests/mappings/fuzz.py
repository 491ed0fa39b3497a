"""Random edits of the kind that people, editors and disks make, and the words that no message may have."""

from __future__ import annotations

import random
import re

STRAY = "{}[]:,&*!|>'\"%@`#\t-? \n\0ñ🌍\x07\u2028\u00a0“0"
PYTHON = re.compile(
    r"NoneType|\bdict\b|\btuple\b|\bstr\b|\bint\b|\bfloat\b|\bbool\b|\bNone\b|Traceback|<class|<function|pydantic"
    r"|Input should|Error\b|Exception|\bself\b|lambda|0x[0-9a-f]{6}|__\w+__|object at"
)
"""What would tell a reader that Python is at work."""


def edited(text: str, chance: random.Random) -> str:
    """Return a text with one to three random mistakes."""
    for _ in range(chance.randint(1, 3)):
        text = _edit(text, chance)
    return text


def _edit(text: str, chance: random.Random) -> str:
    lines = text.splitlines(keepends=True) or ["\n"]
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    line = lines[at]
    cut = chance.randrange(len(line) + 1)
    words = re.findall(r"[\w.]+", lines[other]) or ["x"]
    if chance.random() < 0.02:
        return "".join(lines[:at]) + line[:cut]  # a file that was not written to its end
    lines[at] = chance.choice(
        [
            "",
            line[:cut] + "\n",
            line[:cut] + chance.choice(STRAY) + line[cut:],
            line[:cut] + line[cut + 1 :],
            "  " + line,
            line.removeprefix("  "),
            line + line,
            lines[other],
            re.sub(r": .*", ":", line),
            re.sub(r"(\w+): (\w+)", r"\2: \1", line, count=1),
            re.sub(r"[\[{].*[\]}]", "[]", line),
            re.sub(r": [^\[{]*$", ": {a: [b, {c: d}]}\n", line),
            re.sub(r": \S+", lambda _: f": {chance.choice(words)}", line, count=1),
            line.replace("e", "é", 1),
            line.replace(",", ";"),
            line.rstrip("\n") + "\r\n",
        ]
    )
    return "".join(lines)
