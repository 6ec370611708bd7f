"""What a customer copies from the install page: the script tag for their platform, and examples of tracking.

Pure functions of a site's key, this server's address and the SDK's newest version. docs/sdk.md explains the calls.
"""

from dataclasses import dataclass
from urllib.parse import quote

# Lets a page make every call before the script has loaded, or where it never does. The same line is in docs/sdk.md.
STUB = (
    '<script>window.Convultra=window.Convultra||["init","track","trackPurchase","trackLead","trackSignup",'
    '"trackSubscription","enhance","identify","consent","reset"].reduce(function(q,m){q[m]=function(){q.push([m]'
    ".concat([].slice.call(arguments)))};q.clickId=q.visitorId=function(){return null};return q},[])</script>"
)
GRANT = 'Convultra.consent({ ad_storage: "granted" });'
# Keeps the visitor with Shopify's cart: an order's webhook has the cart's attributes as note_attributes. The script may
# load later, and consent come minutes later; an order leaves a new cart behind, so the cart is asked what it has.
SHOPIFY_CART = """\
<script>
window.addEventListener("load", function () {
  (function ask(left) {
    var visitor = window.Convultra && Convultra.visitorId && Convultra.visitorId();
    if (!visitor) return left && setTimeout(ask, 1000, left - 1);
    var cart = Shopify.routes.root + "cart";
    fetch(cart + ".js").then(function (answer) { return answer.json(); }).then(function (now) {
      if (now.attributes.convultra_visitor !== visitor) return fetch(cart + "/update.js", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ attributes: { convultra_visitor: visitor } })
      });
    }).catch(function () {});
  })(600);
});
</script>"""


@dataclass(frozen=True, slots=True)
class Installation:
    """What the snippets of one site are written from."""

    public_url: str
    write_key: str
    currency: str
    # The site forwards only with consent, so its pages begin without.
    asks_first: bool = False
    # The newest exact version and its hash; empty while none is kept.
    version: str = ""
    integrity: str = ""


def html(site: Installation) -> str:
    """Return the two lines for the head of every page."""
    return f"{STUB}\n{_tag(site, site.public_url + '/sdk/convultra.v1.js')}"


def pinned(site: Installation) -> str:
    """Return the same with an exact version, which the browser runs only when its hash is the one written here."""
    integrity = f'\n        integrity="{site.integrity}" crossorigin="anonymous"'
    return f"{STUB}\n{_tag(site, f'{site.public_url}/sdk/convultra.v{site.version}.js', integrity)}"


def tag_manager(site: Installation) -> str:
    """Return a custom HTML tag. It calls init() itself: a tag manager may drop the attributes of a script."""
    # A default, which takes nothing back: a banner may have said "granted" before the tag ran.
    consent = ', consent: "denied"' if site.asks_first else ""
    return (
        f"{STUB}\n<script>\n"
        f'Convultra.init("{site.write_key}", {{ endpoint: "{site.public_url}"{consent} }});\n</script>\n'
        f'<script async src="{site.public_url}/sdk/convultra.v1.js"></script>'
    )


def woocommerce(site: Installation) -> str:
    """Return what goes into a child theme's functions.php: the script on every page, and the order."""
    return f"""\
add_action('wp_head', function () {{
    echo <<<'HTML'
{html(site)}

HTML;
}}, 1);

add_action('woocommerce_thankyou', function ($order_id) {{
    $order = wc_get_order($order_id);
    if (!$order || $order->has_status('failed')) {{
        return;
    }}
    $purchase = array(
        'value' => $order->get_total(),
        'currency' => $order->get_currency(),
        'transaction_id' => (string) $order->get_id(),
        'email' => $order->get_billing_email(),
    );
    echo '<script>Convultra.trackPurchase(' . wp_json_encode($purchase, JSON_HEX_TAG) . ');</script>';
}});"""


def browser(site: Installation) -> str:
    """Return the calls of a thank-you page."""
    return f"""\
// Optional: who bought. Hashed before it leaves the browser.
Convultra.enhance({{
  email: 'jane@customer.example',
  phone: '+15125550142'
}});

// What was bought.
Convultra.trackPurchase({{
  value: 79.99,
  currency: '{site.currency}',
  transaction_id: 'T-55555'
}});"""


def curl(site: Installation) -> str:
    """Return the same order from a shell. What is no click id is never sent on, so it may be run as it is."""
    return f"""\
curl {site.public_url}/v1/events \\
  -H "Authorization: Bearer $CONVULTRA_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"events": [{{
        "name": "purchase",
        "event_id": "T-55555-paid",
        "value": "79.99",
        "currency": "{site.currency}",
        "transaction_id": "T-55555",
        "msclkid": "the click ID that you kept",
        "user_data": {{"email": "jane@customer.example"}}
      }}]}}'"""


def python(site: Installation) -> str:
    """Return the same order from a backend in Python."""
    return f"""\
import os
import requests

requests.post(
    "{site.public_url}/v1/events",
    headers={{"Authorization": f"Bearer {{os.environ['CONVULTRA_KEY']}}"}},
    json={{"events": [{{
        "name": "purchase",
        "event_id": "T-55555-paid",
        "value": "79.99",
        "currency": "{site.currency}",
        "transaction_id": "T-55555",
        "msclkid": msclkid,  # Convultra.clickId(), kept with the order
        "user_data": {{"email": "jane@customer.example"}},
    }}]}},
    timeout=10,
).raise_for_status()"""


def mail(site: Installation, site_name: str, page_url: str) -> str:
    """Return a mailto: address with everything a developer needs; short enough for mail programs (2,000 characters)."""
    consent = f"When a visitor agrees, call:\n\n{GRANT}\n\n" if site.asks_first else ""
    text = (
        "Add this inside <head> on every page, before other scripts:\n\n"
        f"{html(site)}\n\n{consent}"
        "Then track purchases on the thank-you page:\n\n"
        f'Convultra.trackPurchase({{ value: 79.99, currency: "{site.currency}", transaction_id: "T-55555" }});\n\n'
        f"More, and whether it works: {page_url}\n"
    )
    return f"mailto:?subject={quote(f'Convultra on {site_name}')}&body={quote(text)}"


def _tag(site: Installation, src: str, more: str = "") -> str:
    consent = ' data-consent="denied"' if site.asks_first else ""
    return f'<script async src="{src}"\n        data-key="{site.write_key}"{consent}{more}></script>'
