// Dead letters: ticks, and the dialog that asks before letters are moved.
"use strict";
(() => {
  const $ = (selector) => document.querySelector(selector);
  const list = $("#letters");
  const dialog = $("#act");

  function count() {
    if (!list || !$("#everything")) return;
    const ticked = list.querySelectorAll("input[name=ids]:checked").length;
    const boxes = list.querySelectorAll("input[name=ids]").length;
    const everything = $("#everything").checked;
    $("#ticked").textContent = everything ? "all chosen" : ticked ? `${ticked} ticked` : "tick some, or all";
    list.querySelectorAll("[data-needs-letters]").forEach((button) => { button.disabled = !everything && !ticked; });
    const page = $("#page-ticks");
    page.checked = boxes > 0 && ticked === boxes;
    page.indeterminate = ticked > 0 && ticked < boxes;
  }
  list?.addEventListener("change", count);
  addEventListener("pageshow", count);
  count();

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id === "act-body" && dialog && !dialog.open) dialog.showModal();
  });
})();
