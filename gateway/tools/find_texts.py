"""The sentences of `waypost find`."""

NO_TIME = "{text} is no time: write 10:15, 2026-11-30T10:15, today, yesterday, or 2h for two hours ago"
NO_STATE = "{text} is no state; there are: {states}"
ENDS_FIRST = "the time to search ends ({until}) before it begins ({since}); a time without a day is the last such time"
MORE = "There are more: add --after {cursor} to see them, or --limit for a longer list."
EXPLAIN = "`waypost explain ID` tells the whole story of one."
EVERYTHING = "everything"
NOTHING = "Nothing was found. Searched: {query}."
EMPTY = "The spool has no traces at all: no message has come to this gateway yet."
REACH = (
    "All mail that came to this gateway since {oldest} was searched: accepted, refused, deferred, greylisted and held "
    "mail alike. Traces are kept as long as [retention] trace says."
)
BEFORE_REACH = "The time asked for begins before that: of earlier mail nothing is kept here."
FUTURE = "The time asked for ends in the future: is the day right?"
NO_SUBJECTS = "Subjects cannot be searched: set [search] subjects = true, and restart."
ELSEWHERE = "At another time the same was found: the last one came {received} (`waypost explain {id}`)."
NEXT = "So the message did not reach this gateway, or its client left before it named a recipient. Check next:"
STEP_MX = (
    "Does the sender's mail come here? `dig +short MX {domain}` must name this gateway and no other host: mail that "
    "another host takes is not seen here."
)
STEP_BOUNCE = (
    "Ask the sender for the bounce, or for their own mail log: `waypost bounce FILE` tells who refused the message, "
    "and why. A server that cannot reach us tries for days before it tells its user."
)
STEP_SENDER = (
    "Is the address right? MAIL FROM often differs from the address that people see: search for the domain with "
    "--domain, or for the recipient or the time alone."
)
STEP_LOG = (
    "Did the client leave before it named a recipient? Such a session has no trace: look in the gateway's log for "
    "`listener-refused` with the sender's address."
)
