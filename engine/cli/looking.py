"""What `plan --online` does: look up what the network says of the sender."""

import os
from functools import partial
from typing import Final

import trio

from engine import online, planning
from engine.campaign import Campaign
from engine.cloudmailin import BASE_URL
from engine.lint import Finding
from engine.planning import Plan
from engine.resolver import Resolver

#: Where the account and token of CloudMailin's Core API are, which knows its domains,
#: and an address in place of its own.
CLOUDMAILIN: Final = ("CLOUDMAILIN_ACCOUNT_ID", "CLOUDMAILIN_API_TOKEN")
CLOUDMAILIN_URL: Final = "CLOUDMAILIN_API_BASE_URL"


def look(plan: Plan, resolver: str, selectors: tuple[str, ...]) -> None:
    """Add what the network says of the sender to what was found.

    Args:
        plan: the plan.
        resolver: the name server to ask; empty: those of this machine.
        selectors: of the DKIM keys that the provider signs with.

    Raises:
        CampaignError: an error that nobody has allowed, or no such resolver.
    """
    asked = partial(_asked, plan.campaign, Resolver.of(resolver), selectors)
    found = trio.run(asked)
    planning.refuse(found, plan.campaign)
    plan.findings.extend(found)


async def _asked(
    campaign: Campaign, resolver: Resolver, selectors: tuple[str, ...]
) -> list[Finding]:
    verified = None
    account, token = (os.environ.get(name, "") for name in CLOUDMAILIN)
    if campaign.provider.name == "cloudmailin" and account and token:
        own = campaign.provider.base_url
        base_url = own or os.environ.get(CLOUDMAILIN_URL, BASE_URL)
        verified = await online.verified_by_cloudmailin(
            campaign, account, token, base_url=base_url
        )
    return await online.look(campaign, resolver, selectors=selectors, verified=verified)
