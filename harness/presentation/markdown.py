"""Markdown: tables, wide ones split, and figures with their alt text."""

from __future__ import annotations

from collections.abc import Sequence

WIDEST = 8  # columns that fit a page


def cell(value: object) -> str:
    """Text that cannot break its table."""
    return " ".join(str(value).split()).replace("|", "\\|")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """A table; the first ``left`` columns are aligned left, the numbers after them right."""
    if not rows:
        return ""
    rule = [":--" if i < left else "--:" for i in range(len(headers))]
    lines = [headers, rule, *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def split_table(headers: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1, widest: int = WIDEST) -> str:
    """A table of at most ``widest`` columns, or several that repeat the first ``left`` ones."""
    step = max(1, widest - left)
    if len(headers) <= widest:
        return table(headers, rows, left)
    parts = [range(start, min(start + step, len(headers))) for start in range(left, len(headers), step)]
    return "\n\n".join(
        table(
            [*headers[:left], *(headers[i] for i in part)],
            [[*row[:left], *(row[i] for i in part)] for row in rows],
            left,
        )
        for part in parts
    )


def figure(alt: str, path: str, caption: str) -> str:
    """An image with alt text, and its data beside it."""
    data = path.removesuffix(".png") + ".csv"
    clean = alt.replace("[", "(").replace("]", ")")
    return f"![{clean}]({path.replace(' ', '%20')})\n\n{caption} Data: [{data}]({data.replace(' ', '%20')})."


def folded(summary: str, body: str) -> str:
    """A part that opens on a click."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def document(parts: Sequence[str]) -> str:
    """Parts separated by one blank line each; empty ones left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"
