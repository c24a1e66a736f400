// The debugger: reads a source's tail, joins the fates of each event to one row, and keeps a few rows.
// What is searched for goes in a header, as it may be a person's id, and addresses are written down.
"use strict";
(() => {
  const table = document.getElementById("tail");
  if (!table) return;
  const source = table.dataset.source;
  const MOST = Number(table.dataset.rows);
  const body = table.tBodies[0];
  const status = document.getElementById("tail-state");
  const none = document.getElementById("tail-none");
  const field = document.getElementById("text");
  const type = document.getElementById("type");
  const fates = document.getElementById("fates");
  const pauseButton = document.getElementById("pause");
  const revealButton = document.getElementById("reveal");
  const dialog = document.getElementById("event");
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });
  const ENDS = ["delivered", "dead", "deduplicated"];

  let events = new Map();       // by messageId, in order of arrival
  let rows = new Map();         // what is on the screen
  let fate = fates.querySelector("[aria-pressed=true]").dataset.fate;
  let frozen = null;            // while paused: the ids that were known
  let behind = 0;
  let leftOut = 0;
  let passed = 0;
  let unnamed = 0;
  let grant = "";
  let about = null;
  let reading = null;

  // -- what is known --

  function learn(told) {
    const id = told.id || `?${unnamed++}`;
    let one = events.get(id);
    if (!one) {
      one = { id, named: Boolean(told.id), at: {}, note: "" };
      events.set(id, one);
      passed += 1;
      if (frozen) behind += 1;
    }
    const { at, fate: now, ...rest } = told;
    if (!(now in one.at) || now !== "accepted") one.at[now] = at;
    Object.assign(one, { ...rest, id, note: rest.note || one.note });
    if (now !== "accepted" || !one.fate) one.fate = now;
    one.changed = true;
    return one;
  }
  const fated = (one) => !fate || one.fate === fate;
  function forget() {
    // Those of other fates may still come to the one that is looked for.
    let [some, others] = [0, 0];
    for (const one of events.values()) if (fated(one)) some += 1; else others += 1;
    const most = frozen ? 2 * MOST : MOST;
    for (const [id, one] of events) {
      if (some <= most && others <= most) break;
      if (frozen?.has(id) || (fated(one) ? some : others) <= most) continue;
      events.delete(id);
      if (fated(one)) some -= 1; else others -= 1;
    }
  }
  const fits = (one) => fated(one) && (!frozen || frozen.has(one.id));

  // -- what is shown --

  function make(tag, attributes = {}, ...content) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...content);
    return made;
  }
  const badge = (state) => make("span", { class: "badge", "data-state": state }, state);
  function lasting(ms) {
    return ms < 1000 ? `${Math.max(0, Math.round(ms))} ms` : window.pombo.age(ms / 1000);
  }
  function size(bytes) {
    return bytes < 1000 ? `${bytes} B` : `${(bytes / 1000).toFixed(1)} kB`;
  }
  function way(one) {
    const parts = [];
    if (one.at.accepted) parts.push(badge("accepted"));
    const ends = ENDS.filter((end) => one.at[end]);
    for (const end of ends) {
      // Who has another end too was not dropped: what was dropped is a copy of it.
      const copy = end === "deduplicated" && ends.length > 1;
      if (parts.length) parts.push(copy ? ", a copy " : " → ");
      parts.push(badge(end));
      if (one.at.accepted && !copy) parts.push(make("span", { class: "muted small" }, ` after ${lasting(one.at[end] - one.at.accepted)}`));
    }
    if (one.fate === "dead" && one.named && table.dataset.dead) {
      const query = new URLSearchParams({ source, message_id: one.id });
      parts.push(" ", make("a", { href: `/dead?${query}`, class: "small" }, "dead letter"));
    }
    if (one.note) parts.push(make("span", { class: "small note clamp", title: one.note }, one.note));
    return parts;
  }
  function fill(row, one) {
    const at = one.at.accepted ?? Math.min(...Object.values(one.at));
    const when = make("time", { datetime: new Date(at).toISOString(), "data-own": "", title: window.pombo.exact.format(at) }, clock.format(at));
    const name = make("button", { type: "button", class: "link", "aria-haspopup": "dialog", title: one.event || "" }, make("bdi", {}, one.event || one.type || "unreadable"));
    if (!one.named) name.disabled = true;
    row.replaceChildren(
      make("td", { class: "tight" }, when),
      make("td", { class: "name" }, name, one.event && one.type ? make("span", { class: "muted small" }, ` ${one.type}`) : ""),
      make("td", { class: "mono user", title: one.user || "" }, make("bdi", {}, one.user || "–")),
      make("td", { class: "long" }, ...way(one)),
      make("td", { class: "num" }, String(one.partition)),
      make("td", { class: "num" }, size(one.size)),
    );
    one.changed = false;
  }
  function show() {
    const wanted = [...events.values()].filter(fits).slice(-MOST);
    const kept = new Set(wanted.map((one) => one.id));
    for (const [id, row] of rows) {
      if (kept.has(id)) continue;
      if (row.contains(document.activeElement)) body.closest(".scroll").focus();
      row.remove();
      rows.delete(id);
    }
    for (const one of wanted) {
      let row = rows.get(one.id);
      if (!row) {
        row = make("tr", { "data-id": one.id });
        rows.set(one.id, row);
        body.prepend(row);
        one.changed = true;
      }
      if (!one.changed) continue;
      const focused = row.contains(document.activeElement);
      fill(row, one);
      if (focused) row.querySelector("button").focus();
    }
    table.hidden = !rows.size;
    none.hidden = rows.size > 0;
    none.querySelector(".empty b").textContent = passed ? `None of ${passed.toLocaleString("en")} events seen is ${fate}` : sought() ? "Nothing fits yet" : "Waiting for events";
    none.querySelector(".first").hidden = passed > 0 || sought();
    tell();
  }
  const sought = () => Boolean(field.value.trim() || type.value);
  function tell(words, severity) {
    const counts = [];
    if (passed) counts.push(`${passed.toLocaleString("en")} seen`);
    if (leftOut) counts.push(`${leftOut.toLocaleString("en")} fates left out: too many to tell`);
    if (frozen && behind) counts.push(`${behind.toLocaleString("en")} newer`);
    status.querySelector(".counts").textContent = counts.join(" · ");
    if (words) {
      status.dataset.severity = severity;
      status.querySelector(".words").textContent = words;
      return;
    }
    if (!about) return;
    const still = about.state !== "active" ? `${source} is ${about.state}: what it accepts waits` : !about.workers ? "No worker lives: what is accepted waits" : "";
    status.dataset.severity = still ? "warning" : "well";
    status.querySelector(".words").textContent = still || (frozen ? "Paused" : "Live");
  }
  function clear() {
    events = new Map();
    rows = new Map();
    body.replaceChildren();
    behind = leftOut = passed = 0;
    show();
  }

  // -- reading the stream --

  function heard(name, data) {
    if (name === "seen") {
      leftOut += data.left_out;
      data.rows.forEach(learn);
      forget();
      show();
    } else if (name === "state") {
      about = data;
      tell();
    } else if (name === "away") {
      tell(data.words, "lost");
    } else if (name === "gone") {
      tell(`${source} was removed`, "critical");
      reading?.abort();
      reading = "over";
    }
  }
  async function listen() {
    if (reading || document.hidden) return;
    const mine = new AbortController();
    reading = mine;
    const headers = { "X-Pombo-Look": encodeURIComponent(JSON.stringify({ text: field.value.trim(), type: type.value })) };
    if (grant) headers["X-Pombo-Grant"] = grant;
    try {
      const answer = await fetch(`/debugger/stream?${new URLSearchParams({ source })}`, { headers, signal: mine.signal });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error((await answer.text()).trim() || String(answer.status));
      const text = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await text.read();
        if (done) break;
        rest += value;
        const parts = rest.split("\n\n");
        rest = parts.pop();
        for (const part of parts) {
          const lines = part.split("\n");
          const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
          const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
          if (name && reading === mine) heard(name, JSON.parse(data));
        }
      }
    } catch (error) {
      if (mine.signal.aborted) return;
      tell(error instanceof TypeError ? "No connection; trying again" : error.message, "lost");
    }
    if (reading === mine) {
      reading = null;
      setTimeout(listen, 2000);
    }
  }
  function stop() {
    if (reading && reading !== "over") reading.abort();
    if (reading !== "over") reading = null;
  }
  function again() {
    stop();
    if (frozen) togglePause();
    clear();
    listen();
  }

  // -- what people do --

  let waiting = 0;
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(again, 350);
  });
  type.addEventListener("change", again);
  fates.addEventListener("click", (event) => {
    const button = event.target.closest("[data-fate]");
    if (!button) return;
    fate = button.dataset.fate;
    fates.querySelectorAll("[data-fate]").forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
    const address = new URL(location);
    if (fate) address.searchParams.set("fate", fate); else address.searchParams.delete("fate");
    history.replaceState(null, "", address);
    show();
  });
  function togglePause() {
    frozen = frozen ? null : new Set(events.keys());
    behind = 0;
    pauseButton.setAttribute("aria-pressed", String(Boolean(frozen)));
    pauseButton.querySelector("span").textContent = frozen ? "Continue" : "Pause";
    pauseButton.querySelector("use").setAttribute("href", pauseButton.querySelector("use").getAttribute("href").replace(/#.*/, frozen ? "#play" : "#pause"));
    forget();
    show();
  }
  pauseButton.addEventListener("click", togglePause);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "p" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select") || document.querySelector("dialog[open]")) return;
    togglePause();
  });
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (!row || event.target.closest("a") || String(getSelection())) return;
    const one = events.get(row.dataset.id);
    if (one?.named) open(one.id);
  });
  function open(id) {
    const place = document.getElementById("event-body");
    place.replaceChildren(make("p", { class: "muted" }, "Loading…"));
    dialog.showModal();
    const headers = grant ? { "X-Pombo-Grant": grant } : {};
    htmx.ajax("GET", `/debugger/event?${new URLSearchParams({ source, id })}`, { target: place, swap: "innerHTML", headers });
  }
  revealButton?.addEventListener("click", () => {
    if (grant) {
      grant = "";
      for (const one of events.values()) Object.assign(one, { user: "•••", changed: true });
      return revealed();
    }
    htmx.ajax("POST", "/debugger/reveal", { source: revealButton, swap: "none", values: { source } });
  });
  function revealed() {
    revealButton.textContent = grant ? "Mask values" : "Reveal values";
    revealButton.setAttribute("aria-pressed", String(Boolean(grant)));
    // What is known stays; the tail tells its users again, as they may be shown now.
    stop();
    show();
    listen();
  }
  document.body.addEventListener("revealed", (event) => {
    if (event.detail.source !== source) return;
    grant = event.detail.grant;
    revealed();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stop(); else listen();
  });
  addEventListener("pagehide", stop);
  addEventListener("pageshow", listen);
  tell("Connecting…", "unknown");
  listen();
})();
