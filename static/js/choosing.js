// Rows that are chosen to do something to all of them: how many, a whole page at once, a range with the shift key.
(() => {
  "use strict";
  const boxes = () => [...document.querySelectorAll("#log-rows [name=one]")];
  const page = () => document.getElementById("choose-page");
  const forAll = () => document.getElementById("for-all");
  let last = null; // the box that a range begins at

  // All that match, of which the page shows some: the page's rows stay chosen, and the other bar says what can be done.
  const chooseMatching = (isChosen) => {
    document.getElementById("log-body").classList.toggle("all-match", isChosen);
    document.querySelectorAll("[data-choose-page]").forEach((button) => { button.hidden = !isChosen; });
  };

  const show = () => {
    const all = boxes();
    const chosen = all.filter((box) => box.checked).length;
    if (page()) {
      page().checked = chosen > 0 && chosen === all.length;
      page().indeterminate = chosen > 0 && chosen < all.length;
    }
    const words = document.querySelector("[data-chosen-words]");
    if (words) words.textContent = `${chosen} selected`;
    document.querySelectorAll("[data-choose-none]").forEach((button) => { button.hidden = false; });
    // What can be done to all that match stands where this bar lies, so that choosing all only takes the bar away.
    const isWhole = chosen > 0 && chosen === all.length;
    const goesOn = forAll()?.querySelector("[data-choose-page]");
    document.querySelectorAll("[data-choose-all]").forEach((button) => {
      button.hidden = !(isWhole && goesOn);
      if (goesOn) button.textContent = `Select a${forAll().firstElementChild.textContent.slice(1)}`;
    });
    if (!isWhole) chooseMatching(false);
    return chosen;
  };
  const say = () => { document.getElementById("bulk-said").textContent = `${show()} selected`; };
  const chooseAll = (isChosen) => boxes().forEach((box) => { box.checked = isChosen; });

  document.addEventListener("change", ({ target }) => {
    if (target === page()) chooseAll(target.checked);
    if (target === page() || target.matches("#log-rows [name=one]")) say();
  });
  document.addEventListener("click", (event) => {
    const { target } = event;
    if (target.closest("[data-choose-all]")) {
      chooseMatching(true);
      document.getElementById("bulk-said").textContent = forAll().firstElementChild.textContent;
      forAll().querySelector("a, button:not([disabled])").focus();
    }
    if (target.closest("[data-choose-page]")) {
      chooseMatching(false);
      say();
      page().focus();
    }
    if (target.closest("[data-choose-none]")) {
      chooseAll(false);
      say();
      page().focus();
    }
    if (!target.matches("#log-rows [name=one]")) return;
    const all = boxes();
    const ends = [all.indexOf(last), all.indexOf(target)].sort((one, other) => one - other);
    if (event.shiftKey && ends[0] >= 0) all.slice(ends[0], ends[1] + 1).forEach((box) => { box.checked = target.checked; });
    last = target;
  });

  // A row that is drawn anew while it is chosen stays chosen, until what it was chosen for is done.
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const before = event.detail.target.querySelector?.(":scope > td > label > [name=one]:checked");
    const after = event.detail.fragment.querySelector("[name=one]");
    if (before && after) after.checked = true;
  });
  document.body.addEventListener("unchoose", () => chooseAll(false));
  document.addEventListener("htmx:afterSettle", show);
  show();
})();
