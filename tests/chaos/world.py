"""The customers of a run: their sites, accounts in four currencies, and which event is booked under which goal."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from integrations.microsoft_ads.emulator.world import ALDER_SEARCH, CANADA, SEARCH_US
from tests.chaos.ledger import Lane

TALLIS_UK, TALLIS_DE = "138206102", "138206110"


@dataclass(frozen=True, slots=True)
class Shop:
    """A site. `lanes` are its goals by event name; an order without a click counts under `enhanced` goals only."""

    name: str
    lanes: Mapping[str, tuple[Lane, ...]]
    enhanced: tuple[Lane, ...] = ()

    @property
    def account_ids(self) -> list[str]:
        """The Microsoft accounts of the site."""
        return sorted({lane.account_id for lanes in self.lanes.values() for lane in lanes})


@dataclass(frozen=True, slots=True)
class Keys:
    """A site's public key and its backend's secret."""

    write_key: str
    server_key: str


_US = Lane(SEARCH_US, "Purchase", "USD")
_ALDER = Lane(ALDER_SEARCH, "Order", "USD")
SHOPS = (
    Shop(
        "Harbor & Pine",
        {
            "purchase": (_US, Lane(CANADA, "Achat en ligne", "CAD")),
            "lead": (Lane(SEARCH_US, "Qualified Lead", "", fixed=Decimal(0)),),
            "quote": (Lane(SEARCH_US, "Trade enquiry", "USD", fixed=Decimal(40)),),
        },
        enhanced=(_US,),
    ),
    Shop(
        "Tallis Vinyl",
        {"purchase": (Lane(TALLIS_UK, "Record sale", "GBP"), Lane(TALLIS_DE, "Plattenkauf", "EUR"))},
    ),
    Shop("Alder Outfitters", {"purchase": (_ALDER,)}, enhanced=(_ALDER,)),
)
