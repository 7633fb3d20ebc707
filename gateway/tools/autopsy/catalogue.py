"""The catalogue: what mail servers are known to do to messages on their way, and how each of it is undone.

B entries change the body and are proven by its hash, without any key; H entries change the header and are proven by the
signature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.tools.autopsy import content, encoding, fields, lines, structure, values
from gateway.tools.autopsy.anatomy import Anatomy
from gateway.tools.autopsy.variants import Variant


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of change."""

    id: str
    name: str
    description: str
    """What was done, as a sentence without subject that follows `the hop`."""
    who: tuple[str, ...]
    """Programs known to do it, by the keys of `programs`; empty where anything may."""
    undo: Callable[[Anatomy], Iterator[Variant]] | None
    """Proposes inverses; None where what was there before cannot be known."""
    cost: float = 1.0
    """How unlikely it is, before anything is known of the message; also in which order inverses are tried."""


BODY = (
    Entry(
        "B01",
        "blank-between-boundaries",
        "put a blank line between the end of an inner multipart and the next boundary",
        ("exchange",),
        structure.delete_blanks_between,
        0.5,
    ),
    Entry(
        "B02",
        "blank-removed-between-boundaries",
        "took away the blank line between the end of an inner multipart and the next boundary",
        ("exchange", "gen_smtp"),
        structure.insert_blanks_between,
    ),
    Entry(
        "B03",
        "nested-preamble-blank-removed",
        "took away the empty line before the first boundary of an inner multipart",
        ("exchange", "gen_smtp"),
        structure.insert_nested_preamble,
    ),
    Entry(
        "B04",
        "part-header-inserted",
        "put header fields of its own into the parts of the message",
        ("exchange",),
        structure.delete_part_fields,
    ),
    Entry(
        "B05",
        "html-meta-inserted",
        "put a <meta> element that names the character set into the HTML",
        ("exchange",),
        content.delete_meta,
    ),
    Entry(
        "B06",
        "close-delimiter-added",
        "added the final boundary line that the sender had left out",
        ("exchange", "dotnet"),
        structure.delete_close_delimiter,
    ),
    Entry(
        "B07",
        "boundary-renamed",
        "wrote the message anew, with boundaries of its own",
        ("mimecast", "exchange"),
        None,
    ),
    Entry(
        "B08",
        "crlf-after-rfc822-part",
        "put a line break after an attached message",
        ("exchange", "dotnet"),
        structure.delete_line_after_message,
    ),
    Entry(
        "B09",
        "footer-text",
        "added a footer to the text",
        ("mailman", "google-groups"),
        content.delete_footer,
        1.2,
    ),
    Entry(
        "B10",
        "footer-mime-part",
        "added a footer as a part of its own",
        ("mailman", "google-groups"),
        structure.delete_footer_part,
    ),
    Entry(
        "B11",
        "banner-prepended",
        "put a warning about outside senders above the text",
        ("exchange", "proofpoint", "mimecast"),
        content.delete_banner,
    ),
    Entry(
        "B12",
        "8bit-to-qp",
        "converted the text from 8bit to quoted-printable",
        ("sendmail", "postfix", "hmailserver"),
        encoding.quoted_to_eight_bit,
        1.2,
    ),
    Entry(
        "B13",
        "qp-to-8bit",
        "converted the text from quoted-printable to 8bit",
        ("sendmail",),
        encoding.eight_bit_to_quoted,
        1.5,
    ),
    Entry(
        "B14",
        "base64-rewrapped",
        "wrapped the lines of base64 attachments at another length",
        ("mailman", "wildduck"),
        encoding.rewrap_base64,
    ),
    Entry(
        "B15",
        "qp-rewrapped",
        "wrapped the lines of quoted-printable text elsewhere",
        ("exchange", "dotnet"),
        encoding.rewrap_quoted,
        1.2,
    ),
    Entry(
        "B16",
        "long-line-wrapped",
        "cut long lines in two",
        ("postfix", "sendmail", "exchange"),
        lines.join_wrapped,
    ),
    Entry(
        "B17",
        "trailing-ws-stripped",
        "took away spaces at the ends of lines",
        (),
        lines.restore_line_ends,
        2.0,
    ),
    Entry(
        "B18",
        "from-stuffed",
        "wrote `>From` for `From` at the start of a line",
        ("mailbox", "mailman"),
        lines.unstuff_from,
    ),
    Entry(
        "B19",
        "dot-lost",
        "doubled or lost dots at the start of lines",
        (),
        lines.restore_dots,
        1.2,
    ),
    Entry(
        "B20",
        "trailing-blank-lines",
        "added or removed blank lines at the very end, which breaks no signature",
        (),
        None,
    ),
    Entry(
        "B21",
        "url-rewritten",
        "replaced links by links through its own scanner",
        ("exchange", "proofpoint"),
        content.restore_links,
    ),
    Entry(
        "B22",
        "ws-run-collapsed",
        "turned two spaces into one",
        (),
        lines.restore_runs,
        2.5,
    ),
    Entry(
        "B23",
        "charset-converted",
        "converted the text to another character set",
        ("exchange",),
        encoding.restore_charset,
        1.5,
    ),
    Entry(
        "B24",
        "part-replaced",
        "took a part out and left a notice in its place",
        ("mailscanner", "mimecast", "exchange"),
        None,
    ),
)

HEADER = (
    Entry(
        "H01",
        "subject-tag",
        "put a tag in front of the subject",
        ("mailman", "google-groups", "exchange", "proofpoint"),
        fields.delete_subject_tag,
        0.5,
    ),
    Entry(
        "H02",
        "subject-reencoded",
        "encoded the subject or a name in another way",
        ("mailman", "python"),
        values.restore_words,
        1.2,
    ),
    Entry(
        "H03",
        "refolded",
        "folded header fields at other places",
        ("exchange", "python", "rspamd"),
        fields.unfold_fields,
        1.2,
    ),
    Entry(
        "H04",
        "display-name-quoted",
        "put quotes around a name, or took them away",
        ("sendmail", "exchange"),
        values.toggle_quotes,
    ),
    Entry(
        "H05",
        "from-munged",
        "put its own address into From",
        ("mailman", "google-groups"),
        fields.restore_from,
    ),
    Entry(
        "H06",
        "message-id-replaced",
        "replaced the Message-ID",
        ("ses",),
        fields.restore_message_id,
    ),
    Entry(
        "H07",
        "date-rewritten",
        "wrote the date in another way",
        ("ses",),
        values.rewrite_date,
        1.2,
    ),
    Entry(
        "H08",
        "header-removed",
        "removed a header field that is signed",
        (),
        None,
    ),
    Entry(
        "H09",
        "header-added-oversigned",
        "added a header field whose absence is signed",
        ("mailman", "google-groups", "exchange", "mailscanner"),
        fields.delete_added_fields,
    ),
    Entry(
        "H10",
        "content-type-params",
        "wrote the parameters of Content-Type in another way",
        ("exchange", "dotnet"),
        values.rewrite_parameters,
        1.1,
    ),
    Entry(
        "H11",
        "header-name-case",
        "wrote names of header fields in other letters",
        (),
        fields.restore_names,
        1.3,
    ),
    Entry(
        "H12",
        "raw8bit-header-encoded",
        "encoded a header field that was raw UTF-8",
        ("exchange", "sendmail"),
        values.decode_words,
        1.1,
    ),
    Entry(
        "H13",
        "dkim-sig-refolded",
        "folded the signature itself at other places",
        (),
        fields.refold_signature,
        1.5,
    ),
    Entry(
        "H14",
        "headers-reordered",
        "put header fields in another order, which breaks no signature",
        (),
        None,
    ),
)
