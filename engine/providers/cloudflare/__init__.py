"""Cloudflare Email Sending: `POST /accounts/{account_id}/email/sending/…`.

    provider.py   the provider: settings, limits, requests
    header.py     which header fields it takes
    answer.py     what became of each recipient, and what its errors mean
    suppressed.py the account's suppression list
    account.py    an account's id and credentials

One message in a request, at most 50 recipients in a message. `send_raw` takes the bytes
of a message, `send` its parts as JSON.

Source:
    "Send a raw MIME email message", of Cloudflare's API reference, and of its Email
    Service documents: REST API, Limits, Email headers, Suppression lists; the OpenAPI
    schema of both operations; read 2026-11-20.
"""

from engine.providers.cloudflare.provider import Cloudflare

__all__ = ["Cloudflare"]
