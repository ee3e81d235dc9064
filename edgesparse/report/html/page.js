"use strict";
// Draws the charts from the tables and samples that the page holds, when they come near; filters, theme, paper.
(() => {
  const found = JSON.parse(document.getElementById("data").textContent);
  const charts = [...document.querySelectorAll(".chart")];
  const views = new Map();
  const wanted = { runs: null, series: null, variant: "" };
  const root = document.documentElement;

  // -- tables and samples ----------------------------------------------------------------------------------------------

  const tables = new Map();
  function table(run, name) {
    const key = run + name;
    if (!tables.has(key)) {
      const { columns, rows } = found.runs[run].tables[name];
      tables.set(key, rows.map((row) => Object.fromEntries(row.map((value, place) => [columns[place], value]))));
    }
    return tables.get(key);
  }

  // The samples are unpacked once, all runs at the same time.
  const unpacked = Promise.all(found.runs.map(async (run) => {
    const bytes = Uint8Array.from(atob(run.bytes), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  })).then((all) => { all.forEach((planes, run) => { found.runs[run].planes = planes; }); })
    .catch((error) => charts.filter((element) => !isReady(element)).forEach((element) => fail(element, error)));

  const MOST_DOTS = 30000;
  function samples(run) {
    const { cells, planes } = found.runs[run];
    const half = planes.length / 2;
    const kept = cells.map((cell) => isWanted({ variant: cell[0], series: cell[1] }));
    const total = cells.reduce((sum, cell, place) => sum + (kept[place] ? cell[3] : 0), 0);
    const coarser = total > MOST_DOTS ? Math.max(1, Math.ceil(65536 * kept.filter(Boolean).length / MOST_DOTS)) : 1;
    const medians = new Map(table(run, "rows").map((row) => [row.variant + row.series, row.median_ms]));
    const dots = [];
    let at = 0;
    cells.forEach(([variant, series, slot, count, low, high], place) => {
      const span = Math.log(high / low) / 65535;
      let step = 0, last = null;
      for (let number = 0; number < count; number++, at++) {
        if (!kept[place]) continue;
        step += planes[at] + 256 * planes[half + at];
        // Where there are more dots than can be told apart, those that would lie on each other are one, and larger.
        if (last !== null && coarser > 1 && Math.floor(step / coarser) === last.bin) { last.count += 1; continue; }
        last = { variant, series, slot: slot + found.jitter[number % found.jitter.length],
          latency_ms: low * Math.exp(step * span), median_ms: medians.get(variant + series), count: 1, bin: Math.floor(step / coarser) };
        dots.push(last);
      }
    });
    return dots;
  }

  function isWanted(row) {
    return (row.series === undefined || wanted.series === null || wanted.series.has(row.series) || !wanted.known.has(row.series))
      && (row.variant === undefined || row.variant.toLowerCase().includes(wanted.variant));
  }

  // -- drawing ---------------------------------------------------------------------------------------------------------

  // Of names that are filtered away no line is left; a canvas knows no variables of CSS.
  function adapted(node, names, colours) {
    if (Array.isArray(node)) {
      const some = names && node.length && node.every((each) => typeof each === "string" && names.all.has(each))
        ? node.filter((each) => names.kept.has(each)) : node;
      return some.map((each) => adapted(each, names, colours));
    }
    if (node && typeof node === "object") {
      return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, adapted(value, names, colours)]));
    }
    if (colours && typeof node === "string" && node.startsWith("var(")) return colours(node.slice(4, -1));
    return node;
  }

  function specOf(element, width) {
    const run = +element.dataset.run;
    const canvas = "canvas" in element.dataset;
    const all = new Set(table(run, "sizes").map((row) => row.variant));
    const kept = new Set([...all].filter((name) => isWanted({ variant: name })));
    const style = getComputedStyle(root);
    const colours = canvas ? (name) => style.getPropertyValue(name).trim() : null;
    const spec = adapted(found.charts[+element.dataset.chart], { all, kept }, colours);
    const config = adapted(found.config, null, colours);
    if (width < 500) narrow(spec);
    if (spec.vconcat) {
      const room = width - found.room.values - 50;
      spec.vconcat.forEach((each) => { each.width = Math.max(120, room); });
    } else {
      spec.width = width;
      spec.autosize = { type: "fit-x", contains: "padding" };
    }
    if (typeof spec.height === "number" && all.size && JSON.stringify(spec).includes('"variant"') && kept.size < all.size
        && ["speedup", "distributions", "energy", "size", "instructions"].includes(element.dataset.name)) {
      spec.height = Math.max(60, spec.height * kept.size / all.size);
    }
    for (const each of spec.params ?? []) {
      const chosen = each.value?.[0]?.variant;
      if (chosen !== undefined && !kept.has(chosen) && kept.size) each.value = [{ variant: [...kept][0] }];
    }
    config.legend.columns = width < 500 ? 2 : 4;
    return { spec: { ...spec, config, padding: 4 }, canvas, run };
  }

  // On a phone names have less room.
  function narrow(node) {
    if (node === null || typeof node !== "object") return;
    if (node.minExtent === found.room.names) Object.assign(node, { minExtent: 104, maxExtent: 104, labelLimit: 98 });
    Object.values(node).forEach(narrow);
  }

  // A title under a chart is no wider than its axis, but for a letter or two, whatever the reader's font.
  const LETTER_PX = 6;
  function wrapped(vega, width) {
    const most = (width - (width < 500 ? 104 : found.room.names)) / LETTER_PX;
    for (const axis of vega.axes ?? []) {
      if (axis.orient !== "bottom" || typeof axis.title !== "string") continue;
      axis.title = axis.title.split(" ").reduce((lines, word) => {
        const longer = `${lines.at(-1)} ${word}`.trim();
        return longer.length > most ? [...lines, word] : [...lines.slice(0, -1), longer];
      }, [""]);
    }
    (vega.marks ?? []).forEach((each) => wrapped(each, width));
  }

  // As wide as the text of a sheet of A4, at the size that a browser gives to a point.
  const PAPER_PX = 690;
  let paper = false;
  async function draw(element) {
    const width = paper ? PAPER_PX : Math.floor(element.clientWidth);
    if (!width) return;
    forget(element);
    const turn = { view: null, width };
    views.set(element, turn);
    const host = document.createElement("div");
    element.append(host);
    try {
      const { spec, canvas, run } = specOf(element, width);
      const filled = (vega) => {
        for (const data of vega.data ?? []) {
          if (data.name === "samples") data.values = samples(run);
          else if (data.name in found.runs[run].tables) data.values = table(run, data.name).filter(isWanted);
        }
        wrapped(vega, width);
        return vega;
      };
      const { view } = await window.vegaEmbed(host, spec, {
        mode: "vega-lite", renderer: canvas ? "canvas" : "svg", actions: false, defaultStyle: false, patch: filled,
        tooltip, bind: element.previousElementSibling, hover: true,
        logLevel: wanted.active ? 1 : 2, // a filter may well leave an axis without a number
      });
      if (views.get(element) !== turn) { view.finalize(); host.remove(); return; }
      turn.view = view;
      element.view = view; // for whoever looks with the developer tools
      for (const drawn of host.querySelectorAll("svg, canvas")) drawn.setAttribute("aria-hidden", "true");
      element.dataset.drawn = "";
    } catch (error) {
      fail(element, error);
    }
  }

  function fail(element, error) {
    element.classList.add("failed");
    element.textContent = "This chart could not be drawn; its numbers are in the table below.";
    console.error(error);
  }

  function forget(element) {
    views.get(element)?.view?.finalize();
    views.delete(element);
    delete element.dataset.drawn;
    element.replaceChildren();
    element.previousElementSibling.replaceChildren();
  }

  const isReady = (element) => !("canvas" in element.dataset) || found.runs[+element.dataset.run].planes;
  async function drawWhenReady(element) {
    if (!isReady(element)) await unpacked;
    if (isReady(element) && !views.has(element)) await draw(element);
  }

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) drawWhenReady(entry.target);
  }, { rootMargin: "400px" });
  charts.forEach((element) => near.observe(element));

  // The rest when there is nothing else to do, so that paper has them all.
  const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 50));
  function drawRest() {
    const next = charts.find((element) => !views.has(element) && !element.classList.contains("failed") && element.clientWidth);
    if (!next) { root.dataset.complete = ""; return; }
    idle(async () => { await drawWhenReady(next); drawRest(); });
  }
  addEventListener("load", () => setTimeout(drawRest, 700));

  function redraw() { [...views.keys()].forEach(draw); }
  let resizing = 0;
  addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => {
      for (const [element, { width }] of [...views]) if (Math.floor(element.clientWidth) !== width) draw(element);
    }, 150);
  });

  // -- hovering --------------------------------------------------------------------------------------------------------

  const tip = document.getElementById("tip");
  function tooltip(_, event, item, value) {
    if (value === null || value === undefined || value === "") { tip.hidden = true; return; }
    const list = document.createElement("dl");
    for (const [key, text] of Object.entries(value)) {
      if (text === "" || text === null || text === "null" || text === "NaN") continue;
      list.append(Object.assign(document.createElement("dt"), { textContent: key }),
        Object.assign(document.createElement("dd"), { textContent: text }));
    }
    tip.replaceChildren(list);
    tip.hidden = false;
    const room = tip.getBoundingClientRect();
    const left = Math.max(8, Math.min(event.clientX + 14, innerWidth - room.width - 8));
    const above = event.clientY + 18 + room.height > innerHeight;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above ? Math.max(4, event.clientY - room.height - 12) : event.clientY + 18) + scrollY}px`;
  }
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  // -- filters ---------------------------------------------------------------------------------------------------------

  const form = document.getElementById("filters");
  form.hidden = false;
  const boxes = (name) => [...form.querySelectorAll(`input[name=${name}]`)];
  wanted.known = new Set(boxes("series").map((box) => box.value));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    const chosen = (name) => new Set(boxes(name).filter((box) => box.checked).map((box) => box.value));
    wanted.series = wanted.known.size ? chosen("series") : null;
    wanted.runs = boxes("run").length ? chosen("run") : null;
    wanted.active = true;
    wanted.variant = form.elements.variant.value.trim().toLowerCase();
    for (const each of document.querySelectorAll("tr[data-variant], .mask[data-variant]")) {
      const { variant, series } = each.dataset;
      each.hidden = !isWanted({ variant, series });
    }
    for (const each of document.querySelectorAll("[data-run]:not(.chart)")) {
      each.hidden = wanted.runs !== null && !wanted.runs.has(each.dataset.run);
    }
    redraw();
  });

  // -- theme and paper -------------------------------------------------------------------------------------------------

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  function themed() {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
    for (const element of [...views.keys()]) if ("canvas" in element.dataset) draw(element);
  }
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; themed(); });
  dark.addEventListener("change", themed);
  themed();

  let closed = [], theme;
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    paper = true;
    charts.filter(isReady).forEach(draw);
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => {
    if (theme === undefined) delete root.dataset.theme; else root.dataset.theme = theme;
    paper = false;
    charts.filter(isReady).forEach(draw);
    closed.forEach((each) => { each.open = false; });
  });
})();
