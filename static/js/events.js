// The list of events and the event that is open beside it.
(() => {
  "use strict";
  const inspect = document.getElementById("inspect");
  const links = () => [...document.querySelectorAll("#event-rows a.main")];
  const opened = () => inspect.querySelector("[data-event]")?.dataset.event;

  // The row of the open event is marked, also when the list was drawn anew.
  const mark = () => links().forEach((link) => {
    const isOpen = link.getAttribute("href") === opened();
    link.closest("tr").classList.toggle("sel", isOpen);
    if (isOpen) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });

  // Beside the list the focus stays on the row; where the event stands below it, it is brought into view.
  const show = () => {
    const heading = inspect.querySelector("h2[tabindex]");
    if (heading && heading.getBoundingClientRect().top > innerHeight) heading.focus();
  };
  document.addEventListener("htmx:afterSettle", (event) => {
    mark();
    if (event.detail.target === inspect) show();
  });

  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-close-event]")) return;
    event.preventDefault();
    const row = links().find((link) => link.getAttribute("href") === opened());
    inspect.replaceChildren(document.getElementById("nothing-open").content.cloneNode(true));
    mark();
    (row || document.getElementById("events-q")).focus();
  });
})();
