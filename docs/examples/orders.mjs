// Report orders, correct one, and ask what became of it. Needs Node 18 or newer.
// CONVULTRA_URL=https://convultra.example CONVULTRA_SERVER_KEY=sk_… node orders.mjs
const { CONVULTRA_URL, CONVULTRA_SERVER_KEY } = process.env;
const AGAIN = [408, 429, 500, 502, 503, 504];

/** Send a body, or ask, and again where that can help: the same ids make it count once. */
async function call(path, body) {
  for (let attempt = 0; attempt < 5; attempt++) {
    let wait = 2 ** attempt;
    try {
      const answer = await fetch(CONVULTRA_URL + path, {
        method: body ? "POST" : "GET",
        headers: { Authorization: `Bearer ${CONVULTRA_SERVER_KEY}`, "Content-Type": "application/json" },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(10_000),
      });
      const text = await answer.text();
      if (answer.ok) return JSON.parse(text);
      if (!AGAIN.includes(answer.status)) throw new Refused(text);
      wait = Number(answer.headers.get("Retry-After") ?? wait);
    } catch (error) {
      if (error instanceof Refused) throw error;
    }
    if (wait > 60) break; // the site's day is used up
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
  }
  throw new Error("Keep what you wanted to send, and send the same later.");
}

/** Nothing of it was taken, and sending it again would not help. */
class Refused extends Error {}

/** Print what became of each item of a batch. */
function show({ results }) {
  for (const result of results) {
    console.log(`${result.event_id ?? result.adjustment_id}: ${result.status}`);
    for (const error of result.errors) console.log(`  ${error.field}: ${error.detail}`);
  }
}

// An event with its buyer: e-mail and phone are hashed on arrival and kept nowhere.
const paid = {
  name: "purchase",
  event_id: "order-1042-paid",
  occurred_at: "2026-11-21T10:00:00Z",
  value: "79.99",
  currency: "EUR",
  transaction_id: "1042",
  user_data: { email: "jane@example.com", phone: "(425) 555-1234", country: "US" },
};
show(await call("/v1/events", { events: [paid] }));

// A batch. Good events are stored whatever becomes of the others: look at each result.
const orders = [
  { name: "purchase", event_id: "order-1043-paid", value: "12.00", currency: "EUR", transaction_id: "1043" },
  { name: "purchase", event_id: "order-1044-paid", value: "8.50", currency: "eur", transaction_id: "1044" },
];
show(await call("/v1/events", { events: orders }));

// Something of the order came back: say its new total, never the difference.
const returned = {
  adjustment_id: "1042-returned-one",
  transaction_id: "1042",
  type: "restate",
  value: "59.99",
  currency: "EUR",
  occurred_at: "2026-11-21T12:00:00Z",
};
show(await call("/v1/adjustments", { adjustments: [returned] }));

// What became of it, per account.
const event = await call("/v1/events/order-1042-paid");
console.log(event.planned ? `${event.event_id}: ${event.deliveries.length} deliveries` : "not planned yet");
for (const delivery of event.deliveries) console.log(`  ${delivery.account_id}: ${delivery.status}`);
