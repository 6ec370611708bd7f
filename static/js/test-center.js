// The form of a test: the field for a pasted click is there for who chooses to paste one.
(() => {
  "use strict";
  const choice = document.querySelector("[data-pastes]");
  if (!choice) return;
  const field = document.getElementById(choice.dataset.pastes);
  const input = field.querySelector("input");
  const show = () => {
    field.hidden = choice.value !== "pasted";
    if (field.hidden) input.value = "";
  };
  choice.addEventListener("change", () => { show(); if (!field.hidden) input.focus(); });
  if (input.value) choice.value = "pasted"; // a form that was refused
  show();
})();
