"""Chat rooms by Apprise: services whose messages go to a fixed address on the internet.

Apprise knows a hundred kinds of addresses, among them files, commands and hosts of any name. Only the services listed here are
taken, and nothing after a question mark but what names a room: other options read files or call elsewhere.
"""

from __future__ import annotations

import logging
import warnings
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from credits_core.errors import InvalidRequest
from credits_core.messages import Message

SERVICES = {
    "NotifySlack": "Slack",
    "NotifyDiscord": "Discord",
    "NotifyTelegram": "Telegram",
    "NotifyGoogleChat": "Google Chat",
    "NotifyWorkflows": "Microsoft Teams",
    "NotifyWebexTeams": "Webex",
    "NotifyPushover": "Pushover",
}
# Services people run themselves: at any host, so only where internal addresses may be reached (WEBHOOK_ALLOW_PRIVATE=1).
OWN_SERVICES = {"NotifyMattermost": "Mattermost", "NotifyRocketChat": "Rocket.Chat", "NotifyNtfy": "ntfy"}
_TEAMS_HOSTS = (".logic.azure.com", ".api.powerplatform.com")
_OPTIONS = frozenset(
    {"key", "token", "thread", "topic", "threadkey", "api-version", "sp", "sv", "sig", "channel"}
)
MAX_LENGTH = 2_000

# Both write addresses with their secrets into their logs.
logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)


def check(address: str, *, allow_private: bool) -> tuple[str, str]:
    """The service's name and the address without its secrets, for showing. InvalidRequest for what is not taken."""
    plugin = _plugin(address, allow_private=allow_private)
    shown = str(plugin.url(privacy=True)).partition("?")[0]
    return (SERVICES | OWN_SERVICES)[type(plugin).__name__], shown


def send(address: str, message: Message, *, allow_private: bool) -> bool:
    """Send to a room; whether the service took it. InvalidRequest as `check`."""
    plugin = _plugin(address, allow_private=allow_private)
    return bool(_sender(plugin).notify(title=message.title, body=message.text().strip(), body_format="text"))


def _plugin(address: str, *, allow_private: bool) -> Any:
    apprise = _library()
    taken = SERVICES | (OWN_SERVICES if allow_private else {})
    refusal = InvalidRequest(
        "This is not the address of a chat service we can send to; use the webhook address of "
        f"{', '.join(list(taken.values())[:-1])} or {list(taken.values())[-1]}."
    )
    if not 1 <= len(address) <= MAX_LENGTH or not address.isprintable() or not address.isascii():
        raise refusal
    try:
        options = parse_qs(urlsplit(address).query, keep_blank_values=True)
        plugin = apprise.Apprise.instantiate(address, asset=_asset(), suppress_exceptions=True)
    except (TypeError, ValueError):
        raise refusal from None
    if plugin is None or type(plugin).__name__ not in taken:
        raise refusal
    if type(plugin).__name__ == "NotifyWorkflows" and not str(plugin.host).lower().endswith(_TEAMS_HOSTS):
        raise refusal
    if not {name.lower() for name in options} <= _OPTIONS:
        raise InvalidRequest("Leave out everything after the question mark in this address, and try again.")
    return plugin


def _sender(plugin: Any) -> Any:
    sender = _library().Apprise(asset=_asset())
    sender.add(plugin)
    return sender


def _asset() -> Any:
    # No pictures from elsewhere, nothing stored on this machine's disk.
    return _library().AppriseAsset(
        app_id="Prepaid Credits",
        app_desc="Prepaid Credits",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        storage_mode="memory",
    )


@cache
def _library() -> Any:
    """Apprise with all its services: slow to load and needed by few, so at the first use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it looks for modules that newer Pythons lack
        import apprise

        apprise.Apprise.instantiate("json://localhost")
    return apprise
