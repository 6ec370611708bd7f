// @ts-check
/*! Convultra SDK 1.0.0 | MIT | docs/sdk.md */
(() => {
  /**
   * @typedef {{email?: string, phone?: string, country?: string,
   *   address?: {country?: string, [part: string]: unknown}}} Person
   * @typedef {Person & {value?: number | string, currency?: string, transaction_id?: string | number,
   *   external_id?: string | number, [property: string]: unknown}} Props
   * @typedef {"clicks" | "events"} Kind
   * @typedef {{kind: Kind, body: any, busy?: any, alone?: number}} Item busy: under way until then, if the page
   *   lives; alone: so large that no other joins it in a request
   * @typedef {{msclkid: string, at: number, landing_url: string}} Held
   */

  /** @type {Record<string, any>} */
  const Convultra = {
    /** Start. The endpoint is by default the origin this script came from; consent is what holds until it is told.
     * @param {string} writeKey @param {{endpoint?: string, consent?: "granted" | "denied"}} [options] */
    init,
    /** Report a conversion. What is not a known field travels as a property.
     * @param {string} name @param {Props} [props] */
    track,
    /** Say who converts. Hashed here, never sent plain; of an address only the country is read.
     * @param {Person} person */
    enhance,
    /** Set your own id of the lead, cart or order; null takes it back. @param {string | number | null} externalId */
    identify,
    /** @param {{ad_storage: "granted" | "denied"}} choice */
    consent,
    /** The click id to keep with a lead or an order. @returns {string | null} */
    clickId: () => (capture(), silence() ? null : click || null),
    /** @returns {string | null} */
    visitorId: () => (capture(), silence() ? null : visitor),
    /** Forget visitor, session, person and click. What was tracked is still sent. */
    reset,
    /** The stub's way in: [method, ...arguments]. @param {[string, ...any]} call */
    push: ([method, ...rest]) => Convultra[method](...rest),
  };

  const AHEAD = 1e8; // what is a day or so ahead was said by a clock that has been set back
  const LIFE = 7776e6; // Microsoft matches a click for 90 days
  const TIMEOUT = 9e3;
  const LEASE = 1e4; // longer than a request takes; then any page may send its items
  const MAX_QUEUE = 500;
  // Of one request: browsers allow those that outlive their page 64 KiB together. 100 events are always more than that.
  const MAX_BYTES = 2e4;
  const MAX_FLYING = 3;
  const CLICK = /^(?=(-*[\da-f]){24})[\da-f-]{24,40}$/i;
  const UUID = /^[\da-f-]{36}$/;
  const COOKIE = "_convultra=";
  const EMAIL = /(@|%40).+\./;
  const DENIED = "ad_storage: denied"; // an answer: what is stored goes
  const UNANSWERED = "ad_storage: unanswered"; // a default: what is stored stays, and nothing joins it
  const STORE = "convultra.";
  const VISITOR = STORE + "visitor";
  const SESSION = STORE + "session";
  // Countries whose national numbers can be read for certain, and their calling codes. The numbers begin with a 0 that
  // is dropped; in North America they have ten digits.
  const PHONES = " US1 CA1 GB44 IE353 FR33 BE32 NL31 DE49 AT43 CH41 SE46 AU61 NZ64";

  // Of an international number: its calling code, of one to three digits; a 0 that is dialled within the country; the
  // rest. Italy's 0 is no such one, and North America has none.
  const PARTS =
    /^(1(?=[2-9]\d{9}$)|7|390?|(?:2[1-689]|3[578]|42|5[09]|6[7-9]|8[0578]|9[679])\d|[2-9]\d)(0?)([1-9]\d{0,10})$/;
  const script = /** @type {HTMLScriptElement | null} */ (document.currentScript);
  const tab = uuid();
  /** @type {Record<string, any>} */
  const warned = {};
  // Where storage is forbidden, this page's memory has to do.
  /** @type {Record<string, any>} */
  const local = attempt(() => localStorage, unwritable) || {};
  /** @type {Record<string, any>} */
  const tabStore = attempt(() => sessionStorage) || {};
  let door = ""; // where clicks and events go
  let shelf = ""; // where pages of this key store their queues
  /** @type {string | undefined} "granted", DENIED, UNANSWERED, or never told */
  let consented;
  /** @type {{ad_storage?: string} | undefined} what events say of it */
  let told;
  let visitor = "";
  let since = Infinity; // when the visitor came first
  let click = "";
  let clickedAt = 0;
  /** @type {Held | null} a click that waits for consent */
  let held = null;
  /** @type {string[]} click ids caught before: a reload, a bookmark or the back button is no new click */
  let past = [];
  let forgotten = false; // they may not be stored again
  let stored = false; // the visitor, or an older one
  /** @type {{id: string, visitor: string, external_id?: string, user_data?: Record<string, any>} | any} null until the next recall() */
  let session;
  /** @type {Promise<any>} */
  let hashing = Promise.resolve();
  /** @type {Item[]} */
  let queue = [];
  let settling = false;
  let failures = 0;
  let flying = 0;
  let resumeAt = 0; // after a failure; a page that is left does not wait
  let timer = 0;

  /** @param {string} writeKey @param {{endpoint?: string, consent?: any}} [options] */
  function init(writeKey, options) {
    const { endpoint, consent: fallback } = Object(options);
    const url = /^wk_\w+$/.test(writeKey) && attempt(() => new URL(`/v1/${writeKey}/`, endpoint || script?.src).href);
    if (!url || door) return unusable("key or endpoint");
    door = url;
    shelf = STORE + "queue." + writeKey + ".";
    if (fallback && !consented) consent({ ad_storage: fallback }, UNANSWERED);
    for (const method of /** @type {const} */ (["pushState", "replaceState"])) {
      const original = history[method];
      history[method] = (...rest) => {
        const result = original.apply(history, rest);
        attempt(capture, failed);
        return result;
      };
    }
    on("popstate", capture);
    on("pageshow", capture);
    on("online", () => {
      resumeAt = 0;
      settle();
    });
    on("pagehide", leave);
    on("visibilitychange", () => (document.hidden ? leave() : settle()));
    // A router may have cleaned the address before this script came.
    capture(performance.getEntriesByType("navigation")[0]?.name);
    capture();
  }

  /** @param {unknown} called @param {unknown} [props] */
  function track(called, props = {}) {
    const name = text(called, "name");
    if (!name) return unusable("name");
    const given = Object(typeof props === "object" ? props : unusable("properties"));
    const { value, currency, transaction_id, external_id, email, phone, address, ...rest } = given;
    if ((email ?? phone) != null) enhance(given);
    capture();
    const body = {
      name,
      event_id: uuid(),
      occurred_at: iso(Date.now()),
      value: amount(value),
      currency: text(currency, "currency")?.replace(/^[a-z]{3}$/i, (code) => code.toUpperCase()),
      transaction_id: text(transaction_id, "transaction_id"),
      external_id: text(external_id, "external_id") ?? session.external_id,
      msclkid: click || undefined,
      properties: plain(rest),
      user_data: session.user_data,
    };
    enqueue("events", body);
  }

  /** @param {Person} person */
  function enhance(person) {
    const { email, phone, country, address } = Object(person);
    if ((email ?? phone) == null) return unusable("email or phone");
    recall();
    const before = session.user_data;
    const now = (session.user_data = {}); // events hold this object and find the hashes in it
    hashing = hashing
      .then(async () => {
        const mail = await hashed("email", email, normalEmail);
        const call = await hashed("phone", phone, (raw) => normalPhone(raw, country ?? address?.country));
        Object.assign(now, before, mail, call);
      })
      .catch(failed);
    hashing.then(settle); // which waits for it
  }

  /** @param {string | number | null} externalId */
  function identify(externalId) {
    recall();
    session.external_id = text(externalId, "external_id");
    settle();
  }

  /** @param {{ad_storage: string}} choice @param {typeof UNANSWERED} [otherwise] */
  function consent(choice, otherwise) {
    const said = Object(choice).ad_storage;
    if (said !== "granted" && said !== "denied") unusable("ad_storage");
    if (said === undefined) return;
    consented = said === "granted" ? said : otherwise || DENIED;
    told = { ad_storage: consented };
    queue.forEach((item) => (item.body.consent = told));
    capture();
  }

  function reset() {
    forget(VISITOR);
    begin();
    settle();
  }

  /** Be another visitor. */
  function begin() {
    delete tabStore[SESSION];
    forgotten = true;
    since = Infinity;
    click = "";
    clickedAt = 0;
    held = session = null;
  }

  /** Why nothing may be stored or sent now; nothing when it may. */
  function silence() {
    if (/** @type {any} */ (navigator).globalPrivacyControl) return "globalPrivacyControl";
    return consented !== "granted" && consented;
  }

  /** Look for a click in the history entry, an address, else in the cookies of Microsoft's own tag. Safe to repeat. */
  function capture(address = location.href) {
    recall();
    const now = Date.now();
    const { msclkid, at, landing_url } = Object(history.state?.convultra);
    if (at > (clickedAt || now - LIFE)) caught(msclkid, at, landing_url);
    const [page, ...pairs] = address.split(/[?&#]/);
    const kept = pairs.filter((pair) => /^(msclkid|utm_\w+)=/i.test(pair));
    const landing = (page + "?" + kept.join("&")).slice(0, 1e3); // the server keeps 1,000 characters
    // The tag's cookie _uetmsclkid holds "_uet" and the id; -1, -0 and N are its marks.
    for (const pair of [...(click || silence() ? [] : cookies("")), ...kept])
      caught(pair.match(/^(?:_uet)?msclkid=(?:_uet)?(.*?)(?:-[01])?N?$/i)?.[1], now, landing);
    settle();
  }

  /** @param {any} msclkid @param {number} at @param {string} landing_url */
  function caught(msclkid, at, landing_url) {
    const id = `${msclkid}`.toLowerCase();
    if (!CLICK.test(id) || [click.toLowerCase(), ...past].includes(id)) return;
    past = [id, ...past].slice(0, 10);
    click = msclkid;
    clickedAt = Math.max(at, clickedAt + 1);
    if (silence()) held = { msclkid, at: clickedAt, landing_url };
    enqueue("clicks", { msclkid, landing_url, captured_at: iso(clickedAt) });
  }

  /**
   * Hold a click that waits for consent in the history entry, for a reload and the back button; or take it out.
   * Not before the page has loaded: routers look whether there is a state, and set theirs.
   */
  function hold() {
    const state = history.state;
    const { convultra, ...own } = state || {};
    if (document.readyState !== "complete" || convultra?.msclkid === held?.msclkid) return;
    if ((state || own).constructor !== Object) return;
    if (held) own.convultra = held;
    History.prototype.replaceState.call(history, own, ""); // not the page's own: its router has nothing to do
  }

  /**
   * Read what is stored into what is known. The oldest visitor and the newest click win over other tabs. This
   * subdomain's own copy counts where the cookie is lost or is of the same visitor: another may have reset it since.
   */
  function recall() {
    const now = Date.now();
    const [mine, ...ids] = `${local[VISITOR]}`.split(" ");
    if (!past[0]) past = ids;
    const records = [...cookies(COOKIE), mine]
      .map((text) => text.split("."))
      .filter(([id]) => UUID.test(id))
      .filter(([id], _, [[first]]) => id === first);
    const found = records.some(([, born]) => +born <= since);
    if (stored && !found) {
      begin(); // another tab has removed it, and that counts here too
      if (!records[0]) consented = UNANSWERED; // by a denial: a reset() leaves a new one
    }
    stored = found;
    for (const [id, born, clicked, at = 0] of records) {
      if (!(Math.max(+born, +at) > now - LIFE)) continue;
      if (+born < since) [visitor, since] = [id, +born];
      if (CLICK.test(clicked) && +at < now + AHEAD && +at > clickedAt) [click, clickedAt] = [clicked, +at];
    }
    if (since === Infinity) [visitor, since] = [uuid(), now];
    if (clickedAt < now - LIFE) click = "";
    session = session || attempt(() => JSON.parse(tabStore[SESSION]));
    session = session?.visitor === visitor ? session : { id: uuid(), visitor }; // a reset() elsewhere ends it too
  }

  /** Store and send when the calls of this turn are made, a last word on consent among them. */
  async function settle() {
    if (settling) return;
    settling = true;
    await 0;
    settling = false;
    attempt(store, failed);
    await hashing;
    attempt(flush, failed);
  }

  function store() {
    recall();
    const why = silence();
    if (why !== UNANSWERED) {
      held = null;
      if (why) forget(STORE);
    }
    attempt(hold);
    if (why) return queue[0] && warn(why + ", nothing is stored or sent");
    const kept = [visitor, since, ...(click ? [click, clickedAt] : [])].join(".");
    if (!cookies(COOKIE).includes(kept)) setCookie(kept, Math.max(since, clickedAt) + LIFE - Date.now());
    attempt(() => (local[VISITOR] = [kept, ...(door && !forgotten ? past : [])].join(" ")));
    attempt(() => (tabStore[SESSION] = json(session)));
    shelve(Math.max(Date.now(), resumeAt) + LEASE);
  }

  /** Remove what is stored under a beginning; what this page holds in memory stays. @param {string} name */
  function forget(name) {
    cookies(COOKIE)[0] && setCookie("", 0);
    delete tabStore[SESSION];
    for (const each of names(name)) delete local[each];
    stored = false;
  }

  /** @param {Kind} kind @param {object} body */
  function enqueue(kind, body) {
    queue.push({ kind, body: { visitor_id: visitor, session_id: session.id, consent: told, ...body } });
    for (; queue[MAX_QUEUE]; queue.shift()) warn("queue full");
    settle();
  }

  /** Store the queue under this page's own name: no page writes over another's.
   * @param {number} until from then on any page may take it */
  function shelve(until) {
    const name = shelf + tab;
    if (door) attempt(() => (queue[0] ? (local[name] = json({ until, queue })) : delete local[name]), unwritable);
  }

  /** Send what is due, also of pages that are gone. A lease runs out by itself, a Web Lock of a frozen tab does not. */
  function flush(urgent = false) {
    if (!door) return unusable("before init()");
    if (silence()) return;
    const now = Date.now();
    clearTimeout(timer);
    timer = setTimeout(settle, Math.max(resumeAt - now, 0) || LEASE); // looks first whether another tab was denied
    if (now < resumeAt && !urgent) return;
    delete local[shelf + tab]; // until shelve()
    for (const name of names(shelf)) {
      const left = Object(attempt(() => JSON.parse(local[name])));
      if (left.until > now && left.until < now + AHEAD) continue; // a clock may have been set back
      delete local[name];
      queue = [...(left.queue || []), ...queue];
    }
    while (flying < (urgent ? MAX_FLYING : 1) && (send("clicks", urgent) || send("events", urgent)));
    shelve(urgent ? 1 : now + LEASE); // what a page that is left keeps is the next one's at once
  }

  /** Send one request of a kind; false when there is nothing to send. @param {Kind} kind @param {boolean} urgent */
  function send(kind, urgent) {
    const now = Date.now();
    /** @type {Item[]} */
    const batch = [];
    let size = 0;
    for (const item of queue) {
      // What is busy for longer than ever, is so by a clock that has been set back.
      if (item.kind !== kind || (item.busy > now && item.busy <= now + LEASE)) continue;
      size += new Blob([JSON.stringify(item.body)]).size + (item.alone || 1);
      if (!batch[0] || size < MAX_BYTES) batch.push(item);
    }
    if (!batch[0]) return;
    batch.forEach((item) => (item.busy = now + LEASE));
    // Half an emoji has no UTF-8. JSON escapes it, and the server would refuse the whole body.
    const body = JSON.stringify({ sent_at: iso(now), [kind]: batch.map((item) => item.body) }).replace(
      /\\(ud[89a-f]..|.)/g,
      (escape, half) => (half[1] ? "" : escape),
    );
    // A beacon gets no answer: the next page sends this again.
    if (urgent && !("keepalive" in Request.prototype)) return navigator.sendBeacon(door + kind, body);
    // async: where the page's own fetch throws, that is no answer either
    (async () =>
      fetch(door + kind, {
        method: "POST",
        body, // of text: needs no preflight
        keepalive: true,
        redirect: "error", // a redirected POST turns into a GET, and its 200 would mean nothing
        signal: AbortSignal.timeout?.(TIMEOUT),
      }))()
      .then(answered, () => postpone("offline or origin not allowed"))
      .catch(failed)
      .then(() => {
        flying--;
        settle();
      });
    return ++flying;

    /** @param {Response} response */
    async function answered(response) {
      const { ok, status } = response;
      const isPassing = /^(5|408|429)/.test(/** @type {any} */ (status));
      if (isPassing) return postpone(status, response.headers.get("Retry-After"));
      if (!ok && batch[1]) {
        batch.forEach((item) => (item.alone = LEASE * 2)); // one of them may have spoilt it for all
        return postpone(status);
      }
      failures = resumeAt = 0;
      queue = queue.filter((item) => !batch.includes(item));
      const said = await response.text();
      if (!ok || /"refused"/.test(said)) warn("refused: " + said);
    }

    /** @param {unknown} why @param {any} [retryAfter] in seconds */
    function postpone(why, retryAfter) {
      const pause = 1e3 * (+retryAfter || 2 ** failures++ * (1 - Math.random() / 2));
      resumeAt = Date.now() + (Math.min(pause, 36e5) | 0); // whole, as timers are
      batch.forEach((item) => (item.busy = 0));
      warn("retry: " + why);
    }
  }

  function leave() {
    store();
    flush(true);
  }

  // Personal data, by Microsoft's rule: dots and +aliases go on every domain, and the phone's + is hashed.

  /** @param {string} what @param {unknown} given @param {(raw: string) => string | undefined} normalised */
  async function hashed(what, given, normalised) {
    if (given == null) return;
    const raw = `${given}`.trim();
    const clean = normalised(raw);
    const hash = /^(?!e3b0c442)[\da-f]{64}$/i.test(raw) // e3b0c442... hashes nothing
      ? raw.toLowerCase()
      : clean && crypto.subtle
        ? hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(clean)))
        : unusable(what + (clean ? " without https" : ""));
    return { [what + "_sha256"]: hash };
  }

  /** @param {string} raw */
  function normalEmail(raw) {
    const letters = raw.normalize("NFKD").replace(/[\p{Mn}\s]/gu, "").toLowerCase();
    const [, user, domain] = letters.match(/^(?!.*\p{C})(.+)@([^@.][^@]*\.[^@]*[^@.])$/u) || [];
    const name = user?.replace(/\+.*|\./g, "");
    return name && name + "@" + domain;
  }

  /** E.164, of a number that names its country or whose country is certain. @param {string} raw @param {any} country */
  function normalPhone(raw, country) {
    const [, plus, rest = ""] = raw.match(/^(\+|00)?([\d\s()./-]+)$/) || [];
    const code = parseInt(PHONES.split(" " + `${country}`.toUpperCase())[1]);
    const digits = (plus ? "" : code) + rest.replace(/\D/g, "");
    const [, area, trunk, number] = digits.replace(/^11/, "1").match(PARTS) || [];
    // The server knows which 0 is dropped, of every country. Elsewhere a guess would be a hash of somebody else.
    // Less than seven digits are a fragment.
    if (number?.[6] && (trunk ? PHONES.split(/\D+/).includes(area) : plus || code < 2)) return "+" + area + number;
  }

  // Values

  /** @param {number} at */
  const iso = (at) => new Date(at).toISOString();
  /** Without consent in so many words, hashes of a person are kept in memory only. @param {object} value */
  const json = (value) =>
    JSON.stringify(value, (name, each) => (consented || name !== "user_data" ? each : undefined));
  /** @param {ArrayBuffer} buffer */
  const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => (byte + 256).toString(16).slice(1)).join("");

  /** Text of any use as a name or an id; the server takes 128 characters, and no e-mail address.
   * @param {unknown} value @param {string} what */
  function text(value, what) {
    const clean = typeof value === "string" || Number.isFinite(value) ? `${value}`.trim().slice(0, 200) : "";
    if (clean && !EMAIL.test(clean)) return clean;
    if (value != null && value !== "") unusable(what);
  }

  /** @param {any} value */
  function amount(value) {
    const number = +(+(/** @type {any} */ (text(value, "value")))).toFixed(3); // 3 * 79.99 is 239.96999999999997 here
    if (isFinite(number)) return number;
    if (value != null) unusable("value");
  }

  /** @param {object} properties */
  function plain(properties) {
    const kept = attempt(() => JSON.stringify(properties));
    if (kept?.length < 15e3) return JSON.parse(kept);
    unusable("properties");
    return {};
  }

  /** A random UUID: browsers make one for the address of a blob. crypto.randomUUID is missing without https. */
  function uuid() {
    return URL.createObjectURL(new Blob()).slice(-36);
  }

  // The page around

  /** @param {string} prefix @returns {string[]} */
  const names = (prefix) => Object.keys(local).filter((name) => name.startsWith(prefix));
  /** @param {string} event @param {() => void} listener */
  const on = (event, listener) => addEventListener(event, () => attempt(listener, failed));

  /** What follows a beginning in the page's cookies. @param {string} beginning @returns {string[]} */
  const cookies = (beginning) =>
    (attempt(() => document.cookie) || "")
      .split("; ")
      .filter((/** @type {string} */ pair) => pair.startsWith(beginning))
      .map((/** @type {string} */ pair) => pair.slice(beginning.length));

  /** The widest domain that takes the cookie is the registrable one: browsers refuse public suffixes.
   * @param {string} value @param {number} life in milliseconds */
  function setCookie(value, life) {
    const secure = isSecureContext ? ";secure" : "";
    const cookie = `${COOKIE}${value};path=/;samesite=lax;max-age=${(life / 1e3) | 0}${secure};domain=`;
    let domain = "";
    for (const label of [...location.hostname.split(".").reverse(), ""]) {
      domain = label && "." + label + domain;
      attempt(() => (document.cookie = cookie + domain));
      if (cookies(COOKIE).includes(value)) return;
    }
  }

  /** @param {string} why */
  function warn(why) {
    if (!warned[why]) console.warn("Convultra: " + why);
    warned[why] = true;
  }

  /** @param {string} what */
  function unusable(what) {
    warn("not usable: " + what);
  }

  function unwritable() {
    unusable("localStorage");
  }

  /** @param {unknown} error */
  function failed(error) {
    attempt(() => warn("failed: " + error));
  }

  /** Storage may be full or forbidden, JSON may be none: memory has to do.
   * @param {() => any} job @param {(error: unknown) => void} [otherwise] */
  function attempt(job, otherwise) {
    try {
      return job();
    } catch (error) {
      otherwise?.(error);
    }
  }

  // trackPurchase() and so on: they take what track() takes after the name.
  for (const name of ["Purchase", "Lead", "Signup", "Subscription"])
    Convultra["track" + name] = (/** @type {Props} */ props) => track(name.toLowerCase(), props);
  for (const [name, call] of Object.entries(Convultra)) {
    Convultra[name] = (/** @type {any[]} */ ...rest) => attempt(() => call(...rest), failed);
  }
  const stub = /** @type {any} */ (window).Convultra;
  if (stub?.version) return warn("loaded twice");
  /** @type {any} */ (window).Convultra = Convultra;
  Convultra.version = "1.0.0";
  const { key, consent: fallback } = /** @type {DOMStringMap} */ (script?.dataset || {});
  // In this order, so that the last word on consent is known before anything is stored.
  if (fallback) consent({ ad_storage: fallback }, UNANSWERED);
  stub?.forEach?.(Convultra.push);
  if (key) Convultra.init(key);
})();
