"""A client, and Microsoft's answers as its pages print them."""

import json
from collections.abc import Mapping

import responses

from integrations.microsoft_ads.auth import BearerAuth
from integrations.microsoft_ads.client import MicrosoftAdsClient
from integrations.microsoft_ads.endpoints import Endpoints
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.microsoft_ads.shapes import OfflineConversion, OfflineConversionAdjustment

BASE = "http://127.0.0.1:8099"
APPLY = f"{BASE}/CampaignManagement/v13/OfflineConversions/Apply"
ADJUST = f"{BASE}/CampaignManagement/v13/OfflineConversionAdjustments/Apply"
GOALS = f"{BASE}/CampaignManagement/v13/ConversionGoals/QueryByIds"
NEW_GOALS = f"{BASE}/CampaignManagement/v13/ConversionGoals"
TAGGING = f"{BASE}/CampaignManagement/v13/AccountProperties/Query"
TURN_TAGGING = f"{BASE}/CampaignManagement/v13/AccountProperties/Set"
TAGS = f"{BASE}/CampaignManagement/v13/UetTags/QueryByIds"
REPORT = f"{BASE}/CampaignManagement/v13/OfflineConversionReport/QueryByGoalIds"
USER = f"{BASE}/CustomerManagement/v13/User/Query"
ACCOUNTS = f"{BASE}/CustomerManagement/v13/Accounts/Search"

DEVELOPER_TOKEN = "developer-token-0123"
CLICK_ID = "f894f652ea334e739002f7167ab8f8e3"
PURCHASE = OfflineConversion("Convultra Purchase", "2026-11-21T09:30:00Z", CLICK_ID)
RETRACTION = OfflineConversionAdjustment(
    "Retract", "2026-11-22T08:00:00Z", "Convultra Purchase", "2026-11-21T09:30:00Z", CLICK_ID
)


class StubTokens:
    """Tokens that count: stale-token-0, then fresh-token-1, fresh-token-2."""

    def __init__(self) -> None:
        self.renewed: list[str] = []

    def access_token(self) -> str:
        return "stale-token-0"

    def renew(self, stale: str) -> str:
        self.renewed.append(stale)
        return f"fresh-token-{len(self.renewed)}"


def make_client(
    base: str = BASE, *, tokens: StubTokens | None = None, timeout_seconds: float = 5.0, customer_id: str = "7001"
) -> MicrosoftAdsClient:
    """Return a client of account 180000001, whose Microsoft is at `base`."""
    return MicrosoftAdsClient(
        Endpoints(base, base, base),
        DEVELOPER_TOKEN,
        BearerAuth(tokens or StubTokens()),
        customer_id=customer_id,
        account_id="180000001",
        timeout_seconds=timeout_seconds,
    )


def apply_answered(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None, rows: int = 2
) -> MicrosoftAdsError | list[int | None]:
    """Send rows and have them answered with a body; return the error, or each row's refusal with None for accepted."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with responses.RequestsMock() as microsoft:
        microsoft.post(APPLY, body=raw, status=status, headers=dict(headers or {}))
        try:
            result = make_client().apply_offline_conversions([PURCHASE] * rows)
        except MicrosoftAdsError as error:
            return error
    return [item.error.code if item.error else None for item in result.items]
