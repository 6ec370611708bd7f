// What the walk asks each page, in one call each. Put into pages by Playwright, so the pages' own policy is not asked.
(() => {
  const WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
  const TABBABLE = "a[href],button,input:not([type=hidden]),select,textarea,summary,[tabindex]";

  const told = (violation) => `${violation.id}: ${violation.nodes.slice(0, 3).map((node) =>
    `${node.target.join(" ")} ${node.any.concat(node.all, node.none).map((check) => check.message).join("; ").slice(0, 160)}`).join(" | ")}`;

  const shows = (element) => element.checkVisibility({ checkVisibilityCSS: true }) && element.getClientRects().length > 0;
  const stops = () => [...document.querySelectorAll(TABBABLE)].filter((element) =>
    element.tabIndex >= 0 && !element.disabled && !element.closest("[inert]") && shows(element) && !isOtherRadio(element));
  const isOtherRadio = (element) => {
    if (element.type !== "radio") return false;
    const group = [...document.getElementsByName(element.name)].filter((one) => one.form === element.form);
    return element !== (group.find((one) => one.checked) || group[0]);
  };
  const name = (element) => `${element.tagName.toLowerCase()} ${(element.id || element.getAttribute("aria-label") || element.textContent).trim().slice(0, 40)}`;

  // What fades from one theme to the other would be read half-way.
  const still = new CSSStyleSheet();
  still.replaceSync("*,*::before,*::after{transition:none!important;animation:none!important}");
  document.adoptedStyleSheets = [still];

  window.looking = {
    async axe(rules, more = {}) {
      const runOnly = rules ? { type: "rule", values: rules } : { type: "tag", values: WCAG };
      const found = await window.axe.run(document, { runOnly, resultTypes: ["violations"], iframes: false, ...more });
      return found.violations.map(told);
    },
    facts: () => ({
      title: document.title,
      headings: document.querySelectorAll("h1").length,
      lang: document.documentElement.lang,
    }),
    shift: () => new Promise((resolve) => {
      let sum = 0;
      const observer = new PerformanceObserver((list) => { list.getEntries().forEach((entry) => { if (!entry.hadRecentInput) sum += entry.value; }); });
      observer.observe({ type: "layout-shift", buffered: true });
      setTimeout(() => { observer.disconnect(); resolve(sum); }, 50);
    }),
    sideways: () => document.documentElement.scrollWidth - innerWidth,
    theme(value) { document.documentElement.dataset.bsTheme = value; },
    // Pressing Tab is the walk's; this notes what gets the focus, and what shows nothing when it does.
    follow() {
      const reached = new Set(); // by name: a part of the page that asks for itself again has new elements
      const unseen = [];
      const isRinged = (element) => {
        const style = getComputedStyle(element);
        return style.outlineStyle !== "none" || style.boxShadow !== "none";
      };
      const note = () => {
        const element = document.activeElement;
        reached.add(name(element));
        // The ring of a field may be around the box that it fills.
        const rings = [element, ...(element.matches("input") ? [element.parentElement, element.closest("form")] : [])];
        if (element !== document.body && !rings.some((one) => one && isRinged(one))) unseen.push(name(element));
      };
      document.addEventListener("focusin", note);
      window.looking.result = () => ({ missed: stops().map(name).filter((one) => !reached.has(one)), unseen });
      return stops().length;
    },
  };
})();
