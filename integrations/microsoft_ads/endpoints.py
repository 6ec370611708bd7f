"""Where Microsoft Advertising lives, per environment."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Base addresses, `scheme://host[:port][/prefix]`, to which the documented paths are appended.

    `login` serves `/common/oauth2/v2.0/...`, `campaign` `/CampaignManagement/v13/...` and `customer`
    `/CustomerManagement/v13/...`. Raises ValueError for an address that tokens must not be sent to: plain
    http is taken for this computer's own loopback only, which is where the emulator listens.
    """

    login: str
    campaign: str
    customer: str

    def __post_init__(self) -> None:
        for name in ("login", "campaign", "customer"):
            _check_base_address(name, getattr(self, name))


def is_loopback(url: str) -> bool:
    """Say whether a URL's host is this computer itself (`localhost`, 127.0.0.0/8, `::1`)."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_base_address(name: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"Microsoft's {name} address must look like https://host, not {url!r}")
    if url.endswith("/") or parts.query or parts.fragment:
        raise ValueError(f"Microsoft's {name} address must end without a slash, query or fragment: {url!r}")
    if parts.scheme == "http" and not is_loopback(url):
        raise ValueError(f"Microsoft's {name} address must be https, as tokens are sent to it: {url!r}")


# guides/authentication-oauth-consent, each operation's page; sandbox signs in at the same host (guides/sandbox).
PRODUCTION = Endpoints(
    login="https://login.microsoftonline.com",
    campaign="https://campaign.api.bingads.microsoft.com",
    customer="https://clientcenter.api.bingads.microsoft.com",
)
SANDBOX = Endpoints(
    login="https://login.microsoftonline.com",
    campaign="https://campaign.api.sandbox.bingads.microsoft.com",
    customer="https://clientcenter.api.sandbox.bingads.microsoft.com",
)

# msads.manage is the one scope that the API takes (guides/authentication-oauth-mfa); offline_access brings the
# refresh token.
PRODUCTION_SCOPE = "https://ads.microsoft.com/msads.manage offline_access"
SANDBOX_SCOPE = "https://si.ads.microsoft.com/msads.manage offline_access"  # sdk, authorization.py

ENDPOINTS: Mapping[str, Endpoints] = MappingProxyType({"production": PRODUCTION, "sandbox": SANDBOX})
SCOPES: Mapping[str, str] = MappingProxyType({"production": PRODUCTION_SCOPE, "sandbox": SANDBOX_SCOPE})
