"""The spool: messages, transfers and traces on stable storage, in one SQLite file and a directory of large content.

In: Intakes and Settlements, each written as one transaction. Out: Claims, Stories and the queue, as nouns. It
implements `ports.Spool`. Only `app`, `cli` and tests import it; it imports `model` and `ports`, and only this package
contains SQL.
"""
