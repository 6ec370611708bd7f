// What every page does besides htmx: theme, copy, toasts, shortcuts, rows that open, tabs, passwords.
(() => {
  "use strict";
  const $$ = (selector, scope = document) => [...scope.querySelectorAll(selector)];
  const root = document.documentElement;
  const icon = (name) => `<svg class="icon" aria-hidden="true"><use href="${root.dataset.icons}#${name}"/></svg>`;

  // The choice is a cookie, so that the server paints the right theme at once.
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    const next = root.dataset.bsTheme === "dark" ? "light" : "dark";
    root.dataset.bsTheme = next;
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `theme=${next}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  });

  // Copy: data-copy="#selector" takes an element's text, data-copy-text its own.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy],[data-copy-text]");
    if (!button) return;
    event.preventDefault();
    const text = button.dataset.copyText || document.querySelector(button.dataset.copy).innerText;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      return toast({ kind: "bad", title: "Copying is not allowed here", text: "Select the text and copy it yourself." });
    }
    const before = button.innerHTML;
    button.classList.add("done");
    button.innerHTML = icon("check") + '<span class="visually-hidden">Copied</span>';
    setTimeout(() => { button.classList.remove("done"); button.innerHTML = before; }, 1400);
  });

  // Toasts: the page brings some, and answers may carry HX-Trigger: {"toast": {"kind", "title", "text"}}.
  const LOOKS = {
    ok: [icon("circle-check"), "--st-delivered"],
    info: [icon("info-circle"), "--st-pending"],
    bad: [icon("alert-triangle"), "--st-failed"],
  };
  const leave = (box) => { if (!box.classList.contains("bad")) setTimeout(() => box.remove(), 7000); }; // errors stay
  const toast = ({ kind = "ok", title, text = "" }) => {
    const [picture, colour] = LOOKS[kind];
    const box = document.createElement("div");
    box.className = `toast2 ${kind}`;
    box.innerHTML = `${picture}<div><div class="ttl"></div><p></p></div>` +
      `<button class="copy x" type="button" data-dismiss-toast aria-label="Dismiss">${icon("x")}</button>`;
    box.firstElementChild.style.color = `var(${colour})`;
    box.querySelector(".ttl").textContent = title;
    box.querySelector("p").textContent = text;
    document.getElementById("toasts").append(box);
    leave(box);
  };
  $$("#toasts .toast2").forEach(leave);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-dismiss-toast]");
    if (button) button.closest(".toast2").remove();
  });
  document.body.addEventListener("toast", (event) => toast(event.detail));

  // Failures of a request: what it was about stays as it is, and the reason is said.
  document.body.addEventListener("htmx:responseError", (event) => {
    const { status } = event.detail.xhr;
    if (status === 401 || status === 422 || status === 409) return; // answered by the page itself
    const words = {
      403: ["Your role does not include this", "Ask an owner or admin of this site."],
      404: ["This is no longer here", "It may have been removed meanwhile. Load the page again."],
      429: ["Too many requests", "Try again in 20 s."],
    }[status] || ["The server could not answer", "Nothing was changed. Try again."];
    // What a failure is called in the server's log; `convultra/errors.py` sends it with every 5xx.
    const id = event.detail.xhr.getResponseHeader("X-Request-Id");
    toast({ kind: "bad", title: words[0], text: id ? `${words[1]} Quote ${id} if you contact support.` : words[1] });
  });
  document.body.addEventListener("htmx:sendError", () =>
    toast({ kind: "bad", title: "No connection to the server", text: "Nothing was changed. Try again." }));

  // A form's button says that it works; pages restored from the back-forward cache forget it.
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    // What takes a while has a bar, data-waits-for="the form's address", or of one of its buttons data-waits="its id".
    const action = event.target.getAttribute("action");
    const bar = document.getElementById(button?.dataset.waits) ||
      $$("[data-waits-for]").find((one) => one.dataset.waitsFor === action);
    if (bar && !event.defaultPrevented) {
      bar.hidden = false;
      bar.dispatchEvent(new Event("waits"));
    }
    if (!button || !button.dataset.busy) return;
    if (button.getAttribute("aria-busy") === "true") { event.preventDefault(); return; } // the second of a double click
    button.setAttribute("aria-busy", "true");
    button.append(` ${button.dataset.busy}`);
  });
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  // "/" focuses the search.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || /INPUT|TEXTAREA|SELECT/.test(document.activeElement.tagName)) return;
    const search = $$("[data-main-search]").find((field) => field.offsetParent);
    if (search) { event.preventDefault(); search.focus(); }
  });

  // Rows that open: the button names what it shows.
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".exp");
    if (!button) return;
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", open);
    button.closest("tr").classList.toggle("open", open);
    document.getElementById(button.getAttribute("aria-controls")).hidden = !open;
  });
  // A row is a large target for what opens it, here or as a page; selecting text and other controls still work.
  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr.rowlink");
    if (!row || event.target.closest("a,button,input,select,label,summary") || String(getSelection())) return;
    (row.querySelector(".exp") || row.querySelector("a.main")).click();
  });

  // Tabs inside a card, as the ARIA Authoring Practices describe them.
  const pick = (tab) => $$("[role=tab]", tab.closest("[role=tablist]")).forEach((other) => {
    const on = other === tab;
    other.setAttribute("aria-selected", on);
    other.tabIndex = on ? 0 : -1;
    const panel = document.getElementById(other.getAttribute("aria-controls"));
    if (panel) panel.hidden = !on;
  });
  document.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab][aria-controls]");
    if (!tab) return;
    event.preventDefault(); // a link, for browsers without scripts
    pick(tab);
  });
  document.addEventListener("keydown", (event) => {
    const tab = event.target.closest?.("[role=tab]");
    if (!tab) return;
    const all = $$("[role=tab]", tab.closest("[role=tablist]"));
    const at = all.indexOf(tab);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const chosen = all[(next + all.length) % all.length];
    chosen.focus();
    pick(chosen);
  });
  // The current page's tab stays in view on narrow screens.
  $$(".tabs [aria-current]").forEach((tab) => {
    const list = tab.closest(".tabs");
    list.scrollLeft = tab.offsetLeft - (list.clientWidth - tab.offsetWidth) / 2;
  });

  // Show and hide a password.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-reveal]");
    if (!button) return;
    const field = document.getElementById(button.dataset.reveal);
    const hidden = field.type === "password";
    field.type = hidden ? "text" : "password";
    button.innerHTML = hidden ? icon("eye-off") : icon("eye");
    button.setAttribute("aria-label", hidden ? "Hide password" : "Show password");
  });

  // Typing into a choice's own field chooses it.
  document.addEventListener("input", (event) => {
    const field = event.target.closest("[data-chooses]");
    if (field && field.value) document.getElementById(field.dataset.chooses).checked = true;
  });

  // "2 accounts chosen": data-counts="name of the boxes", data-one and data-many the words.
  const count = () => $$("[data-counts]").forEach((note) => {
    const chosen = $$(`input[name="${note.dataset.counts}"]:checked`).length;
    note.textContent = `${chosen} ${chosen === 1 ? note.dataset.one : note.dataset.many}`;
  });
  document.addEventListener("change", count);
  count();
})();
