// @ts-check
/*! Convultra SDK 1: keeps Microsoft's click id from the landing page to the sale. Manual: docs/sdk.md */
(() => {
  "use strict";

  /**
   * @typedef {{value?: number | string, currency?: string, transaction_id?: string | number,
   *   external_id?: string | number, email?: string, phone?: string, [property: string]: unknown}} Props
   * @typedef {{kind: string, at: number, body: any, until?: number, tried?: boolean, flying?: boolean}} Item
   */

  /** @type {Record<string, any>} */
  const Convultra = {
    version: "1.0.0",
    /** Start. The endpoint is by default the origin this script came from.
     * @param {string} writeKey @param {{endpoint?: string}} [options] */
    init,
    /** Report a conversion. What is not a known field travels as a property.
     * @param {string} name @param {Props} [props] */
    track,
    /** @param {Props} props */
    trackPurchase: (props) => track("purchase", props),
    /** @param {Props} props */
    trackLead: (props) => track("lead", props),
    /** @param {Props} props */
    trackSignup: (props) => track("signup", props),
    /** @param {Props} props */
    trackSubscription: (props) => track("subscription", props),
    /** Say who converts. Hashed here, never sent plain; an address has no field at Microsoft and stays here.
     * @param {{email?: string, phone?: string, address?: object}} person */
    enhance,
    /** Set your own id of the lead, cart or order; null takes it back. @param {string | number | null} externalId */
    identify,
    /** @param {{ad_storage: "granted" | "denied"}} choice */
    consent,
    /** The click id to keep with a lead or an order. @returns {string | null} */
    clickId: () => (capture(), silence() || !click ? null : click.id),
    /** @returns {string | null} */
    visitorId: () => (capture(), silence() ? null : visitor),
    /** Forget visitor, session, person and click. What was tracked is still sent. */
    reset,
    /** The stub's way in: [method, ...arguments]. @param {any[]} calls */
    push: (...calls) => calls.forEach((call) => safely(() => replay(call))),
  };

  const DAY = 864e5;
  const LIFE = 90 * DAY; // Microsoft matches a click for 90 days
  const LEASE = 1e4; // other pages leave an item to the one that sends it
  const MAX_QUEUE = 500;
  const MAX_BATCH = 100;
  const MAX_BYTES = 3e4; // of one request, so that a second fits while one is under way
  const MAX_FLYING = 6e4 + 999; // browsers allow keepalive requests 64 KiB together
  const CLICK = /^(?=(-*[\da-f]){24})[\da-f-]{24,40}$/i;
  const UUID = /^[\da-f-]{36}$/;
  const COOKIE = "_convultra";
  const STORE = "convultra.";

  const script = /** @type {HTMLScriptElement | null} */ (document.currentScript);
  const warned = new Set();
  let endpoint = script && script.src ? new URL(script.src).origin : "";
  let key = "";
  let consented; // "granted", "denied", or not told
  let visitor = "";
  let since = Infinity; // when the visitor came first
  /** @type {{id: string, at: number} | null} */
  let click = null;
  let past = ""; // ids caught before: a reload, a bookmark or the back button is no new click
  /** @type {{id: string, external_id?: string, person?: Record<string, string>}} */
  let session;
  let hashing = Promise.resolve();
  /** @type {Map<string, Item>} */
  let queue = new Map();
  let dropped = 0;
  let settling = false;
  let flyingBytes = 0;
  let failures = 0;
  let resumeAt = 0;
  let ordered = false; // the server asked for the pause, so it holds even when the page is left
  let timer = 0;
  let wakeAt = Infinity;

  function init(writeKey, options) {
    const url = String(Object(options).endpoint || endpoint).replace(/\/+$/, "");
    if (!/^wk_\w+$/.test(writeKey)) return warn("init() needs the site's write key, wk_...");
    if (!/^https?:\/\//.test(url)) return warn('init() needs {endpoint: "https://..."}');
    if (key) return key === writeKey ? undefined : warn("a second write key was ignored");
    key = writeKey;
    endpoint = url;
    for (const method of ["pushState", "replaceState"]) {
      const original = history[method];
      history[method] = function () {
        const result = original.apply(this, arguments);
        safely(capture);
        return result;
      };
    }
    on(window, "popstate", () => capture());
    on(window, "pageshow", settle);
    on(window, "online", () => flush(true));
    on(window, "pagehide", leave);
    on(document, "visibilitychange", () => document.visibilityState === "hidden" && leave());
    // A router may have cleaned the address before this script came.
    const [landing] = performance.getEntriesByType("navigation");
    if (landing) capture(landing.name);
    capture();
  }

  function track(name, props) {
    if (typeof name !== "string" || !name) return warn("track() needs the name of the event");
    if (props != null && typeof props !== "object") warn("track() takes an object of properties; this one was ignored");
    const given = (typeof props === "object" && props) || {};
    const { value, currency, transaction_id, external_id, email, phone, address, ...rest } = given;
    if (email != null || phone != null) enhance({ email, phone });
    capture();
    const at = Date.now();
    const body = {
      name,
      event_id: uuid(),
      occurred_at: iso(at),
      value: amount(value),
      currency: text(currency)?.toUpperCase(),
      transaction_id: text(transaction_id),
      external_id: text(external_id) ?? session.external_id,
      visitor_id: visitor,
      session_id: session.id,
      msclkid: click?.id,
      consent: told(),
      properties: plain(rest),
      user_data: session.person,
    };
    if (bytes(body) > MAX_BYTES) return warn("an event is too large to send");
    enqueue("events", body.event_id, at, body);
  }

  function enhance(person) {
    const { email, phone } = Object(person);
    if (email == null && phone == null) return warn("enhance() found neither email nor phone");
    recall();
    const before = session.person;
    /** @type {Record<string, any>} */
    const now = (session.person = {}); // events hold this object and find the hashes in it
    hashing = hashing
      .then(async () => {
        Object.assign(now, before);
        if (email != null) now.email_sha256 = await hashed("email", email, normalEmail);
        if (phone != null) now.phone_sha256 = await hashed("phone", phone, normalPhone);
      })
      .catch(() => warn("personal data could not be hashed and was dropped"));
    hashing.then(settle);
  }

  function identify(externalId) {
    recall();
    session.external_id = text(externalId);
    settle();
  }

  function consent(choice) {
    const said = Object(choice).ad_storage;
    if (said === undefined) return warn('consent() needs {ad_storage: "granted" or "denied"}');
    if (said !== "granted" && said !== "denied") warn("an unknown ad_storage counts as denied");
    consented = said === "granted" ? said : "denied";
    for (const item of queue.values()) if (!item.tried) item.body.consent = told();
    capture();
  }

  function reset() {
    forget("visitor");
    since = Infinity;
    click = null;
    session = { id: uuid() };
    settle();
  }

  /** Why nothing may be stored or sent now, or "" when it may. */
  function silence() {
    if (/** @type {any} */ (navigator).globalPrivacyControl === true) return "the browser sends Global Privacy Control";
    return consented === "denied" ? "ad_storage is denied" : "";
  }

  /** Look for a click id in an address, else in the cookies of Microsoft's own tag. Safe to repeat. */
  function capture(address = location.href) {
    recall();
    const found = click || silence() ? [] : [...cookies("msclkid"), ...cookies("_uetmsclkid")];
    // _uetmsclkid holds "_uet" and the id; -1, -0 and N are the tag's own marks.
    const ids = found.map((id) => id.replace(/^_uet/, "").replace(/(-[01])?N?$/, ""));
    for (const [, id] of address.matchAll(/[?&#]msclkid=([^&#]*)/gi)) ids.push(id);
    const id = ids.filter((each) => CLICK.test(each)).pop();
    const known = [click?.id, ...past.split(" ")];
    if (id && !known.some((old) => old?.toLowerCase() === id.toLowerCase())) {
      const now = Date.now();
      past = [id, ...past.split(" ").slice(0, 9)].join(" ");
      click = { id, at: Math.max(now, (click?.at || 0) + 1) };
      const { origin, pathname, search } = new URL(address);
      const kept = search.slice(1).split("&").filter((pair) => /^(msclkid|utm_\w+)=/i.test(pair));
      enqueue("clicks", uuid(), now, {
        msclkid: id,
        visitor_id: visitor,
        session_id: session.id,
        landing_url: origin + pathname + (kept[0] ? "?" + kept.join("&") : ""),
        captured_at: iso(now),
        consent: told(),
      });
    }
    settle();
  }

  /** Read what is stored into what is known. The oldest visitor and the newest click win over other tabs. */
  function recall() {
    const now = Date.now();
    for (const stored of [...cookies(COOKIE), attempt(() => localStorage.getItem(STORE + "visitor")) || ""]) {
      const [id, born, clicked, at] = stored.split(".");
      if (!UUID.test(id) || !(Math.max(+born, +(at || 0)) > now - LIFE)) continue;
      if (+born < since) [visitor, since] = [id, +born];
      if (CLICK.test(clicked) && +at < now + DAY && !(click && click.at >= +at)) click = { id: clicked, at: +at };
    }
    past = attempt(() => localStorage.getItem(STORE + "visitor.past")) || past;
    if (since === Infinity) [visitor, since] = [uuid(), now];
    if (click && !(click.at > now - LIFE)) click = null;
    const kept = session || attempt(() => JSON.parse(sessionStorage.getItem(STORE + "session")));
    session = UUID.test(kept?.id) ? kept : { id: uuid() };
  }

  /** Store and send when the calls of this turn are made, a last word on consent among them. */
  function settle() {
    if (settling) return;
    settling = true;
    Promise.resolve().then(() => {
      settling = false;
      safely(store);
      hashing.then(() => safely(flush));
    });
  }

  function store() {
    recall();
    if (dropped) warn("the queue is full; oldest events dropped: " + dropped);
    if (silence()) return forget("");
    const kept = [visitor, since].concat(click ? [click.id, click.at] : []).join(".");
    if (!cookies(COOKIE).includes(kept)) setCookie(kept, Math.max(since, click?.at || 0) + LIFE);
    attempt(() => localStorage.setItem(STORE + "visitor", kept));
    if (click) attempt(() => localStorage.setItem(STORE + "visitor.past", past));
    const person = consented && session.person;
    attempt(() => sessionStorage.setItem(STORE + "session", JSON.stringify({ ...session, person })));
    if (key) queue.forEach((item, id) => item.until || save(id, item, Date.now() + LEASE));
  }

  /** Remove what is stored under a name, "" for all; what this page holds in memory stays. */
  function forget(name) {
    if (cookies(COOKIE)[0]) setCookie("", 0);
    attempt(() => sessionStorage.removeItem(STORE + "session"));
    for (const stored of names(STORE + name)) localStorage.removeItem(stored);
    if (!name) queue.forEach((item) => (item.until = 0));
  }

  function enqueue(kind, id, at, body) {
    const why = silence();
    if (why) warn(why + ": nothing is stored or sent");
    queue.set(id, { kind, at, body });
    for (const oldest of queue.keys()) {
      if (queue.size <= MAX_QUEUE) break;
      remove(oldest);
      dropped++;
    }
    settle();
  }

  // An item is stored under a name of its own: tabs that write at the same time lose nothing.
  function save(id, item, until) {
    item.until = until;
    // Without consent in so many words, hashes of a person are kept in memory only.
    const body = consented ? named(item.body) : nameless(item.body);
    attempt(() => localStorage.setItem(shelf() + id, JSON.stringify({ ...item, body, flying: false })));
  }

  function remove(id) {
    queue.delete(id);
    attempt(() => localStorage.removeItem(shelf() + id));
  }

  // Take what pages that are gone have left. A lease runs out by itself; a Web Lock of a frozen tab would not.
  function adopt() {
    const now = Date.now();
    for (const name of names(shelf())) {
      const id = name.slice(shelf().length);
      const item = attempt(() => JSON.parse(localStorage.getItem(name)));
      if (queue.has(id)) continue;
      if (!item?.body) remove(id);
      else if (item.until > now && item.until < now + 36e5) wake(item.until - now);
      else queue.set(id, item);
    }
    queue = new Map([...queue].sort(([, a], [, b]) => a.at - b.at));
  }

  function flush(urgent = false) {
    if (!key) return warn("nothing is sent before init() or data-key has named the write key");
    if (silence() || (Date.now() < resumeAt && (ordered || !urgent))) return;
    adopt();
    send("clicks", urgent);
    send("events", urgent);
  }

  function send(kind, urgent) {
    const batch = new Map();
    let size = 99; // the envelope
    for (const [id, item] of queue) {
      if (item.kind !== kind) continue;
      if (item.flying && !urgent) return;
      if (item.flying) continue;
      size += bytes(item.body) + 1;
      if (batch.size && (batch.size === MAX_BATCH || size > MAX_BYTES)) break;
      if (size + flyingBytes > MAX_FLYING) break;
      batch.set(id, item);
    }
    if (!batch.size) return;
    const bodies = [...batch.values()].map((item) => named(item.body));
    const pack = JSON.stringify({ sent_at: iso(Date.now()), [kind]: bodies });
    flyingBytes += size;
    batch.forEach((item, id) => {
      item.tried = item.flying = true;
      save(id, item, Date.now() + LEASE);
    });
    fetch(`${endpoint}/v1/${key}/${kind}`, {
      method: "POST",
      body: pack,
      headers: { "Content-Type": "text/plain" }, // needs no preflight
      credentials: "omit",
      keepalive: true,
      redirect: "error", // a redirected POST turns into a GET, and its 200 would mean nothing
      signal: AbortSignal.timeout?.(3e4),
    })
      .then(answered, () => postpone("no answer; offline, or is this origin not allowed for the key?"))
      .catch(() => {}) // an answer that is no JSON has nothing to say
      .then(() => {
        flyingBytes -= size;
        batch.forEach((item) => (item.flying = false));
        settle();
      });

    async function answered(response) {
      if (response.status > 499 || response.status === 429 || response.status === 408) {
        return postpone(response.status, response.headers.get("Retry-After"));
      }
      failures = resumeAt = 0;
      batch.forEach((_, id) => remove(id));
      const { title, detail, results = [] } = await response.json();
      if (!response.ok && response.status !== 409) warn(`refused: ${title}. ${detail || ""}`);
      const refused = results.find((result) => result.status === "refused");
      if (refused) warn("refused: " + JSON.stringify(refused.errors));
    }

    function postpone(why, retryAfter) {
      const asked = retryAfter * 1e3 || Date.parse(retryAfter) - Date.now();
      ordered = asked > 0;
      const pause = ordered ? Math.min(asked, 36e5) : Math.min(1e3 * 2 ** failures++, 3e5) * (1 - Math.random() / 2);
      resumeAt = Date.now() + pause;
      if (!silence()) batch.forEach((item, id) => save(id, item, resumeAt + LEASE));
      wake(pause);
      warn(`kept to send again: ${why}`);
    }
  }

  function wake(pause) {
    if (Date.now() + pause >= wakeAt) return;
    clearTimeout(timer);
    wakeAt = Date.now() + pause;
    timer = setTimeout(() => {
      wakeAt = Infinity;
      safely(flush);
    }, pause);
  }

  function leave() {
    store();
    flush(true);
    // What is not under way is the next page's at once, unless the server asked for a pause.
    if (key && !silence()) queue.forEach((item, id) => item.flying || save(id, item, ordered ? resumeAt : 1));
  }

  // Personal data, by Microsoft's rule: dots and +aliases go on every domain, and the phone's + is hashed.

  async function hashed(what, given, normalised) {
    const raw = String(given).trim();
    if (/^[\da-f]{64}$/i.test(raw) && !/^e3b0c44298fc1c14/i.test(raw)) return raw.toLowerCase(); // e3b0... hashes ""
    const clean = normalised(raw);
    if (!clean) return warn(what + " is not usable and was dropped");
    if (!crypto.subtle) return warn(what + " was dropped: hashing needs https");
    return hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(clean)));
  }

  function normalEmail(raw) {
    const letters = raw.normalize("NFKD").replace(/[\p{Mn}\s]/gu, "").toLowerCase();
    const [, user = "", domain = ""] = letters.match(/^(\P{C}+)@([^@\p{C}]+)$/u) || [];
    const name = user.replace(/\+.*|\./g, "");
    return name && /^[^.].*\..*[^.]$/.test(domain) ? name + "@" + domain : "";
  }

  function normalPhone(raw) {
    const [, number = ""] = raw.replace("(0)", "").match(/^(?:\+|00)([^a-z+]+)$/i) || [];
    const digits = number.replace(/\D/g, "");
    return /^[1-9]\d{6,14}$/.test(digits) ? "+" + digits : "";
  }

  // Values

  const iso = (at) => new Date(at).toISOString();
  const told = () => consented && { ad_storage: consented };
  const text = (value) => (typeof value === "number" || (typeof value === "string" && value) ? `${value}` : undefined);
  const bytes = (body) => new Blob([JSON.stringify(body)]).size;
  const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => (byte + 256).toString(16).slice(1)).join("");

  const nameless = (body) => ({ ...body, user_data: undefined });
  const named = (body) => (body.user_data?.email_sha256 || body.user_data?.phone_sha256 ? body : nameless(body));

  function amount(value) {
    if (Number.isFinite(value)) return Math.round(value * 1e3) / 1e3; // 3 * 79.99 is 239.96999999999997 here
    if (typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value)) return value;
    if (value != null) warn("value is no number and was left out");
  }

  function plain(properties) {
    const copy = attempt(() => JSON.parse(JSON.stringify(properties)));
    if (copy && bytes(copy) < MAX_BYTES / 2) return copy;
    warn("properties that are too large or no JSON were left out");
    return {};
  }

  function uuid() {
    const random = crypto.getRandomValues(new Uint8Array(16)); // randomUUID is missing without https
    random[6] = (random[6] & 15) | 64;
    random[8] = (random[8] & 63) | 128;
    return hex(random).replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  // The page around

  const names = (prefix) => attempt(() => Object.keys(localStorage).filter((name) => name.startsWith(prefix))) || [];
  const shelf = () => STORE + "queue." + key + ".";
  const on = (target, event, listener) => target.addEventListener(event, () => safely(listener));

  function cookies(name) {
    const found = attempt(() => document.cookie.split("; ").filter((pair) => pair.startsWith(name + "="))) || [];
    return found.map((pair) => pair.slice(name.length + 1));
  }

  // The widest domain that takes the cookie is the registrable one: browsers refuse public suffixes.
  function setCookie(value, expires) {
    const labels = location.hostname.split(".");
    const domains = labels.map((_, i) => "; domain=" + labels.slice(i).join(".")).reverse();
    const secure = location.protocol === "https:" ? "; secure" : "";
    const life = `; path=/; samesite=lax; expires=${new Date(expires).toUTCString()}`;
    for (const domain of [...domains, ""]) {
      attempt(() => (document.cookie = `${COOKIE}=${value}` + life + secure + domain));
      if (cookies(COOKIE).includes(value)) return;
    }
  }

  function warn(why) {
    if (!warned.has(why)) console.warn("Convultra: " + why);
    warned.add(why);
  }

  function attempt(job) {
    try {
      return job();
    } catch {
      return null; // storage that is full or forbidden, JSON that is none: memory has to do
    }
  }

  function safely(job) {
    try {
      return job();
    } catch (error) {
      warn("a call failed: " + (error instanceof Error ? error.message : "no reason given"));
    }
  }

  function replay([method, ...rest]) {
    if (method !== "push" && typeof Convultra[method] === "function") Convultra[method](...rest);
    else warn("there is no such call: " + String(method).slice(0, 50));
  }

  const stub = /** @type {any} */ (window).Convultra;
  if (stub && stub.version) return warn("this page loads the script twice; the first one stays");
  for (const [name, call] of Object.entries(Convultra)) {
    if (typeof call === "function") Convultra[name] = (...rest) => safely(() => call(...rest));
  }
  /** @type {any} */ (window).Convultra = Convultra;
  if (Array.isArray(stub)) Convultra.push(...stub); // first, so that a word on consent comes before anything is read
  if (script && script.dataset.key) Convultra.init(script.dataset.key);
})();
