"""`mailvolley cloudmailin`: what a CloudMailin account has beside the sending of mail.

    access           the account, one question at a time, and what becomes of an error
    page             tables and details, on stdout
    addresses incoming domains sending_domains messages

What CloudMailin has goes to stdout, what we have to say of it to stderr.
"""

import click

from engine.cli.cloudmailin import (
    addresses,
    domains,
    incoming,
    messages,
    sending_domains,
)

#: `\b` keeps the lines of a paragraph as they are.
HELP = """Look after a CloudMailin account: inbound mail, domains, messages.

\b
  export CLOUDMAILIN_ACCOUNT_ID=… CLOUDMAILIN_API_TOKEN=…
  mailvolley cloudmailin addresses list
  mailvolley cloudmailin incoming list --address ID --query 'subject:reply'
  mailvolley cloudmailin sending-domains verify ID

The token is the account's API token; that of SMTP and of sending is another one.
CloudMailin may allow but 5 questions a minute; a command waits up to 75 seconds for it.

Exit codes: 0 done, 1 CloudMailin refused it or found records missing, 2 refused before
asking, 3 no answer and nothing changed, 4 a change that was sent and not answered:
perhaps done, 6 refused to the account.
"""


@click.group("cloudmailin", help=HELP)
def command() -> None:
    """Look after a CloudMailin account; see HELP."""


for part in (
    addresses.group,
    incoming.group,
    domains.group,
    sending_domains.group,
    messages.group,
):
    command.add_command(part)
