"""`waypost autopsy`: which part of a signature fails, what was done to the message, and which hop did it.

In: a message's octets and the keys that DNS gave. Out: an `Autopsy`, and from it text, JSON, a repaired copy and a
report for a provider's support. Pure: no clock, no socket, no disk; imported by `cli`.

    examination.py  the whole course, from signatures to a culprit
    proofs.py       what fails of a signature, and what proves a repair
    bodies.py       body hashes of a message as it would be after some edits
    search.py       one change or two, the likely ones first
    catalogue.py entry.py   what mail servers are known to do, with the inverse of each
    structure.py content.py lines.py encoding.py    the inverses for bodies
    fields.py values.py                             and those for headers
    variants.py edits.py                            what an inverse proposes
    anatomy.py      how a message is built
    suspicions.py   marks of what cannot be undone
    hops.py programs.py   the way of a message, and who wrote what
    specimen.py differences.py   the file, and what differs from its original
    output.py rendering.py redaction.py   JSON, text, and the report for a support desk
    texts.py        every sentence of the text
"""
