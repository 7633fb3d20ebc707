"""`waypost autopsy`: the failing part of a signature, the changes to the message, and the hop that made them.

In: a message's octets and the keys that DNS gave. Out: an `Autopsy`, and from it text, JSON, a repaired copy and a
report for a provider's support. Pure: no clock, no socket, no disk; imported by `cli`.

    examination.py  the whole course, from signatures to a culprit
    proofs.py       the failing part of a signature, and the proof of a repair
    bodies.py       body hashes of a message after some edits
    search.py       one change or two, the likely ones first
    catalogue.py entry.py   known changes by mail servers, with the inverse of each
    structure.py content.py lines.py encoding.py    the inverses for bodies
    fields.py values.py                             and those for headers
    variants.py edits.py                            the proposals of an inverse
    anatomy.py      the structure of a message
    suspicions.py   marks of changes that cannot be undone
    hops.py programs.py   the way of a message, and the programs on it
    specimen.py differences.py   the file, and its differences from the original
    output.py rendering.py redaction.py   JSON, text, and the report for a support desk
    texts.py        every sentence of the text
"""
