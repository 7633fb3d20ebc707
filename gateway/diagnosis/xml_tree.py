"""XML from strangers as a tree of names and texts: no document type, no entities, bounded depth and size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

_MOST_DEPTH = 24
_MOST_NODES = 2_000_000
_MOST_TEXT = 4096
"""Characters of one element; what is beyond is dropped."""
_CHUNK = 65536
_CUT_OFF = tuple(
    expat.errors.codes[text] for text in (expat.errors.XML_ERROR_NO_ELEMENTS, expat.errors.XML_ERROR_UNCLOSED_TOKEN)
)


class XmlRefused(ValueError):
    """The document cannot be read, or is not worth reading; the text says why and where."""


@dataclass(slots=True)
class Node:
    """One element; its name is without prefix, in lower case."""

    name: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def find(self, name: str) -> Node | None:
        return next((child for child in self.children if child.name == name), None)

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

    def start(self, name: str, _attributes: object) -> None:
        self.count += 1
        if self.count > _MOST_NODES or len(self.open) >= _MOST_DEPTH:
            raise XmlRefused("more elements, or deeper ones, than any report has")
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

    def refuse_doctype(self, *_declaration: object) -> None:
        raise XmlRefused("has a document type (DOCTYPE), as no report needs: such a file may be built to do harm")


def read_xml(octets: bytes, wanted: str, take: Callable[[Node], bool]) -> Node:
    """The first element of the name `wanted` that is whole: what stands around it may be broken. `take` is called with
    each other element that has ended; what it takes is kept in no tree, so that memory does not grow with the document.
    Raises XmlRefused."""
    reader = _Reader(wanted, take)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = reader.refuse_doctype
    parser.EntityDeclHandler = reader.refuse_doctype
    problem = _parse(parser, octets, reader)
    if reader.found is not None:
        return reader.found
    raise XmlRefused(problem or f"begins with <{reader.first}> and has no <{wanted}>")


def _parse(parser: expat.XMLParserType, octets: bytes, reader: _Reader) -> str:
    """Run the parser to the end, or to where it cannot go on: then the text says why."""
    try:
        for start in range(0, max(len(octets), 1), _CHUNK):
            parser.Parse(octets[start : start + _CHUNK], start + _CHUNK >= len(octets))
    except expat.ExpatError as error:
        if error.code in _CUT_OFF and reader.open:
            return f"ends within <{reader.open[-1].name}>: the file is cut off"
        return f"is no well-formed XML: {error}"
    except XmlRefused:
        raise
    except (ValueError, LookupError) as error:
        return f"is in a character set that cannot be read: {error}"
    return ""
