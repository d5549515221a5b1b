"""One message in all its forms, as plain values for the page."""

import email
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.policy import default
from typing import Any, Final, Protocol

import polars as pl

from engine import mime
from engine.message import Attachment, Envelope, Extras, Messages
from engine.planning import Plan
from engine.planning.plan import envelope_of
from engine.proof import Proof, Prover
from engine.proof.looking import CLIPPED, LONG_SUBJECT

#: Lines of base64 in a row that are shown of an attachment.
_SHOWN_LINES: Final = 6
_BASE64: Final = re.compile(
    rf"((?:[A-Za-z0-9+/]{{76}}\r\n){{{_SHOWN_LINES}}})((?:[A-Za-z0-9+/]{{76}}\r\n)+)"
)
_REMOTE: Final = re.compile(
    r"""<(?:img|input)\b[^>]*\ssrc\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?https?:""",
    re.IGNORECASE,
)
_CID: Final = re.compile(r"cid:([A-Za-z0-9._@+-]+)")


class Finding(Protocol):
    """What a rule found: see `engine.lint.Finding`."""

    @property
    def id(self) -> str:
        """The rule's."""

    @property
    def severity(self) -> Any:
        """`error`, `warning` or `row`."""

    @property
    def text(self) -> str:
        """What is wrong."""

    @property
    def fix(self) -> str:
        """What to do."""

    @property
    def rows(self) -> int:
        """How many rows; 0: all, or not known."""

    @property
    def examples(self) -> Sequence[Any]:
        """Some rows, each with `row`."""


@dataclass(frozen=True, slots=True)
class Forms:
    """Makes the forms of messages."""

    plan: Plan
    prover: Prover

    def of(self, rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
        """Yield what the page shows of each row of the frozen list.

        Args:
            rows: as `engine.snapshot` describes them; those that are left out, too.
        """
        envelope = envelope_of(
            self.plan.campaign, self.plan.manifest.run, self.prover.recipe
        )
        for place in range(rows.height):
            yield self._one(rows[place], envelope)

    def _one(self, row: pl.DataFrame, envelope: Envelope) -> dict[str, Any]:
        rendered = self.plan.renderer.render(row)
        proof = self.prover.prove(row.with_columns(status=pl.lit(None, pl.String)))
        status, detail = row["status"][0], row["detail"][0]
        facts = {
            "row": row["row"][0],
            "key": row["key"][0],
            "address": row["address"][0],
            "name": row["name"][0],
            "from": envelope.sender,
            "leftOut": None if status is None else f"{status}: {detail}",
            "data": list(_data(row)),
            "notes": list(_notes(proof)),
        }
        if rendered.failures:
            return facts | {"failure": rendered.failures[0].detail}
        return facts | _message(rendered.messages, envelope)


def of_findings(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return what the page shows of what the rules found."""
    return [
        {
            "id": finding.id,
            "severity": str(finding.severity),
            "text": finding.text,
            "fix": finding.fix,
            "rows": [example.row for example in finding.examples],
            "some": bool(finding.rows),
        }
        for finding in findings
    ]


def files(messages: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Take the pictures that are shown out of messages; return each once, by its name.

    A picture that travels with the mail is shown from the mail itself.
    """
    found: dict[str, str] = {}
    names: dict[str, str] = {}
    for message in messages:
        for content_id, uri in message.get("pictures", {}).items():
            name = names.setdefault(uri, f"p{len(names)}")
            found[name] = uri
            message["pictures"][content_id] = name
    return found


def _message(messages: Messages, envelope: Envelope) -> dict[str, Any]:
    extras = messages.extras[0] if messages.extras else envelope.extras
    html = messages.htmls[0] if messages.htmls is not None else None
    text = messages.texts[0] if messages.texts is not None else None
    headers, source = _source(messages, envelope)
    return {
        "failure": None,
        "subject": messages.subjects[0],
        "html": html,
        "text": text,
        "remote": len(_REMOTE.findall(html or "")),
        "headers": headers,
        "source": source,
        "beside": list(_beside(extras, envelope)),
        "files": [_file(file) for file in extras.files()],
        "pictures": _pictures(html or "", extras),
        "size": len((html or text or "").encode()),
    }


def _source(messages: Messages, envelope: Envelope) -> tuple[list[list[str]], str]:
    """Return the header fields, read, and the message as RFC 5322 has it."""
    try:
        (whole,) = mime.Skeleton(envelope).encode(messages)
    except ValueError as error:
        return [], f"It cannot be written as a mail: {error}"
    parsed = email.message_from_bytes(whole.encode(), policy=default)
    fields = [[name, str(value)] for name, value in parsed.items()]
    return fields, _BASE64.sub(_cut, whole)


def _cut(found: re.Match[str]) -> str:
    lines = found[2].count("\r\n")
    return f"{found[1]}… {lines:,} lines more …\r\n"


def _beside(extras: Extras, envelope: Envelope) -> Iterator[list[str]]:
    """Yield what travels beside the header fields."""
    for text in extras.bcc:
        yield ["Bcc", text]
    if envelope.tags:
        yield ["Tags", ", ".join(envelope.tags)]
    for name, text in extras.metadata.items():
        yield [f"Metadata {name}", text]


def _file(file: Attachment) -> dict[str, Any]:
    size = len(file.content) * 3 // 4
    shown = f", shown as cid:{file.content_id}" if file.content_id else ""
    return {"name": file.name, "told": f"{file.content_type}, {size:,} bytes{shown}"}


def _pictures(html: str, extras: Extras) -> dict[str, str]:
    """Return the pictures that the HTML shows out of the mail, as data URIs."""
    wanted = set(_CID.findall(html))
    return {
        file.content_id: f"data:{file.content_type};base64,{file.content}"
        for file in extras.attachments
        if file.content_id in wanted and file.content_id is not None
    }


def _data(row: pl.DataFrame) -> Iterator[list[str | None]]:
    """Yield the columns of a row: name, type, value."""
    known = row["data"].struct.unnest()
    for name, kind in known.schema.items():
        value = known[name][0]
        yield [name, str(kind), None if value is None else str(value)]


def _notes(proof: Proof) -> Iterator[dict[str, Any]]:
    """Yield what a proof of one row has shown."""
    look = proof.look
    for failing in proof.failures:
        yield _note("error", failing.count.examples[0].told, "it ends as render_failed")
    for empty in proof.empties:
        if empty.breaks:
            names, place = ", ".join(empty.point.names), empty.point.template
            yield _note(
                "warning",
                f"“{empty.reads}” has a gap: {names} is empty",
                f"write an if around it, or a default: {place}:{empty.point.line}",
            )
    for part, count in look.braces.items():
        told = count.examples[0].told
        yield _note("error", f"the {part} shows “{told}”", "it was not rendered")
    for link in look.links:
        yield _note("warning", f"a link without https: {link}", "write https://")
    if look.empty_subjects.rows:
        yield _note("error", "the subject is empty", "write one")
    if look.long_subjects.rows:
        told = f"the subject has {look.longest_subject.size} characters"
        yield _note("warning", told, f"many inboxes cut it off behind {LONG_SUBJECT}")
    if look.clipped.rows:
        told = f"the HTML has {look.largest.size:,} bytes"
        yield _note("warning", told, f"Gmail cuts it off behind {CLIPPED:,}")
    if look.too_large.rows:
        yield _note("error", "no request has room for it", "make it smaller")


def _note(severity: str, text: str, fix: str) -> dict[str, Any]:
    return {"id": "", "severity": severity, "text": text, "fix": fix}
