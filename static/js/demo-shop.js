// The demo shop: buys with the real SDK, as a customer's own page would.
(function () {
  "use strict";

  const byId = (id) => document.getElementById(id);

  function describeClick() {
    const clickId = window.Convultra.clickId();
    byId("click").textContent = clickId
      ? `You came by an ad: Microsoft's click ID ${clickId} is kept for 90 days.`
      : "You did not come by an ad. Follow the one on the search page, or add ?msclkid= and 32 hex characters to the address.";
  }

  function buy(button) {
    const email = byId("email").value.trim();
    if (email) window.Convultra.enhance({ email });
    const order = `HP-${Date.now().toString(36).toUpperCase()}`;
    const currency = button.closest("[data-currency]").dataset.currency;
    window.Convultra.trackPurchase({ value: button.dataset.buy, currency, transaction_id: order });
    byId("order").textContent = `Order ${order} over $${button.dataset.buy} is on its way. Look for it in Forward Logs.`;
  }

  describeClick();
  document.querySelectorAll("[data-buy]").forEach((button) => button.addEventListener("click", () => buy(button)));
})();
