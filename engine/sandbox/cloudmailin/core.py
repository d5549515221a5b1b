"""The Core API: its paths, and how often it may be asked.

One account for the whole sandbox: every account id in a path means it.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import parse_qsl

from engine.sandbox.cloudmailin.domains import SendingDomains
from engine.sandbox.cloudmailin.form import Ask, Flaw
from engine.sandbox.cloudmailin.inbound import (
    Addresses,
    CustomDomains,
    IncomingStatuses,
)
from engine.sandbox.cloudmailin.outbound import OutboundMessages
from engine.sandbox.faults import Faults
from engine.sandbox.store import Answer, Call, Store

_MINUTE = timedelta(minutes=1)
_Action = Callable[[Ask], Answer]


class Core:
    """The Core API of one account.

    Attributes:
        calls_per_minute: how many it may be asked in any 60 s; 0 is no limit.
    """

    def __init__(self, dialect: str) -> None:
        self.calls_per_minute = 0
        self.sending_domains = domains = SendingDomains()
        self._outbound = OutboundMessages(dialect)
        self._calls: deque[datetime] = deque()
        addresses = Addresses()
        custom = CustomDomains(addresses)
        #: By method and path below the account id; `*` stands for an id.
        self._actions: dict[tuple[str, ...], _Action] = {
            ("GET", "addresses"): addresses.list,
            ("POST", "addresses"): addresses.create,
            ("GET", "addresses", "*"): addresses.show,
            ("PUT", "addresses", "*"): addresses.update,
            ("PATCH", "addresses", "*"): addresses.update,
            ("DELETE", "addresses", "*"): addresses.delete,
            ("GET", "incoming_statuses"): IncomingStatuses(addresses).list,
            ("GET", "custom_domains"): custom.list,
            ("POST", "custom_domains"): custom.create,
            ("GET", "custom_domains", "*"): custom.show,
            ("DELETE", "custom_domains", "*"): custom.delete,
            ("GET", "sending_domains"): domains.list,
            ("POST", "sending_domains"): domains.create,
            ("GET", "sending_domains", "*"): domains.show,
            ("DELETE", "sending_domains", "*"): domains.delete,
            ("POST", "sending_domains", "*", "verify"): domains.verify,
        }

    def action(self, method: str, path: list[str], store: Store) -> _Action | None:
        """Find what a method and a path below the account id ask for, if anything."""
        pattern = (method, *path[:1], *("*" for _ in path[1:2]), *path[2:])
        if pattern == ("GET", "outbound_messages"):
            return partial(self._outbound.list, store=store)
        if pattern == ("GET", "outbound_messages", "*"):
            return partial(self._outbound.show, store=store)
        return self._actions.get(pattern)

    def perform(
        self, action: _Action, call: Call, path: list[str], faults: Faults
    ) -> Answer:
        """Do what was asked for.

        Raises:
            Flaw: it cannot be done.
        """
        self._count(call.at, faults)
        query = dict(parse_qsl(call.query, keep_blank_values=True))
        return action(Ask(call, path[1] if path[1:] else "", query, faults.strict))

    def _count(self, now: datetime, faults: Faults) -> None:
        """Count a call, unless it is one too many.

        The documents tell the limit and not how a client learns of it: that is left to
        the faults' style of throttling.
        """
        while self._calls and now - self._calls[0] >= _MINUTE:
            self._calls.popleft()
        if 0 < self.calls_per_minute <= len(self._calls):
            wait = math.ceil((_MINUTE - (now - self._calls[0])).total_seconds())
            hint = replace(faults, retry_after=wait).throttle_headers(time.time())
            raise Flaw(429, f"At most {self.calls_per_minute} calls a minute", hint)
        self._calls.append(now)
