// What every page of the console does: theme, times, shortcuts, dialogs, copying, toasts, and the live stream.
// Pages add nothing inline; what they want is in data-* attributes, told in templates/ui.html.
"use strict";
(() => {
  const root = document.documentElement;
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

  // -- theme: system, or what was chosen --

  const dark = matchMedia("(prefers-color-scheme: dark)");
  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  }
  function toggleTheme() {
    const next = isDark() ? "light" : "dark";
    const plain = (next === "dark") === dark.matches;
    if (plain) delete root.dataset.theme; else root.dataset.theme = next;
    try {
      if (plain) localStorage.removeItem("pombo-theme"); else localStorage.setItem("pombo-theme", next);
    } catch { /* Storage may be forbidden. */ }
    themed();
  }
  function themed() {
    $$("[data-theme-toggle]").forEach((button) => button.setAttribute("aria-pressed", String(isDark())));
    document.dispatchEvent(new CustomEvent("themed"));
  }
  dark.addEventListener("change", themed);

  // -- times: in the viewer's zone, relative with the exact one on hover --

  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  function age(seconds) {
    for (const [limit, unit, size] of [[10, "s", 1], [120, "s", 1], [7200, "min", 60], [172800, "h", 3600]]) {
      if (seconds < limit) return `${(seconds / size).toFixed(limit === 10 || unit === "h" ? 1 : 0)} ${unit}`;
    }
    return `${(seconds / 86400).toFixed(0)} d`;
  }
  function relative(at) {
    const seconds = (Date.now() - at) / 1000;
    if (Math.abs(seconds) < 1) return "now";
    return seconds < 0 ? `in ${age(-seconds)}` : `${age(seconds)} ago`;
  }
  function tellTimes(within = document) {
    for (const time of $$("time[datetime]:not([data-own])", within)) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const told = exact.format(at);
      const text = time.hasAttribute("data-exact") ? told : relative(at);
      if (time.textContent !== text) time.textContent = text;
      const title = time.hasAttribute("data-exact") ? `${relative(at)} (${zone})` : `${told} (${zone})`;
      if (time.title !== title) time.title = title;
    }
  }
  setInterval(tellTimes, 5000);

  // -- toasts --

  function toast(text, kind = "note") {
    const place = $("#toasts");
    if (!place) return;
    const known = $$(".toast", place).find((one) => one.dataset.text === text);
    const box = known ?? document.createElement("div");
    if (!known) {
      box.className = "toast";
      box.dataset.kind = kind;
      box.dataset.text = text;
      const words = document.createElement("p");
      words.textContent = text;
      const close = document.createElement("button");
      close.className = "button quiet small";
      close.type = "button";
      close.textContent = "Dismiss";
      close.addEventListener("click", () => box.remove());
      box.append(words, close);
      place.append(box);
    }
    clearTimeout(box.timer);
    if (kind !== "bad") box.timer = setTimeout(() => box.remove(), 6000);
  }

  // -- morphing: swap what changed, so that focus, selection and open details stay --

  const key = (node) => node.nodeType === 1 ? node.id || node.dataset.key || "" : "";
  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);
  const KEPT = { DETAILS: ["open"], DIALOG: ["open"] };
  function morphOne(old, fresh) {
    if (old.nodeType !== 1) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.hasAttribute("data-keep")) return;
    const kept = KEPT[old.nodeName] ?? [];
    for (const { name, value } of [...fresh.attributes]) {
      if (old.getAttribute(name) !== value && !kept.includes(name)) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
    }
    if (old === document.activeElement && "value" in old && old.nodeName !== "BUTTON") return;
    if (old.nodeName === "TIME" && old.dateTime === fresh.dateTime) return;
    morph(old, fresh);
  }
  function morph(target, source) {
    let at = target.firstChild;
    for (const fresh of [...source.childNodes]) {
      let match = at;
      if (key(fresh)) {
        while (match && !alike(match, fresh)) match = match.nextSibling;
        if (match && match !== at) target.insertBefore(match, at);
      } else if (match && !alike(match, fresh)) {
        match = null;
      }
      if (match) {
        morphOne(match, fresh);
        at = match.nextSibling;
      } else {
        target.insertBefore(fresh, at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  // -- copying --

  async function copy(button) {
    const text = button.dataset.copy || $(button.dataset.copyFrom)?.textContent || "";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "visually-hidden";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.classList.add("copied");
    toast("secret" in button.dataset ? "Copied" : `Copied: ${text.length > 120 ? `${text.slice(0, 119)}…` : text}`, "good");
    setTimeout(() => button.classList.remove("copied"), 1500);
  }

  // -- dialogs and other clicks --

  document.addEventListener("click", (event) => {
    const at = event.target.closest("[data-open], [data-close], [data-copy], [data-copy-from], [data-theme-toggle], [data-dismiss], [data-all]");
    if (!at) {
      if (event.target.nodeName === "DIALOG") event.target.close();
      return;
    }
    if (at.dataset.open) {
      event.preventDefault();
      $(`#${CSS.escape(at.dataset.open)}`)?.showModal();
    }
    if ("close" in at.dataset) at.closest("dialog")?.close();
    if ("copy" in at.dataset || "copyFrom" in at.dataset) copy(at);
    if ("themeToggle" in at.dataset) toggleTheme();
    if ("dismiss" in at.dataset) at.closest(at.dataset.dismiss || ".flash")?.remove();
    if (at.dataset.all) $$(at.dataset.all).forEach((box) => { box.checked = at.checked; box.dispatchEvent(new Event("change", { bubbles: true })); });
  });
  document.addEventListener("change", (event) => {
    // Filters apply themselves; the button is for those without scripts and for the keyboard.
    if (event.target.closest("form[data-auto]")) event.target.form.requestSubmit();
  });

  // A link to a part of a page is a link to its first field: what is to be repaired can be typed at once.
  function arrive() {
    const part = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    $("input:not([type=hidden]), select, textarea, button", part || document.createElement("i"))?.focus({ preventScroll: true });
  }
  addEventListener("hashchange", arrive);
  // Who is there already and presses again changes no hash.
  document.addEventListener("click", (event) => { if (event.target.closest("a[href*='#']")) setTimeout(arrive); });

  // -- shortcuts --

  let went = 0;
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.ctrlKey || event.metaKey || event.altKey || typing || $("dialog[open]")) return;
    if (went && Date.now() - went < 1500) {
      went = 0;
      const link = $(`.nav a[data-key="${CSS.escape(event.key)}"]`);
      if (link) {
        event.preventDefault();
        link.click();
      }
      return;
    }
    if (event.key === "g") went = Date.now();
    if (event.key === "?") $("#help")?.showModal();
    if (event.key === "t") toggleTheme();
    if (event.key === "/") {
      const field = $("[data-search], input[type=search]");
      if (field) {
        event.preventDefault();
        field.focus();
        field.select();
      }
    }
  });

  // -- htmx --

  if (window.htmx) {
    htmx.defineExtension("morph", {
      isInlineSwap: (style) => style === "morph",
      handleSwap(style, target, fragment) {
        if (style !== "morph") return false;
        morph(target, fragment);
        tellTimes(target);
        document.dispatchEvent(new CustomEvent("morphed", { detail: target }));
        return [target];
      },
    });
    document.addEventListener("htmx:afterSwap", (event) => tellTimes(event.target));
    document.addEventListener("htmx:responseError", (event) => {
      const { xhr, requestConfig } = event.detail;
      // A region that refreshes itself says so itself, instead of every two seconds.
      if (requestConfig.triggeringEvent?.type === "tick") return;
      const text = (xhr.getResponseHeader("Content-Type") ?? "").startsWith("text/plain") ? xhr.responseText.trim() : "";
      toast(text || `That failed (${xhr.status}).`, "bad");
    });
    document.addEventListener("htmx:sendError", (event) => {
      if (event.detail.requestConfig?.triggeringEvent?.type !== "tick") toast("The console does not answer.", "bad");
    });
    document.addEventListener("toast", (event) => toast(event.detail.text, event.detail.kind));
  }

  // -- the live stream --

  const light = $("#light");
  const title = document.title;
  let stream = null;
  let heard = Date.now();
  let wasAway = false;
  function show(severity, words, urgent = 0, foremost = "") {
    if (!light) return;
    light.dataset.severity = severity;
    // Written only when it is news: screen readers say it each time.
    const told = $(".words", light);
    if (told.textContent !== words) told.textContent = words;
    $(".foremost", light).textContent = foremost;
    document.title = urgent ? `(${urgent}) ${title}` : title;
  }
  function listen() {
    if (stream || !document.body.dataset.live || document.hidden) return;
    stream = new EventSource(document.body.dataset.live);
    stream.addEventListener("tick", (event) => {
      heard = Date.now();
      const told = JSON.parse(event.data);
      show(told.severity, told.headline, told.urgent, told.foremost);
      // A page that could not be made while Redis was away is made as soon as it is back.
      if (told.away) wasAway = true;
      else if (wasAway && $("[data-returns]")) location.reload();
      document.body.dispatchEvent(new CustomEvent("tick", { detail: told }));
    });
    stream.addEventListener("error", () => {
      // The browser gives up after an answer that is no stream, such as that of a session that is over.
      if (stream?.readyState === EventSource.CLOSED) {
        stream = null;
        setTimeout(listen, 5000);
      }
    });
  }
  setInterval(() => {
    if (document.body.dataset.live && !document.hidden && Date.now() - heard > 8000) show("lost", "No connection; trying again");
  }, 2000);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stream?.close();
      stream = null;
    } else {
      heard = Date.now();
      listen();
    }
  });
  addEventListener("pagehide", () => { stream?.close(); stream = null; });
  addEventListener("pageshow", listen);

  // Where the navigation is a strip that scrolls, show the page that this is.
  const strip = $(".nav");
  const current = $("[aria-current=page]", strip ?? document);
  if (strip && current) strip.scrollLeft = current.offsetLeft - (strip.clientWidth - current.offsetWidth) / 2;

  window.pombo = { toast, morph, age, relative, exact, tellTimes };
  tellTimes();
  themed();
  // The browser scrolls to the part when all is loaded, and takes the focus away as it does.
  addEventListener("load", () => setTimeout(arrive));
  listen();
})();
