// Forms of an account: how many changes are not saved, and values that are picked.
(() => {
  "use strict";
  const fields = (row) => [...row.querySelectorAll("select, input:not([type=hidden])")];
  // What is in force, not what was drawn: a refused save draws what was typed, and that is still unsaved.
  const isChanged = (row) => fields(row).some((field) => field.value !== field.dataset.saved);
  const changes = () => [...document.querySelectorAll("[data-mapping] [data-map-row]")].filter(isChanged).length;

  const show = () => {
    const note = document.querySelector("[data-changes]");
    if (!note) return;
    const count = changes();
    note.textContent = count ? `${count} unsaved change${count === 1 ? "" : "s"}` : "Changes";
  };

  document.addEventListener("input", show);
  document.addEventListener("change", show);
  document.addEventListener("click", (event) => {
    const pick = event.target.closest("[data-pick],[data-fill]");
    if (!pick) return;
    // Without scripts a button saves what it picks, and a link opens the page with it chosen.
    event.preventDefault();
    const field = document.getElementById(pick.dataset.pick || pick.dataset.fill);
    field.value = pick.dataset.value;
    field.focus();
    show();
  });

  // Leaving with changes asks first; saving and discarding are meant.
  let isMeant = false;
  document.addEventListener("submit", () => { isMeant = true; });
  document.addEventListener("click", (event) => { if (event.target.closest("[data-discard]")) isMeant = true; });
  document.addEventListener("htmx:afterSettle", () => { isMeant = false; show(); });
  window.addEventListener("beforeunload", (event) => { if (!isMeant && changes()) event.preventDefault(); });
  show();
})();
