"""What the listener answers by itself: order, syntax and limits."""

from __future__ import annotations

from gateway.model.reply import Reply

TOO_LONG = Reply(500, "5.2", "Command line too long")
UNKNOWN = Reply(500, "5.1", "Command not recognised")
TLS_FIRST = Reply(530, "7.0", "Must issue a STARTTLS command first")
HELLO_FIRST = Reply(503, "5.1", "Send EHLO or HELO first")
LOGIN_FIRST = Reply(530, "7.0", "Authentication required")
IN_MAIL = Reply(503, "5.1", "Not during a mail transaction")
TLS_TWICE = Reply(503, "5.1", "TLS is up already")
START_TLS = Reply(220, "0.0", "Ready to start TLS")
EARLY = Reply(554, "5.1", "You talk before you are greeted")
INJECTION = Reply(554, "5.1", "Nothing may follow STARTTLS before TLS is up")
TOO_MANY_COMMANDS = Reply(421, "7.0", "Too many commands")
TOO_MANY_ERRORS = Reply(421, "7.0", "Too many errors")

SYNTAX_EHLO = Reply(501, "5.4", "Syntax: EHLO name")
SYNTAX_HELO = Reply(501, "5.4", "Syntax: HELO name")
SYNTAX_MAIL = Reply(501, "1.7", "Syntax: MAIL FROM:<address> [parameters]")
SYNTAX_RCPT = Reply(501, "1.3", "Syntax: RCPT TO:<address> [parameters]")
SYNTAX_DATA = Reply(501, "5.4", "Syntax: DATA")
SYNTAX_STARTTLS = Reply(501, "5.4", "Syntax: STARTTLS")
