// Sections that ask for themselves anew ([data-calm]) wait while somebody is in them: focus and open lists stay.
(() => {
  "use strict";
  const isInUse = (section) => section.contains(document.activeElement) || section.querySelector("details.fold:not([data-chart-table])[open]");
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.matches?.("[data-calm]") && isInUse(event.target)) event.preventDefault();
  });
})();
