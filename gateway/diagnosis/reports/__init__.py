"""`waypost dmarc report`: aggregate reports, as receivers send them about a domain (RFC 7489, RFC 9990).

In: files in any form of report. Out: each report with its sources, failing ones first, and the remedy for each.

    files.py      archives and mails -> documents, within bounds
    encoding.py   octets of a document -> text, in any character set
    xml_tree.py   text -> a tree of names and texts; broken XML is read as far as possible
    aggregate.py  tree -> report
    advice.py     the meaning of a source's results, and the remedy
    show.py       text and JSON
    texts.py      every sentence
"""
