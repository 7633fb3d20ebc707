"""Rules cite the standard they obey as `RFC nnnn section x.y`. Run as a program, this prints RFC -> lines."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

MENTION = re.compile(r"\bRFC(?=[\s#]*\d{3,5}\b(?!\.[A-Z]))|(?i:\brfc)(?=\s\d{3,5}\b)")
"""`RFC5321.MailFrom` names an identity, and `rfc822` or `rfc9989` is a name in code: those cite nothing."""
CITATION = re.compile(
    r"RFC (?P<rfc>\d{3,5})"
    r"(?: (?P<part>(?:section|appendix) [0-9A-Z]+(?:\.\d+)*|sections (?:\d+(?:\.\d+)*(?:, | and )?)+))?"
)
STRAY = re.compile(r"(?i)^(?:,? (?:sect?\.|s\.|§|chapter|paragraph|sections?\b)|,? ?\d+\.\d|#|/rfc)")
"""Text that must not follow a citation: a section in any other form."""


def sources() -> list[Path]:
    places = ("gateway", "policies", "tests", "docs")
    found = [
        path
        for place in places
        for path in (ROOT / place).rglob("*")
        if path.suffix in (".py", ".toml", ".sql", ".md") and "node_modules" not in path.parts
    ]
    return sorted([*found, ROOT / "README.md"])


def lines() -> Iterator[tuple[str, str, str]]:
    """(place, line, the line after it): a citation may run over the end of a line."""
    for path in sources():
        if path == Path(__file__).resolve():
            continue
        text = path.read_text().splitlines()
        for number, (line, following) in enumerate(zip(text, [*text[1:], ""], strict=True), 1):
            yield f"{path.relative_to(ROOT)}:{number}", line, following.lstrip(" #-*")


def malformed(line: str, following: str = "") -> list[str]:
    """The citations that begin in this line and are not of the form."""
    wrong = []
    for mention in MENTION.finditer(line):
        rest = f"{line[mention.start() :]} {following}"
        citation = CITATION.match(rest)
        if citation is None or STRAY.match(rest[citation.end() :]):
            wrong.append(rest[:40])
    return wrong


def index() -> dict[int, list[str]]:
    """RFC number -> places in the code that cite it, with the section."""
    cited: dict[int, list[str]] = defaultdict(list)
    for place, line, following in lines():
        if place.startswith("gateway/"):
            for citation in CITATION.finditer(f"{line} {following}"):
                if citation.start() >= len(line):
                    break
                cited[int(citation["rfc"])].append(f"{place} {citation['part'] or ''}".rstrip())
    return dict(sorted(cited.items()))


def test_citations_have_one_form() -> None:
    wrong = [f"{place}: {text}" for place, line, following in lines() for text in malformed(line, following)]
    assert wrong == []


def test_the_core_standards_are_cited() -> None:
    cited = index()
    for rfc in (5321, 5322, 6376, 7208, 8601, 8617, 9989):
        assert any("section" in place for place in cited.get(rfc, [])), f"RFC {rfc} is cited nowhere with a section"


def test_other_forms_are_noticed() -> None:
    assert malformed("RFC 7208 section 4.6.4, RFC 5321 and RFC 6376 appendix A.1 are fine") == []
    assert malformed("RFC 8617 sections 4.1.2, 5 and 5.2 too") == []
    assert malformed("# RFC 7208 section", "4.6.4 says") == []
    for text in (
        "RFC7208 section 4",
        "rfc 7208",
        "RFC 7208 4.6.4",
        "RFC 7208 s.4.6.4",
        "RFC 7208 sec. 4",
        "RFC 7208, section 4",
    ):
        assert malformed(text), text


if __name__ == "__main__":
    for rfc, places in index().items():
        print(f"RFC {rfc}")
        for place in places:
            print(f"    {place}")
