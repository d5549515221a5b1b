"""What only the network knows of a sender: asked when the user wants it, never else.

the domain of From ──▶ resolver ──▶ SPF, DKIM, DMARC ─┐
the provider, where it can be asked ──▶ its domains ──┴─▶ engine.lint.authenticity
"""

from collections.abc import Collection

import trio

from engine.campaign import Campaign
from engine.cloudmailin import CloudMailin
from engine.errors import LookUpFailed
from engine.lint import Finding, authenticity, sender
from engine.lint.authenticity import Published, Verified
from engine.resolver import Resolver


async def look(
    campaign: Campaign,
    resolver: Resolver,
    *,
    selectors: Collection[str] = (),
    verified: Verified | None = None,
) -> list[Finding]:
    """Ask for what receivers will ask for, and judge it.

    Args:
        campaign: the campaign.
        resolver: asks.
        selectors: of the DKIM keys that sign the mail, as the provider names them.
        verified: what the provider says; None: it was not asked.

    Raises:
        LookUpFailed: nobody has told anything.
    """
    wanted = dict.fromkeys(selectors)
    if verified is not None and verified.selector:
        wanted.setdefault(verified.selector)
    domain = sender.domain_of(campaign.message.sender)
    published = await _published(domain, list(wanted), resolver)
    if verified is None and published.is_empty:
        why = next(iter(published.unreachable.values()))
        raise LookUpFailed(
            f"{why}; nothing was checked",
            hint="see to the network, or ask another name server: --resolver ADDRESS",
        )
    return list(authenticity.look(published, verified))


async def verified_by_cloudmailin(
    campaign: Campaign, account: str, token: str, *, base_url: str
) -> Verified:
    """Ask CloudMailin for the domains that the account may send from.

    Args:
        campaign: the campaign.
        account: the account's id.
        token: of the Core API.
        base_url: of the Core API.

    Raises:
        CloudMailinError: it could not be asked.
    """
    domain = sender.domain_of(campaign.message.sender)
    async with CloudMailin(account, token, base_url=base_url) as client:
        known = [found async for found in client.sending_domains()]
    names = tuple(found.domain.lower() for found in known)
    for found in known:
        if authenticity.is_below(domain, found.domain.lower()):
            looked = (
                found.dkim_verified,
                found.return_path_verified,
                found.spf_verified,
            )
            complete = False if False in looked else None if None in looked else True
            return Verified(names, complete, found.dkim_selector)
    return Verified(names)


async def _published(
    domain: str, selectors: list[str], resolver: Resolver
) -> Published:
    """Ask for all names at once."""
    texts: dict[str, tuple[str, ...] | None] = {}
    unreachable: dict[str, str] = {}
    receives: bool | None = None

    async def ask(name: str) -> None:
        texts[name] = None
        try:
            texts[name] = await resolver.texts(name)
        except LookUpFailed as error:
            unreachable[name] = str(error)

    async def ask_whether_it_receives() -> None:
        nonlocal receives
        try:
            receives = await resolver.receives(domain)
        except LookUpFailed as error:
            unreachable.setdefault(domain, str(error))

    policies = [f"_dmarc.{name}" for name in authenticity.parents(domain)]
    keys = {name: f"{name}._domainkey.{domain}" for name in selectors}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_whether_it_receives)
        for name in (domain, *policies, *keys.values()):
            nursery.start_soon(ask, name)
    policy = next((n for n in policies if texts[n]), policies[0])
    return Published(
        domain=domain,
        receives=receives,
        spf=texts[domain],
        dmarc=texts[policy],
        dmarc_at=policy.removeprefix("_dmarc."),
        dkim={name: texts[place] for name, place in keys.items()},
        unreachable=unreachable,
    )
