"""`waypost dmarc report`: aggregate reports, as receivers send them about a domain (RFC 7489, RFC 9990).

In: files in any form of report. Out: each report with its sources, failing ones first, and the remedy for each.

    files.py      archives and mails -> documents, within bounds
    encoding.py   octets of a document -> text, whatever character set it is in
    xml_tree.py   text -> a tree of names and texts; broken XML is read as far as it goes
    aggregate.py  tree -> report
    advice.py     what a source's results mean, and what to do
    show.py       text and JSON
    texts.py      every sentence
"""
