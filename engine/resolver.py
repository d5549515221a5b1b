"""The domain name system, asked on trio: the records of a name, or that there are none.

Names that exist without a record, and names that do not, are both "none". A server that
does not answer, or answers nonsense, is an error: nothing may be concluded from it.
"""

import ipaddress
from dataclasses import dataclass
from typing import Any, Final

import dns.asyncresolver
import dns.exception
import dns.resolver

from engine.errors import CampaignError, LookUpFailed

#: Seconds for one name, all servers and tries together.
PATIENCE: Final = 5.0
_LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Resolver:
    """Asks for records.

    Attributes:
        server: its address; empty: those of this machine.
        port: its port.
        patience: seconds for one name.
    """

    server: str = ""
    port: int = 53
    patience: float = PATIENCE

    @classmethod
    def of(cls, place: str) -> "Resolver":
        """Read `address` or `address:port`; empty: those of this machine.

        Raises:
            CampaignError: it is neither.
        """
        host, colon, port = place.rpartition(":")
        if not colon or ":" in host:  # the second is an address of IPv6
            host, port = place, "53"
        try:
            if host:
                ipaddress.ip_address(host)
            number = int(port)
        except ValueError:
            number = 0
        if not 0 < number <= _LAST_PORT:
            raise CampaignError(
                f"--resolver {place}: write an address, as 192.0.2.1 or 127.0.0.1:5353"
            )
        return cls(host, number)

    def __str__(self) -> str:
        """Say who is asked."""
        host = f"[{self.server}]" if ":" in self.server else self.server
        return f"{host}:{self.port}" if host else "the name servers of this machine"

    async def texts(self, name: str) -> tuple[str, ...]:
        """Return the TXT records of a name, each joined to one text.

        Raises:
            LookUpFailed: the name could not be looked up.
        """
        answer = await self._ask(name, "TXT")
        return tuple(
            b"".join(record.strings).decode("utf-8", "replace") for record in answer
        )

    async def receives(self, name: str) -> bool:
        """Whether a domain takes mail: an MX record, or an address. RFC 5321 5.1.

        Raises:
            LookUpFailed: the name could not be looked up.
        """
        servers = [str(record.exchange) for record in await self._ask(name, "MX")]
        if servers:
            return servers != ["."]  # RFC 7505: it takes none, and says so
        return bool(await self._ask(name, "A") or await self._ask(name, "AAAA"))

    async def _ask(self, name: str, kind: str) -> list[Any]:
        try:
            answer = await self._resolver().resolve(
                name, kind, search=False, lifetime=self.patience
            )
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.Timeout as error:
            raise LookUpFailed(f"no answer from {self}") from error
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise LookUpFailed(f"{type(error).__name__}: {error}") from error
        return list(answer)

    def _resolver(self) -> dns.asyncresolver.Resolver:
        if not self.server:
            return dns.asyncresolver.Resolver()
        found = dns.asyncresolver.Resolver(configure=False)
        found.nameservers = [self.server]
        found.port = self.port
        return found
