"""`waypost dmarc report`: aggregate reports, as receivers send them about a domain (RFC 7489, RFC 9990).

In: files of any form that reports come in. Out: each report with its sources, those that fail first, and what to do
about each.

    files.py      archives and mails -> documents, within bounds
    encoding.py   octets of a document -> text, whatever character set it is in
    xml_tree.py   text -> a tree of names and texts; broken XML is read as far as it goes
    aggregate.py  tree -> report
    advice.py     what a source's results mean, and what to do
    show.py       text and JSON
    texts.py      every sentence
"""
