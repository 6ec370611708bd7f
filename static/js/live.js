// A list that follows what happens. [data-poll] asks every few seconds; this decides when asking makes sense.
(() => {
  "use strict";
  const WAITS = [5000, 10000, 30000]; // after the first, the second and every further failure in a row
  const IDLE_AFTER = 10 * 60 * 1000;
  const IDLE_WAIT = 30 * 1000;
  let isPaused = false;
  let touchedAt = Date.now();
  let askedAt = 0;
  let failures = 0;
  let quietUntil = 0;

  // A job's card asks for itself too, and is not the list: nobody pauses it.
  const interval = () => document.querySelector("[data-poll]:not([data-poll=job])")?.getAttribute("hx-trigger").match(/every (\d+)s/)?.[1];
  const polls = (event) => event.target.matches?.("[data-poll]");
  const polled = (event) => polls(event) && event.target.dataset.poll !== "job";
  const say = (element, text) => { if (element && element.textContent !== text) element.textContent = text; };
  const pace = () => (isIdle() ? "· every 30 s while nobody is here" : interval() ? `· updates every ${interval()} s` : "");
  const show = () => {
    document.querySelectorAll("[data-live]").forEach((sign) => {
      if (sign.matches("button")) sign.setAttribute("aria-pressed", String(!isPaused));
      const [dot, word, note] = isPaused ? ["off", "Paused", ""]
        : failures ? ["warn", sign.dataset.liveLost || "Live updates stopped", sign.dataset.liveLost ? "" : "· trying again"]
          : ["ok", sign.dataset.liveOn || "Live", pace()];
      sign.querySelector(".dot").className = `dot ${dot}`;
      say(sign.querySelector("[data-live-word]"), word);
      say(sign.querySelector("[data-live-note]"), note);
    });
    document.querySelectorAll("[data-live-pause]").forEach((button) => {
      button.setAttribute("aria-pressed", String(isPaused));
      button.querySelector("[data-when-live]").hidden = isPaused;
      button.querySelector("[data-when-paused]").hidden = !isPaused;
    });
  };

  // A [data-poll-idle] asks seldom once nobody has touched the page for a while.
  const isIdle = () => document.querySelector("[data-poll-idle]") && Date.now() - touchedAt > IDLE_AFTER;
  const touched = () => {
    const wasIdle = isIdle();
    touchedAt = Date.now();
    if (wasIdle) show();
  };
  ["pointermove", "pointerdown", "keydown", "wheel", "touchstart"].forEach((name) =>
    addEventListener(name, touched, { passive: true }));

  // Rows never move under somebody who reads one: while one is open, chosen, pointed at, focused or scrolled to, or a
  // dialog asks about one, new ones wait and are only counted.
  const isRead = () => {
    const rows = document.querySelector("[data-live-rows]");
    return rows && (rows.matches(":hover, :focus-within") || rows.querySelector("tr.sel, tr.open, :checked")
      || document.querySelector("dialog[open], .modal.show") || rows.getBoundingClientRect().top < 0);
  };
  document.addEventListener("htmx:configRequest", (event) => {
    if (polled(event) && isRead()) event.detail.parameters.hold = "1";
  });
  // Somebody may have begun to read while the answer was under way: it is let go, and the next one is counted.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { requestConfig, xhr } = event.detail;
    const isPoll = requestConfig.elt.matches("[data-poll]:not([data-poll=job])");
    if (isPoll && xhr.status === 200 && !requestConfig.parameters.hold && isRead()) event.detail.shouldSwap = false;
  });
  // A row that is drawn anew while it is open stays open.
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (!target.matches("#log-rows > tr.open")) return;
    fragment.firstElementChild.classList.add("open");
    fragment.querySelector(".exp").setAttribute("aria-expanded", "true");
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (!polls(event)) return;
    const now = Date.now();
    const isTooSoon = now < quietUntil || (isIdle() && now - askedAt < IDLE_WAIT);
    if ((isPaused && polled(event)) || document.hidden || isTooSoon) return event.preventDefault();
    askedAt = now;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!polls(event)) return;
    failures = event.detail.successful ? 0 : failures + 1;
    quietUntil = failures ? Date.now() + WAITS[Math.min(failures, WAITS.length) - 1] : 0;
    show();
  });
  // Nobody asked for these requests, so their failures are shown beside "Live" and not as a toast each.
  ["htmx:responseError", "htmx:sendError"].forEach((name) =>
    document.addEventListener(name, (event) => { if (polls(event)) event.stopPropagation(); }, true));

  document.addEventListener("click", (event) => {
    if (!event.target.closest("button[data-live], [data-live-pause]")) return;
    isPaused = !isPaused;
    show();
  });
  document.addEventListener("htmx:afterSettle", show);
  show();
})();
