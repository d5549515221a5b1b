"""What can be asked of CloudMailin's Core API: a method each."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from pydantic import ValidationError

from engine.campaign.sections import Provider
from engine.cloudmailin.asking import Line
from engine.cloudmailin.listing import Listing, T
from engine.cloudmailin.resources import (
    Address,
    CustomDomain,
    Entry,
    IncomingStatus,
    OutboundMessage,
    SendingDomain,
    TargetFormat,
    Verification,
)
from engine.errors import CampaignError
from engine.wire import tls_context

BASE_URL: Final = "https://api.cloudmailin.com/api/v0.1"


def _say_nothing(_seconds: float, _cause: str) -> None:
    pass


class CloudMailin:
    """The Core API of one account. Use it as an async context manager, on trio.

    Several tasks may share one: its questions go one after another. Each method asks
    once or, for a list, once per page, and raises `CloudMailinError` if that fails.

    Args:
        account_id: the account's id, of its page in the dashboard.
        token: its API token; that of SMTP and of sending is another one.
        base_url: in place of the public address; https, but for this machine itself.
        deadline: seconds for one answer.
        patience: seconds for which CloudMailin may ask to wait, in all, for one
            question; its limit may be 5 a minute.
        on_wait: called before each wait with its seconds and its cause.

    Raises:
        CampaignError: the address is none that may be used.
        ValueError: the account or the token is empty, or cannot be one.
    """

    def __init__(
        self,
        account_id: str,
        token: str,
        *,
        base_url: str = BASE_URL,
        deadline: float = 30.0,
        patience: float = 75.0,
        on_wait: Callable[[float, str], None] = _say_nothing,
    ) -> None:
        account = _step(account_id)
        self._line = Line(
            f"{_checked(base_url)}/{account}",
            token,
            context=tls_context(base_url),
            deadline=deadline,
            patience=patience,
            on_wait=on_wait,
        )

    async def __aenter__(self) -> Self:
        await self._line.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._line.__aexit__(kind, error, traceback)

    # ---- inbound addresses -----------------------------------------------------------

    async def addresses(self) -> list[Address]:
        """Return all inbound addresses."""
        found = await self._line.entries("/addresses", "list addresses", {})
        return [Address.read(entry) for entry in found]

    async def address(self, address_id: str) -> Address:
        """Return one inbound address."""
        path = f"/addresses/{_step(address_id)}"
        return Address.read(await self._line.entry(path, f"show address {address_id}"))

    async def create_address(
        self,
        *,
        target: str,
        target_format: TargetFormat,
        nickname: str | None = None,
        attachments: Entry | None = None,
    ) -> Address:
        """Make an inbound address, and return it as it is now.

        Args:
            target: the URL that is posted to.
            target_format: in which form.
            nickname: a short name.
            attachments: where attachments are to be kept, in CloudMailin's words.
        """
        body: dict[str, object] = {"target": target, "target_format": target_format}
        if nickname is not None:
            body["nickname"] = nickname
        if attachments is not None:
            body["attachments"] = attachments
        return Address.read(
            await self._line.change("POST", "/addresses", "create address", body=body)
        )

    async def update_address(
        self,
        address_id: str,
        *,
        target: str,
        target_format: TargetFormat,
        nickname: str | None,
        attachments: Entry | None = None,
    ) -> Address:
        """Change an inbound address, and return it as it is now.

        The documents require the target and its format in every change, as of a whole
        that takes the old one's place: so all is said, and a nickname of None is none.
        """
        body: dict[str, object] = {
            "target": target,
            "target_format": target_format,
            "nickname": nickname,
        }
        if attachments is not None:
            body["attachments"] = attachments
        path, asked = f"/addresses/{_step(address_id)}", f"update address {address_id}"
        # Not named in the document; PUT and PATCH are the same to its framework, Rails.
        return Address.read(await self._line.change("PUT", path, asked, body=body))

    async def delete_address(self, address_id: str) -> Address | None:
        """Have an address deleted, at once or a little later.

        Returns what it was, where CloudMailin tells.
        """
        path, asked = f"/addresses/{_step(address_id)}", f"delete address {address_id}"
        was = await self._line.delete(path, asked)
        return None if was is None else Address.read(was)

    def incoming_statuses(
        self, address_id: str, *, query: str | None = None
    ) -> Listing[IncomingStatus]:
        """Return what an address received, the newest first.

        Args:
            address_id: the address.
            query: which, in the words of Elasticsearch: `subject:reply AND status:200`.
        """
        return self._list(
            "/incoming_statuses",
            f"list what address {address_id} received",
            {"address_id": address_id} | _query(query),
            IncomingStatus.read,
        )

    # ---- custom domains --------------------------------------------------------------

    def custom_domains(
        self, address_id: str, *, query: str | None = None
    ) -> Listing[CustomDomain]:
        """Return the domains at which an address receives.

        Args:
            address_id: the address.
            query: a domain or a part of one.
        """
        return self._list(
            "/custom_domains",
            f"list domains of address {address_id}",
            {"address_id": address_id} | _query(query),
            CustomDomain.read,
        )

    async def custom_domain(self, domain_id: str, *, address_id: str) -> CustomDomain:
        """Return one domain of an address."""
        path = f"/custom_domains/{_step(domain_id)}"
        asked = f"show domain {domain_id} of address {address_id}"
        return CustomDomain.read(
            await self._line.entry(path, asked, {"address_id": address_id})
        )

    async def create_custom_domain(
        self,
        domain: str,
        *,
        address_id: str,
        auth_regex: str | None = None,
        domain_target: str | None = None,
    ) -> CustomDomain:
        """Have an address receive at a domain, and return that as it is now.

        Args:
            domain: its MX records must be set already.
            address_id: the address.
            auth_regex: which addresses of the domain are taken.
            domain_target: the URL to post to in place of the address's; not for all
                accounts.
        """
        body: dict[str, object] = {"domain": domain}
        if auth_regex is not None:
            body["auth_regex"] = auth_regex
        if domain_target is not None:
            body["domain_target"] = domain_target
        made = await self._line.change(
            "POST",
            "/custom_domains",
            f"create domain {domain} of address {address_id}",
            query={"address_id": address_id},
            body=body,
        )
        return CustomDomain.read(made)

    async def delete_custom_domain(
        self, domain_id: str, *, address_id: str
    ) -> CustomDomain | None:
        """Have a domain of an address deleted, at once or a little later.

        Returns what it was, where CloudMailin tells.
        """
        path = f"/custom_domains/{_step(domain_id)}"
        asked = f"delete domain {domain_id} of address {address_id}"
        was = await self._line.delete(path, asked, {"address_id": address_id})
        return None if was is None else CustomDomain.read(was)

    # ---- sending domains -------------------------------------------------------------

    def sending_domains(self, *, query: str | None = None) -> Listing[SendingDomain]:
        """Return the domains to send from.

        Args:
            query: a domain or a part of one.
        """
        return self._list(
            "/sending_domains",
            "list sending domains",
            _query(query),
            SendingDomain.read,
        )

    async def sending_domain(self, domain_id: str) -> SendingDomain:
        """Return one domain to send from, with what was found when it was verified."""
        path = f"/sending_domains/{_step(domain_id)}"
        asked = f"show sending domain {domain_id}"
        return SendingDomain.read(await self._line.entry(path, asked))

    async def create_sending_domain(self, domain: str) -> SendingDomain:
        """Add a domain to send from; its `records` are to be set, then verified."""
        asked = f"create sending domain {domain}"
        made = await self._line.change(
            "POST", "/sending_domains", asked, body={"domain": domain}
        )
        return SendingDomain.read(made)

    async def verify_sending_domain(self, domain_id: str) -> Verification:
        """Have CloudMailin look for the records of a domain to send from."""
        path = f"/sending_domains/{_step(domain_id)}/verify"
        asked = f"verify sending domain {domain_id}"
        passed, entry = await self._line.check(path, asked)
        return Verification(passed, SendingDomain.read(entry))

    async def delete_sending_domain(self, domain_id: str) -> SendingDomain | None:
        """Have a domain to send from deleted, at once or a little later.

        Returns what it was, where CloudMailin tells.
        """
        path = f"/sending_domains/{_step(domain_id)}"
        asked = f"delete sending domain {domain_id}"
        was = await self._line.delete(path, asked)
        return None if was is None else SendingDomain.read(was)

    # ---- messages --------------------------------------------------------------------

    def messages(
        self, outbound_account_id: str, *, query: str | None = None
    ) -> Listing[OutboundMessage]:
        """Return what was sent, the newest first, with the last event per recipient.

        Args:
            outbound_account_id: the id of the sending account, which is the username of
                its SMTP credentials.
            query: which.
        """
        return self._list(
            "/outbound_messages",
            f"list messages of {outbound_account_id}",
            {"outbound_account_id": outbound_account_id} | _query(query),
            OutboundMessage.read,
        )

    async def message(self, message_id: str) -> OutboundMessage:
        """Return a message that was sent, with all events of each recipient."""
        path = f"/outbound_messages/{_step(message_id)}"
        return OutboundMessage.read(
            await self._line.entry(path, f"show message {message_id}")
        )

    def _list(
        self,
        path: str,
        asked: str,
        query: Mapping[str, str],
        read: Callable[[Entry], T],
    ) -> Listing[T]:
        return Listing(partial(self._page, path, asked, query, read))

    async def _page(
        self,
        path: str,
        asked: str,
        query: Mapping[str, str],
        read: Callable[[Entry], T],
        number: int,
    ) -> Sequence[T]:
        # "Deprecated", so not said where it need not be.
        page = {"page": str(number)} if number > 1 else {}
        return [
            read(one)
            for one in await self._line.entries(path, asked, {**query, **page})
        ]


def _query(query: str | None) -> dict[str, str]:
    return {} if query is None else {"query": query}


def is_id(text: str) -> bool:
    """Whether a text can be an id: one step of a path, and no other step."""
    return text not in {"", ".", ".."} and text.isprintable()


def _step(name: str) -> str:
    """Write an id as one step of a path.

    Raises:
        ValueError: it cannot be one.
    """
    if not is_id(name):
        raise ValueError(f"{name!r} is no id")
    return quote(name, safe="")


def _checked(base_url: str) -> str:
    """Return an address of the API by the same rules as that of a campaign."""
    try:
        checked = Provider(name="cloudmailin", base_url=base_url).base_url
    except ValidationError as error:
        told = error.errors()[0]["msg"]
        raise CampaignError(f"the base URL of CloudMailin: {told}") from None
    return checked or BASE_URL
