// Dialogs, lists that a button opens, and the navigation of narrow screens. <dialog>, <details> and popovers do most of
// it by themselves; this adds what they leave out.
(() => {
  "use strict";

  // Dialogs: data-opens="id" shows one, data-closes and a click beside it close it, as Escape does.
  const show = (dialog, opener) => {
    // The focus goes back to what opened it or, where that is gone meanwhile, to what it names.
    dialog.addEventListener("close", () => {
      const next = opener.isConnected ? opener : document.getElementById(opener.dataset.focusAfter);
      next?.focus();
    }, { once: true });
    dialog.showModal();
    dialog.focus(); // its name is read, and no button looks chosen
  };
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (!opener) return;
    event.preventDefault(); // a link or a form's button, for browsers without scripts
    show(document.getElementById(opener.dataset.opens), opener);
  });
  let pressed = null; // where a click began: a text that is selected beyond the dialog's edge does not close it
  document.addEventListener("pointerdown", (event) => { pressed = event.target; });
  document.addEventListener("click", (event) => {
    const dialog = event.target.closest("dialog");
    if (dialog && (event.target.closest("[data-closes]") || [event.target, pressed].every((one) => one === dialog))) dialog.close();
  });
  // One that the server sends into #modal opens itself; HX-Trigger: closeModal closes it.
  document.body.addEventListener("htmx:afterSwap", (event) => {
    const dialog = event.detail.target.id === "modal" && event.detail.target.querySelector("dialog");
    if (dialog) show(dialog, event.detail.requestConfig.elt);
  });
  document.body.addEventListener("closeModal", () => document.querySelector("dialog[open]")?.close());

  // Lists: a click or the focus elsewhere closes them, and so does a choice; arrows walk through them.
  const leave = (event) => document.querySelectorAll("details.dropdown[open]").forEach((list) => {
    const isInside = event.type === "click" ? list.firstElementChild.contains(event.target) : list.contains(event.target);
    if (!isInside) list.open = false;
  });
  document.addEventListener("click", leave);
  document.addEventListener("focusin", leave);
  document.addEventListener("keydown", (event) => {
    const list = event.target.closest?.("details.dropdown");
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!list || !(step || (event.key === "Escape" && list.open))) return;
    event.preventDefault();
    list.open = Boolean(step);
    const stops = [...list.querySelectorAll("summary,.dropdown-item")];
    stops[step ? Math.min(Math.max(stops.indexOf(event.target) + step, 0), stops.length - 1) : 0].focus();
  });

  // The navigation of narrow screens: while it is open, the page beside it cannot be reached.
  const side = document.getElementById("side");
  const page = document.getElementById("beside");
  // Before it closes, or the focus could not go back to the button.
  side?.addEventListener("beforetoggle", (event) => { if (event.newState === "closed") page.inert = false; });
  side?.addEventListener("toggle", (event) => {
    if (event.newState !== "open") return;
    page.inert = true;
    side.focus();
  });
  matchMedia("(min-width:992px)").addEventListener("change", () => side?.hidePopover());

  // Parts of a page that a button shows.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-shows]");
    if (!button) return;
    event.preventDefault();
    const isHidden = document.getElementById(button.dataset.shows).toggleAttribute("hidden");
    button.setAttribute("aria-expanded", !isHidden);
  });
})();
