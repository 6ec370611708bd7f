// Django's two-sided choosers draw a picture with a name but no role, which screen readers may pass over.
addEventListener("load", () => {
  document.querySelectorAll("span.help-tooltip[aria-label]").forEach((picture) => picture.setAttribute("role", "img"));
});
