// What becomes of an e-mail address or a phone number before Microsoft sees it, step by step. All of it happens here:
// nothing that is typed leaves the page.
(() => {
  "use strict";
  // ---- The rules, letter by letter those of static/sdk/source/convultra.v1.js; a test compares them.
  const PHONES = " US1 CA1 GB44 IE353 FR33 BE32 NL31 DE49 AT43 CH41 SE46 AU61 NZ64";
  const PARTS =
    /^(1(?=[2-9]\d{9}$)|7|390?|(?:2[1-689]|3[578]|42|5[09]|6[7-9]|8[0578]|9[679])\d|[2-9]\d)(0?)([1-9]\d{0,10})$/;
  function normalEmail(raw) {
    const letters = raw.normalize("NFKD").replace(/[\p{Mn}\s]/gu, "").toLowerCase();
    const [, user, domain] = letters.match(/^(?!.*\p{C})(.+)@([^@.][^@]*\.[^@]*[^@.])$/u) || [];
    const name = user?.replace(/\+.*|\./g, "");
    return name && name + "@" + domain;
  }
  function normalPhone(raw, country) {
    const [, plus, rest = ""] = raw.match(/^(\+|00)?([\d\s()./-]+)$/) || [];
    const code = parseInt(PHONES.split(" " + `${country}`.toUpperCase())[1]);
    const digits = (plus ? "" : code) + rest.replace(/\D/g, "");
    const [, area, trunk, number] = digits.replace(/^11/, "1").match(PARTS) || [];
    // The server knows which 0 is dropped, of every country. Elsewhere a guess would be a hash of somebody else.
    // Less than seven digits are a fragment.
    if (number?.[6] && (trunk ? PHONES.split(/\D+/).includes(area) : plus || code < 2)) return "+" + area + number;
  }
  // ---- The steps to a result of these rules; where a rule gives none there are no steps either.

  const emailSteps = (raw, result) => {
    const plain = raw.normalize("NFKD").replace(/[\p{Mn}\s]/gu, "");
    const lower = plain.toLowerCase();
    const domain = lower.slice(lower.lastIndexOf("@"));
    const user = lower.slice(0, lower.lastIndexOf("@")).replace(/\+.*/, "");
    return [
      ["Spaces and accents go", plain],
      ["Lower case", lower],
      ["What follows a + goes", user + domain],
      ["Dots before the @ go", result],
    ];
  };
  const phoneSteps = (raw, result, country) => {
    const [, plus, rest] = raw.match(/^(\+|00)?(.*)$/);
    const digits = rest.replace(/\D/g, "");
    const code = plus ? "" : parseInt(PHONES.split(" " + country)[1]);
    return [
      ["Digits only", (plus ? "+" : "") + digits],
      ["With the country’s calling code", `+${code}${digits}`],
      ["Without the 0 dialled inside the country", result],
    ];
  };

  const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => (byte + 256).toString(16).slice(1)).join("");
  const sha256 = async (text) => hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));

  const row = (label, text, before) => {
    const item = document.createElement("li");
    const words = document.createElement("span");
    const value = document.createElement("span");
    words.textContent = label;
    words.className = "t3";
    value.textContent = text;
    value.className = `mono end text-break${text === before ? " t3" : ""}`;
    item.append(words, value);
    return item;
  };

  const inspector = document.querySelector("[data-hash-inspector]");
  const part = (scope, name) => scope.querySelector(`[data-${name}]`);

  async function inspect(scope) {
    const field = part(scope, "typed");
    const country = part(scope, "country")?.value;
    const raw = field.value.trim();
    const isPhone = country !== undefined;
    const isHash = /^(?!e3b0c442)[\da-f]{64}$/i.test(raw);
    const clean = isHash ? raw.toLowerCase() : isPhone ? normalPhone(raw, country) : normalEmail(raw);
    const steps = isHash ? [["A hash already: it is sent as it is", clean]]
      : clean ? (isPhone ? phoneSteps : emailSteps)(raw, clean, country) : [];
    const hash = isHash ? clean : clean && await sha256(clean);
    if (field.value.trim() !== raw || part(scope, "country")?.value !== country) return; // typed on meanwhile
    let before = raw;
    part(scope, "steps").replaceChildren(...steps.map(([label, text]) => {
      const item = row(label, text, before);
      before = text;
      return item;
    }));
    part(scope, "found").hidden = !hash;
    part(scope, "sha256").textContent = hash || "";
    part(scope, "short").textContent = hash ? `${hash.slice(0, 4)}…${hash.slice(-4)}` : "";
    part(scope, "none").hidden = !raw || Boolean(hash);
  }

  if (!crypto.subtle) {
    document.querySelector("[data-insecure]").hidden = false;
    return;
  }
  inspector.hidden = false;
  inspector.addEventListener("input", (event) => inspect(event.target.closest("[data-kind]")));
})();
