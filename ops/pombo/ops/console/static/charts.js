// The charts of the overview, or of the source that data-source names: uPlot draws, this file reads, labels and colours. Colours are those of console.css.
"use strict";
(() => {
  const place = document.getElementById("charts");
  if (!place || !window.uPlot) return;
  const FRESH_MS = { "15m": 4000, "24h": 60000 };
  const HEIGHT = 190;
  let span = "15m";
  let told = null;
  let asked = 0;

  // -- words --

  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const moment = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  function short(value) {
    const size = Math.abs(value);
    if (size >= 1e6) return `${+(value / 1e6).toFixed(1)}M`;
    if (size >= 1e4) return `${+(value / 1e3).toFixed(1)}k`;
    return size >= 10 || value === 0 ? Math.round(value).toLocaleString("en") : `${+value.toFixed(size < 1 ? 2 : 1)}`;
  }
  function lasting(seconds) {
    if (seconds < 0.0995) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
    return window.pombo.age(seconds).replace(".0 ", " ");
  }

  // -- what is drawn --

  const perSecond = (counts, width) => counts.map((one, i) => one === null || i === counts.length - 1 ? null : one / width);
  const CHARTS = {
    flow: {
      series: ["accepted", "delivered", "deduplicated", "dead"],
      values: (history, name) => perSecond(history[name], history.width_s),
      words: short, fill: ["delivered"], none: "No event in this span",
    },
    fresh: {
      series: ["p50", "p99", "oldest_age_s"],
      values: (history, name) => history[name],
      words: lasting, log: true, dashed: ["oldest_age_s"], none: "Nothing was delivered, and nothing waits",
    },
    backlog: {
      series: ["queued", "in_flight"],
      values: (history, name) => history[name],
      words: short, fill: ["queued"], none: "Nothing waited in this span",
    },
  };

  const probe = document.createElement("i");
  probe.className = "visually-hidden";
  document.body.append(probe);
  function colour(name) {
    probe.dataset.probe = name;
    return getComputedStyle(probe).color;
  }
  function tinted(rgb, alpha) {
    const parts = rgb.match(/[\d.]+/g) ?? [0, 0, 0];
    return `rgba(${parts[0]}, ${parts[1]}, ${parts[2]}, ${alpha})`;
  }

  // Of one source, the times in which it could not send lie behind its lines, in the colours of the timeline.
  function shade(u) {
    for (const one of (place.dataset.source && told.states[place.dataset.source]) || []) {
      const [from, to] = [one.since, one.until ?? told.at.at(-1) + told.width_s * 1000].map((at) => {
        const x = u.valToPos(at / 1000, "x", true);
        return Math.min(Math.max(x, u.bbox.left), u.bbox.left + u.bbox.width);
      });
      u.ctx.fillStyle = tinted(colour(one.state), 0.13);
      u.ctx.fillRect(from, u.bbox.top, Math.max(1, to - from), u.bbox.height);
    }
  }

  const drawn = new Map();
  const hidden = new Set();

  // uPlot counts from the scale's foot in steps of its power of ten; from a foot such as 0.0096 it never gets beyond 0.
  function oneDigit(value) {
    if (!(value > 0)) return 0;
    const unit = 10 ** Math.floor(Math.log10(value));
    return Number((Math.floor(value / unit) * unit).toPrecision(1));
  }
  const decades = (u, ticks) => ticks.map((one) => Math.abs(Math.log10(one) - Math.round(Math.log10(one))) < 1e-6 ? one : null);
  function options(kind, chart, box) {
    const ink = colour("muted");
    const line = colour("line");
    const axis = { stroke: ink, font: "11px system-ui, sans-serif", grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 } };
    return {
      width: Math.max(200, box.clientWidth), height: HEIGHT, legend: { show: false }, padding: [8, 18, 0, 0],
      cursor: { sync: { key: "overview" }, y: false, points: { size: 6 }, drag: { x: false, y: false } },
      scales: { x: { time: true }, y: chart.log ? { distr: 3, range: (u, low, high) => [Math.max(0.001, oneDigit(low / 1.5) || 0.001), Math.max(0.01, high * 1.5 || 1)] } : { range: (u, low, high) => [0, high > 0 ? high * 1.12 : 1] } },
      axes: [
        { ...axis, size: 28, space: 64, values: (u, ticks) => ticks.map((at) => clock.format(at * 1000)) },
        { ...axis, size: 54, space: 34, values: (u, ticks) => ticks.map((one) => one === null ? "" : chart.words(one)), ...(chart.log ? { filter: decades, grid: { ...axis.grid, filter: decades }, ticks: { ...axis.ticks, filter: decades } } : {}) },
      ],
      series: [{}, ...chart.series.map((name) => {
        const stroke = colour(name);
        return {
          stroke, width: 1.75, show: !hidden.has(name), spanGaps: false, points: { show: false },
          dash: chart.dashed?.includes(name) ? [5, 4] : undefined,
          fill: chart.fill?.includes(name) ? tinted(stroke, 0.1) : undefined,
        };
      })],
      hooks: { setCursor: [() => tellValues(kind)], drawClear: [shade] },
    };
  }

  function draw(kind) {
    const chart = CHARTS[kind];
    const box = place.querySelector(`[data-chart="${kind}"]`);
    const at = told.at.map((one) => one / 1000);
    const lines = chart.series.map((name) => chart.values(told, name));
    const any = lines.some((line) => line.some((one) => one !== null && one > 0));
    const none = box.querySelector(".chart-none");
    none.textContent = any ? "" : chart.none;
    none.hidden = any;
    const data = [at, ...lines.map((line) => chart.log ? line.map((one) => one !== null && one > 0 ? one : null) : line)];
    let plot = drawn.get(kind);
    if (plot) {
      plot.setData(data);
    } else {
      plot = new uPlot(options(kind, chart, box), data, box);
      drawn.set(kind, plot);
    }
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", `${chart.series.map((name, i) => `${name} ${last(lines[i], chart)}`).join(", ")}, over ${span}`);
    tellValues(kind);
  }
  function last(line, chart) {
    for (let i = line.length - 1; i >= 0; i--) if (line[i] !== null) return chart.words(line[i]);
    return "–";
  }

  function tellValues(kind) {
    const chart = CHARTS[kind];
    const plot = drawn.get(kind);
    const at = plot?.cursor.idx;
    const when = place.querySelector(`[data-chart="${kind}"]`).parentElement.querySelector("[data-at]");
    when.textContent = plot && at !== null && at !== undefined ? moment.format(plot.data[0][at] * 1000) : "";
    for (const [i, name] of chart.series.entries()) {
      const label = place.querySelector(`[data-value="${name}"]`);
      const line = plot ? plot.data[i + 1] : [];
      const value = at === null || at === undefined ? undefined : line[at];
      label.textContent = value === undefined ? last(line, chart) : value === null ? "–" : chart.words(value);
      label.title = value === undefined ? "latest" : moment.format(plot.data[0][at] * 1000);
    }
  }

  // -- holds and breakers: a lane a source --

  const svg = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const LANE = 26;
  function drawTimeline() {
    const box = document.getElementById("timeline");
    const names = Object.keys(told.states).sort();
    if (!names.length) {
      const words = document.createElement("p");
      words.className = "muted small";
      words.textContent = "Every source could send all the time.";
      box.replaceChildren(words);
      return;
    }
    const width = Math.max(240, box.clientWidth - 32);
    const left = Math.min(130, width * 0.3);
    const begin = told.at[0];
    const end = told.at.at(-1) + told.width_s * 1000;
    const x = (at) => left + (Math.min(Math.max(at, begin), end) - begin) / (end - begin) * (width - left);
    const height = names.length * LANE + 20;
    const made = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Times in which ${names.join(", ")} could not send` });
    const count = width > 700 ? 6 : 3;
    for (let i = 0; i <= count; i++) {
      const at = begin + (end - begin) * i / count;
      made.append(svg("line", { class: "grid", x1: x(at), x2: x(at), y1: 0, y2: height - 16 }));
      made.append(svg("text", { x: x(at), y: height - 3, "text-anchor": i === 0 ? "start" : i === count ? "end" : "middle" }, clock.format(at)));
    }
    names.forEach((name, i) => {
      const y = i * LANE + 5;
      const most = Math.floor(left / 7);
      made.append(svg("rect", { class: "lane", x: left, y, width: width - left, height: 14, rx: 3 }));
      const label = svg("text", { class: "lane-name", x: 0, y: y + 11 }, name.length > most ? `${name.slice(0, most - 1)}…` : name);
      label.append(svg("title", {}, name));
      made.append(label);
      for (const one of told.states[name]) {
        const from = x(one.since);
        const bar = svg("rect", { class: one.state, x: from, y, width: Math.max(2, x(one.until ?? end) - from), height: 14, rx: 2 });
        const times = `${moment.format(one.since)} – ${one.until ? moment.format(one.until) : "now"}`;
        bar.append(svg("title", {}, `${name}: ${one.state}, ${times}${one.reason ? `: ${one.reason}` : ""}`));
        made.append(bar);
      }
    });
    box.replaceChildren(made);
    if (told.more_states) {
      const words = document.createElement("p");
      words.className = "muted small";
      words.textContent = `And ${told.more_states} more source${told.more_states === 1 ? "" : "s"} that could not send all the time.`;
      box.append(words);
    }
  }

  // -- reading --

  async function read(force = false) {
    if (!force && Date.now() - asked < FRESH_MS[span]) return;
    asked = Date.now();
    const wanted = span;
    let answer;
    try {
      answer = await fetch(`/overview/history?span=${wanted}&source=${encodeURIComponent(place.dataset.source ?? "")}`, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      answer = await answer.json();
    } catch {
      if (!told) place.querySelectorAll(".chart-none").forEach((one) => { one.hidden = false; one.textContent = "The figures cannot be read now"; });
      return;
    }
    if (wanted !== span) return;
    told = answer;
    drawAll();
  }
  function drawAll() {
    if (!told) return;
    Object.keys(CHARTS).forEach(draw);
    drawTimeline();
  }
  function again() {
    drawn.forEach((plot) => plot.destroy());
    drawn.clear();
    drawAll();
  }

  place.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.span && button.dataset.span !== span) {
      span = button.dataset.span;
      place.querySelectorAll("[data-span]").forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.span === span)));
      read(true);
    }
    if (button.dataset.toggle) {
      const name = button.dataset.toggle;
      if (!hidden.delete(name)) hidden.add(name);
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      for (const [kind, plot] of drawn) {
        const at = CHARTS[kind].series.indexOf(name);
        if (at >= 0) plot.setSeries(at + 1, { show: !hidden.has(name) });
      }
    }
  });
  new ResizeObserver(() => {
    for (const [kind, plot] of drawn) {
      const width = place.querySelector(`[data-chart="${kind}"]`).clientWidth;
      if (width > 0 && width !== plot.width) plot.setSize({ width, height: HEIGHT });
    }
    if (told) drawTimeline();
  }).observe(place);
  document.addEventListener("themed", again);
  document.body.addEventListener("tick", () => read());
  read(true);
})();
