"""The campaign file: parsed, checked, and every problem told at once."""

from engine.campaign.load import load, rebased, schema
from engine.campaign.sections import Campaign, Catalogue, Limits, Token, is_loopback

__all__ = [
    "Campaign",
    "Catalogue",
    "Limits",
    "Token",
    "is_loopback",
    "load",
    "rebased",
    "schema",
]
