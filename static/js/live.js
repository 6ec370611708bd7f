// A list that follows what happens. [data-poll] asks every 5 s; this decides when asking makes sense.
(() => {
  "use strict";
  const WAITS = [5000, 10000, 30000]; // after the first, the second and every further failure in a row
  let isPaused = false;
  let failures = 0;
  let quietUntil = 0;

  const polls = (event) => event.target.matches?.("[data-poll]");
  const show = () => document.querySelectorAll("[data-live]").forEach((button) => {
    button.hidden = false;
    button.setAttribute("aria-pressed", String(!isPaused));
    const [dot, word, note] = isPaused ? ["off", "Paused", ""]
      : failures ? ["warn", "Live updates stopped", "· trying again"] : ["ok", "Live", "· updates every 5 s"];
    button.querySelector(".dot").className = `dot ${dot}`;
    button.querySelector("[data-live-word]").textContent = word;
    button.querySelector("[data-live-note]").textContent = note;
  });

  document.addEventListener("htmx:configRequest", (event) => {
    // Rows never move under somebody who reads one: while a row is open, new ones wait and are only counted.
    if (polls(event) && document.querySelector("#log-rows tr.open")) event.detail.parameters.hold = "1";
  });
  // A row that is drawn anew while it is open stays open.
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (!target.matches("#log-rows > tr.open")) return;
    fragment.firstElementChild.classList.add("open");
    fragment.querySelector(".exp").setAttribute("aria-expanded", "true");
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (polls(event) && (isPaused || document.hidden || Date.now() < quietUntil)) event.preventDefault();
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
    if (!event.target.closest("[data-live]")) return;
    isPaused = !isPaused;
    show();
  });
  document.addEventListener("htmx:afterSettle", show);
  show();
})();
