"""mailmerge: its own command, on a template that holds the same mail.

It sends by SMTP, one message after the other and each over a connection of its own, and
prints each as it goes. Its template is the whole message, so the parts are put together
here, before anything is measured. It does not escape HTML: the template has to.
"""

import re
from pathlib import Path

TEMPLATES = Path(__file__).parent.parent / "material" / "templates" / "bench"
TEMPLATE = """\
TO: {{{{ email }}}}
FROM: Harbour Books <hello@harbour.example>
SUBJECT: {subject}
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="the-boundary"

--the-boundary
Content-Type: text/plain; charset=utf-8

{text}
--the-boundary
Content-Type: text/html; charset=utf-8

{html}
--the-boundary--
"""
SERVER = """\
[smtp_server]
host = 127.0.0.1
port = {port}
"""


def build_command(python: Path, folder: Path, recipients: Path, port: int) -> list[str]:
    """Write the template and the settings, and return the command.

    Args:
        python: of the environment that has mailmerge.
        folder: takes both files.
        recipients: a CSV file.
        port: where the sink takes SMTP.
    """
    subject, html, text = (
        (TEMPLATES / name).read_text(encoding="utf-8").rstrip("\n")
        for name in ("subject.txt.j2", "body.html.j2", "body.txt.j2")
    )
    html = re.sub(r" }}", "|e }}", html)
    whole = TEMPLATE.format(subject=subject, html=html, text=text)
    template, server = folder / "mailmerge.txt", folder / "mailmerge.conf"
    template.write_text(whole, encoding="utf-8")
    server.write_text(SERVER.format(port=port))
    command = [str(python.with_name("mailmerge")), "--no-dry-run", "--no-limit"]
    command += ["--template", str(template), "--database", str(recipients)]
    return [*command, "--config", str(server), "--output-format", "text"]
