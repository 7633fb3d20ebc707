"""XML from strangers as a tree of names and texts: no document type, no entities, bounded depth and size.

expat reads sound XML. Documents that expat refuses are read again by the few rules below, so that one unescaped `&`
does not hide a whole report.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import unescape
from xml.parsers import expat

from gateway.diagnosis.reports import texts

_MOST_DEPTH = 24
_MOST_NODES = 2_000_000
_MOST_TEXT = 4096
"""Characters of one element; the rest is dropped."""
_CHUNK = 65536
_CUT_OFF = tuple(
    expat.errors.codes[text] for text in (expat.errors.XML_ERROR_NO_ELEMENTS, expat.errors.XML_ERROR_UNCLOSED_TOKEN)
)
_TOKEN = re.compile(
    r"(?P<section><!--|<\?|<!\[CDATA\[)"
    r"|<(?P<closes>/?)(?P<name>[A-Za-z_][A-Za-z0-9_.:-]{0,80})(?:\s[^<>]{0,2000})?(?P<empty>/?)>",
)
"""A `<` that begins none of these is text, and so is the beginning of a section that never ends."""
_SECTION_ENDS = {"<!--": "-->", "<?": "?>", "<![CDATA[": "]]>"}
_LONG_REFERENCE = re.compile(r"&#(?:[xX][0-9A-Fa-f]{9,}|[0-9]{11,})")
"""A number that is not a character: Python refuses to read numbers of thousands of digits."""
_DOCTYPE = re.compile(r"<!DOCTYPE\b|<!ENTITY\b", re.IGNORECASE)


class XmlRefused(ValueError):
    """The document cannot be read, or not within the limits; the text gives the reason and the place."""


@dataclass(slots=True)
class Node:
    """One element; its name is without prefix, in lower case."""

    name: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def find(self, name: str) -> Node | None:
        """The first child of the name; in a broken document it may be deeper."""
        near = next((child for child in self.children if child.name == name), None)
        return near or next((found for child in self.children if (found := child.find(name))), None)

    def find_all(self, name: str) -> Iterator[Node]:
        return (child for child in self.children if child.name == name)

    def value(self, *path: str) -> str:
        """The text at the end of a path of names; empty when there is none."""
        node: Node | None = self
        for name in path:
            node = node.find(name) if node else None
        return node.text.strip() if node else ""


@dataclass(slots=True)
class _Reader:
    wanted: str
    take: Callable[[Node], bool]
    open: list[Node] = field(default_factory=list)
    first: str = ""
    found: Node | None = None
    count: int = 0

    def start(self, name: str, _attributes: object = None) -> None:
        self.count += 1
        if self.count > _MOST_NODES or len(self.open) >= _MOST_DEPTH:
            raise XmlRefused(texts.DEEP_XML)
        node = Node(name.rpartition(":")[2].lower())
        self.first = self.first or node.name
        self.open.append(node)

    def end(self, _name: str) -> None:
        node = self.open.pop()
        if node.name == self.wanted and self.found is None:
            self.found = node
        elif self.open and not self.take(node):
            self.open[-1].children.append(node)

    def data(self, text: str) -> None:
        if self.open and len(self.open[-1].text) < _MOST_TEXT:
            self.open[-1].text += text[:_MOST_TEXT]

    def close(self, name: str) -> None:
        """End an element in a broken document, and the unclosed elements in it; an end without an open element is
        ignored."""
        name = name.rpartition(":")[2].lower()
        if any(node.name == name for node in self.open):
            while self.open[-1].name != name:
                self.end("")
            self.end("")

    def refuse_doctype(self, *_declaration: object) -> None:
        raise XmlRefused(texts.DOCTYPE)


def read_xml(text: str, wanted: str, take: Callable[[Node], bool], forget: Callable[[], None]) -> tuple[Node, str]:
    """The first complete element of the name `wanted`, and the fault of the document (empty when there is none); the
    XML around the element may be broken. `take` is called with each other element that has ended; elements that it
    takes are not kept in the tree, so that memory does not grow with the document. `forget` is called before the
    document is read a second time. Raises XmlRefused."""
    reader = _Reader(wanted, take)
    flaw = _parse(reader, text)
    if reader.found is None and flaw:
        forget()
        reader = _Reader(wanted, take)
        _read_broken(reader, text)
    if reader.found is not None:
        return reader.found, flaw
    if reader.open:
        raise XmlRefused(texts.CUT_XML.format(name=reader.open[-1].name))
    raise XmlRefused(texts.OTHER_XML.format(name=reader.first or "?"))


def _parse(reader: _Reader, text: str) -> str:
    """Run expat to the end, or to the first error, which is then returned."""
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = reader.refuse_doctype
    parser.EntityDeclHandler = reader.refuse_doctype
    octets = text.encode("utf-8", "replace")
    try:
        for start in range(0, max(len(octets), 1), _CHUNK):
            parser.Parse(octets[start : start + _CHUNK], start + _CHUNK >= len(octets))
    except expat.ExpatError as error:
        if error.code in _CUT_OFF and reader.open and reader.found is None:
            raise XmlRefused(texts.CUT_XML.format(name=reader.open[-1].name)) from None
        return str(error)
    return ""


def _read_broken(reader: _Reader, text: str) -> None:
    """Anything that looks like a tag is one; all else is text. Linear time: a missing end is searched for once."""
    if _DOCTYPE.search(text):
        reader.refuse_doctype()
    missing: set[str] = set()
    at = look = 0
    while reader.found is None and (found := _TOKEN.search(text, look)):
        look = found.end()
        end = _SECTION_ENDS.get(found["section"] or "", "")
        ends_at = text.find(end, look) if end and end not in missing else -1
        if end and ends_at < 0:
            missing.add(end)
            continue
        reader.data(_unescape(text[at : found.start()]))
        if found["section"] == "<![CDATA[":
            reader.data(text[look:ends_at])
        elif found["name"]:
            _take_tag(reader, found)
        at = look = ends_at + len(end) if end else look


def _take_tag(reader: _Reader, tag: re.Match[str]) -> None:
    if tag["closes"]:
        reader.close(tag["name"])
        return
    reader.start(tag["name"])
    if tag["empty"] or tag[0].endswith("/>"):
        reader.end("")


def _unescape(text: str) -> str:
    return unescape(_LONG_REFERENCE.sub("\ufffd", text))
