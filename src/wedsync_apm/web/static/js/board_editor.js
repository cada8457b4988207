// The dashboard editor. What it changes is the document in the form's text field, which is posted as
// it stands: without this script the text itself is edited. Panels are moved and resized by pointer
// and by keyboard; every change can be taken back.
const form = document.getElementById("editor");
const area = form.elements.document;
const words = JSON.parse(form.dataset.words);
const say = (key, gaps = {}) => (words[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => gaps[name] ?? "");
const COLUMNS = 12, ROW = 80, MOST_UNDONE = 50, TALLEST = 24;

// The grid. A panel that is moved over others pushes them down, and nothing hangs in the air.
const overlaps = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
const beside = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w;
export function settle(panels, moved = null, down = 0) {
  const key = (p) => (p === moved ? p.at.y + (down > 0 ? p.at.h : down < 0 ? 0 : p.at.h / 2) : p.at.y + p.at.h / 2);
  const order = [...panels].sort((a, b) => key(a) - key(b) || (b === moved) - (a === moved) || a.at.x - b.at.x);
  const lying = [];
  for (const panel of order) {
    const free = (y) => !lying.some((one) => overlaps(one.at, { ...panel.at, y }));
    let y = panel.at.y;
    while (!free(y)) y += 1;
    while (y > 0 && free(y - 1)) y -= 1;
    panel.at.y = y;
    lying.push(panel);
  }
  return panels.sort((a, b) => a.at.y - b.at.y || a.at.x - b.at.x);
}
export function moved(panels, key, dx, dy) {
  const panel = panels.find((one) => one.key === key), at = panel.at;
  at.x = Math.max(0, Math.min(COLUMNS - at.w, at.x + dx));
  if (dy) {
    const there = panels.filter((one) => one !== panel && beside(one.at, at));
    const next = dy < 0
      ? there.filter((one) => one.at.y + one.at.h <= at.y).sort((a, b) => b.at.y - a.at.y)[0]
      : there.filter((one) => one.at.y >= at.y + at.h).sort((a, b) => a.at.y - b.at.y)[0];
    // just past the middle of its neighbour, and no further
    if (next) at.y = dy < 0 ? next.at.y : Math.max(0, Math.floor(next.at.y + next.at.h / 2 - at.h) + 1);
  }
  return settle(panels, panel, dy);
}
export function resized(panels, key, dw, dh) {
  const panel = panels.find((one) => one.key === key), at = panel.at;
  at.w = Math.max(1, Math.min(COLUMNS - at.x, at.w + dw));
  at.h = Math.max(1, Math.min(TALLEST, at.h + dh));
  return settle(panels, panel);
}

// The document, and what it was before.
let doc = { panels: [] }, chosen = null, saved = "";
const past = [], future = [];
const text = () => JSON.stringify(doc, null, 2) + "\n";
const panelOf = (key) => doc.panels.find((one) => one.key === key);
function change(work, isTyped = false) {
  const before = text();
  work();
  if (text() === before) return;
  past.push(before);
  if (past.length > MOST_UNDONE) past.shift();
  future.length = 0;
  show(isTyped);
}
function travel(from, to) {
  if (!from.length) return;
  to.push(text());
  doc = JSON.parse(from.pop());
  if (!panelOf(chosen)) chosen = null;
  show();
}
function read() {
  try {
    const found = JSON.parse(area.value);
    if (!found || !Array.isArray(found.panels ?? [])) throw new Error(say("unreadable"));
    found.panels ??= [];
    if (found.panels.some((one) => !one?.at || typeof one.key !== "string")) throw new Error(say("unreadable"));
    doc = found;
    area.removeAttribute("aria-invalid");
    return true;
  } catch (fault) {
    area.setAttribute("aria-invalid", "true");
    tell(say("unreadable") + " " + fault.message);
    return false;
  }
}

// Small makers of elements; nothing is ever put in as markup.
function make(tag, properties = {}, ...inside) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in el && name !== "list") el[name] = value; else el.setAttribute(name, value);
  }
  el.append(...inside.filter((one) => one !== null));
  return el;
}
const button = (key, run, cls = "b sm") => make("button", { type: "button", className: cls, onclick: run, textContent: say(key) });
const grid = document.getElementById("grid"), tools = document.getElementById("tools");
const sheet = document.getElementById("sheet"), live = document.getElementById("told");
const tell = (said) => { live.textContent = said; };

const LOOKS = {
  series: () => ({ queries: [{ metric: words.metric_example, agg: "p95", group_by: [] }], at: { w: 6, h: 5 } }),
  stat: () => ({ query: { metric: words.metric_example, agg: "p95" }, at: { w: 3, h: 2 } }),
  gauge: () => ({ query: { metric: words.metric_example, agg: "max" }, least: 0, most: 100, at: { w: 3, h: 4 } }),
  table: () => ({ queries: [{ metric: words.metric_example, agg: "p95" }], at: { w: 6, h: 4 } }),
  heat: () => ({ query: { metric: words.metric_example, agg: "max", group_by: [] }, rows: "days", at: { w: 6, h: 5 } }),
  services: () => ({ at: { w: 6, h: 4 } }),
  incidents: () => ({ at: { w: 6, h: 4 } }),
  countdown: () => ({ at: { w: 3, h: 2 } }),
  text: () => ({ text: "", at: { w: 6, h: 2 } }),
};
function add(kind) {
  const look = LOOKS[kind]();
  let n = 1;
  while (panelOf(kind + "-" + n)) n += 1;
  const bottom = Math.max(0, ...doc.panels.map((one) => one.at.y + one.at.h));
  const { at, ...rest } = look;
  chosen = kind + "-" + n;
  change(() => {
    doc.panels.push({ kind, key: chosen, title: say("kind_" + kind), at: { x: 0, y: bottom, ...at }, ...rest });
    settle(doc.panels);
  });
  document.getElementById("edit-" + chosen).focus();
}
function remove(key) {
  chosen = null;
  change(() => { doc.panels = settle(doc.panels.filter((one) => one.key !== key)); });
  tell(say("removed"));
  (grid.querySelector(".edit") ?? tools.querySelector("button")).focus();
}

// The grid as it is drawn: its cards are kept, so that the focus stays where it is.
function show(isTyped = false) {
  settle(doc.panels);
  area.value = text();
  const old = new Map([...grid.children].map((el) => [el.dataset.key, el]));
  doc.panels.forEach((panel, place) => {
    const el = old.get(panel.key) ?? card(panel.key);
    old.delete(panel.key);
    if (grid.children[place] !== el) {
      const hadFocus = el.contains(document.activeElement);
      grid.insertBefore(el, grid.children[place] ?? null);
      if (hadFocus) el.focus();
    }
    lay(el, panel.at);
    const asks = (panel.queries ?? (panel.query ? [panel.query] : [])).map((one) => `${say("agg_" + one.agg)}: ${one.metric}`);
    el.querySelector("b").textContent = panel.title;
    el.querySelector(".asks").textContent = [say("kind_" + panel.kind), ...asks].join(", ");
    el.setAttribute("aria-label", say("place", { title: panel.title, kind: say("kind_" + panel.kind), x: panel.at.x + 1, y: panel.at.y + 1, w: panel.at.w, h: panel.at.h }));
    el.classList.toggle("chosen", panel.key === chosen);
    el.setAttribute("aria-current", String(panel.key === chosen));
  });
  old.forEach((el) => el.remove());
  tools.querySelector("[data-do=undo]").disabled = !past.length;
  tools.querySelector("[data-do=redo]").disabled = !future.length;
  fill(isTyped);
}
function lay(el, at) {
  el.style.gridColumn = `${at.x + 1} / span ${at.w}`;
  el.style.gridRow = `${at.y + 1} / span ${at.h}`;
}
function card(key) {
  const el = make("div", { className: "card edit", tabIndex: 0, id: "edit-" + key, role: "group" },
    make("b"), make("span", { className: "f1 asks" }), make("span", { className: "corner", ariaHidden: "true" }));
  el.dataset.key = key;
  el.addEventListener("focus", () => { if (chosen !== key) { chosen = key; show(); } });
  el.addEventListener("keydown", (event) => press(event, key));
  el.addEventListener("pointerdown", (event) => drag(event, el, key));
  return el;
}
function press(event, key) {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (step) {
    event.preventDefault();
    change(() => { doc.panels = (event.shiftKey ? resized : moved)(doc.panels, key, ...step); });
    tell(document.getElementById("edit-" + key).getAttribute("aria-label"));
  } else if (event.key === "Delete") {
    event.preventDefault();
    remove(key);
  } else if (event.key === "Enter") {
    event.preventDefault();
    sheet.querySelector("input")?.focus();
  }
}
function drag(event, el, key) {
  if (event.button || innerWidth < 1024) return;
  const isCorner = event.target.classList.contains("corner");
  const from = { x: event.clientX, y: event.clientY }, before = text(), width = (grid.clientWidth + 16) / COLUMNS;
  el.setPointerCapture(event.pointerId);
  let last = "0 0";
  const move = (e) => {
    const dx = Math.round((e.clientX - from.x) / width), dy = Math.round((e.clientY - from.y) / ROW);
    if (`${dx} ${dy}` === last) return;
    last = `${dx} ${dy}`;
    doc = JSON.parse(before);
    const panel = panelOf(key), at = panel.at;
    if (isCorner) doc.panels = resized(doc.panels, key, dx, dy);
    else {
      at.x = Math.max(0, Math.min(COLUMNS - at.w, at.x + dx));
      at.y = Math.max(0, at.y + dy);
      settle(doc.panels, panel, dy);
    }
    el.classList.add("dragged");
    show();
  };
  const drop = () => {
    el.removeEventListener("pointermove", move);
    el.classList.remove("dragged");
    if (text() === before) return;
    past.push(before);
    future.length = 0;
    show();
  };
  el.addEventListener("pointermove", move);
  el.addEventListener("pointerup", drop, { once: true });
  el.addEventListener("pointercancel", drop, { once: true });
}

// The properties of the chosen panel, or of the dashboard where none is.
const OPTIONS = {
  agg: ["p95", "p50", "p99", "avg", "min", "max", "sum", "count", "last", "rate"],
  style: ["line", "area", "bar"], rows: ["series", "days"], which: ["open", "all"],
  when: ["above", "below"], level: ["critical", "warning"],
  span: ["15m", "1h", "6h", "24h", "7d", "30d"], compare: ["none", "last_wedding", "last_saturday"],
};
const USUAL = { style: "line", rows: "series", which: "open", when: "above", level: "critical", span: "24h", compare: "none", rule_limits: true, phases: true, events: true, sparkline: true };
function field(owner, name, kind = "text", after = () => {}) {
  const value = owner[name] ?? USUAL[name];
  const put = (next) => change(() => {
    if (next === undefined || next === "" || next === USUAL[name]) delete owner[name]; else owner[name] = next;
    after();
  }, true);
  let input;
  if (OPTIONS[name]) {
    input = make("select", { onchange: (e) => put(e.target.value) },
      ...OPTIONS[name].map((one) => make("option", { value: one, textContent: say(`${name}_${one}`), selected: one === value })));
  } else if (kind === "tick") {
    input = make("input", { type: "checkbox", checked: Boolean(value), onchange: (e) => put(e.target.checked === (USUAL[name] ?? false) ? undefined : e.target.checked) });
  } else if (kind === "number") {
    input = make("input", { inputMode: "decimal", value: value ?? "", onchange: (e) => put(Number(e.target.value.replace(",", "."))) });
  } else if (kind === "list") {
    input = make("input", { value: (value ?? []).join(", "), onchange: (e) => put(listed(e.target.value)) });
  } else if (kind === "tags") {
    const shown = Object.entries(value ?? {}).map(([tag, one]) => `${tag}=${one}`).join(", ");
    input = make("input", { value: shown, onchange: (e) => put(tagged(e.target.value)) });
  } else {
    input = make(kind === "long" ? "textarea" : "input", { value: value ?? "", onchange: (e) => put(e.target.value) });
    if (name === "metric") input.setAttribute("list", "metrics");
  }
  const label = make("label", { className: kind === "tick" ? "check" : "" });
  label.append(...(kind === "tick" ? [input, say(name)] : [say(name), input]));
  return label;
}
const listed = (value) => { const found = value.split(",").map((one) => one.trim()).filter(Boolean); return found.length ? found : []; };
const tagged = (value) => {
  const pairs = listed(value).map((one) => one.split("=")).filter((one) => one.length > 1);
  return pairs.length ? Object.fromEntries(pairs.map(([tag, ...rest]) => [tag.trim(), rest.join("=").trim()])) : undefined;
};
function several(owner, name, fresh, fields) {
  const rows = owner[name] ?? [];
  return make("fieldset", {}, make("legend", { textContent: say(name) }),
    ...rows.map((row, n) => make("div", { className: "part" }, ...fields(row),
      button("less", () => change(() => { rows.splice(n, 1); if (!rows.length) delete owner[name]; })))),
    button("more_" + name, () => change(() => { owner[name] = [...rows, fresh()]; })));
}
const figure = (one) => [field(one, "metric"), field(one, "agg"), field(one, "tags", "tags")];
const query = (one) => [...figure(one), field(one, "group_by", "list"), field(one, "name")];
const limits = (panel) => several(panel, "limits", () => ({ value: 1000 }), (one) => [field(one, "value", "number"), field(one, "when"), field(one, "level"), field(one, "label")]);
const queries = (panel) => several(panel, "queries", () => ({ metric: words.metric_example, agg: "p95" }), query);
const FIELDS = {
  series: (p) => [queries(p), field(p, "unit"), field(p, "style"), limits(p), field(p, "rule_limits", "tick"), field(p, "phases", "tick"), field(p, "events", "tick")],
  stat: (p) => [...figure(p.query), field(p, "unit"), limits(p), field(p, "sparkline", "tick")],
  gauge: (p) => [...figure(p.query), field(p, "unit"), field(p, "least", "number"), field(p, "most", "number"), limits(p)],
  table: (p) => [queries(p), field(p, "unit")],
  heat: (p) => [...query(p.query), field(p, "unit"), field(p, "rows")],
  services: (p) => [field(p, "services", "list"), field(p, "couple_facing_only", "tick")],
  incidents: (p) => [field(p, "which"), field(p, "most", "number")],
  countdown: () => [],
  text: (p) => [field(p, "text", "long")],
};
let filled = "", owner = null;
function fill(isTyped) {
  const panel = panelOf(chosen);
  const now = JSON.stringify([chosen, panel ? { ...panel, at: null } : [doc.name, doc.description, doc.time]]);
  if (now === filled && owner === (panel ?? doc)) return;
  filled = now;
  owner = panel ?? doc;
  // A field that is left has its value already, and whoever goes to the next one finds it there.
  if (isTyped) return;
  const place = [...sheet.querySelectorAll("input, select, textarea, button")].indexOf(document.activeElement);
  if (panel) {
    sheet.replaceChildren(
      make("h2", { textContent: say("kind_" + panel.kind) }), field(panel, "title"), field(panel, "note"),
      ...FIELDS[panel.kind](panel),
      make("div", { className: "acts" },
        button("up", () => change(() => { doc.panels = moved(doc.panels, panel.key, 0, -1); })),
        button("down", () => change(() => { doc.panels = moved(doc.panels, panel.key, 0, 1); })),
        button("remove", () => remove(panel.key), "b sm bad")));
  } else {
    const time = doc.time ?? {};
    sheet.replaceChildren(make("h2", { textContent: say("board") }), field(doc, "name"), field(doc, "description", "long"),
      field(time, "span", "text", () => { doc.time = time; }), field(time, "compare", "text", () => { doc.time = time; }));
  }
  if (place >= 0) sheet.querySelectorAll("input, select, textarea, button")[place]?.focus();
}

const undo = button("undo", () => travel(past, future)), redo = button("redo", () => travel(future, past));
undo.dataset.do = "undo";
redo.dataset.do = "redo";
const kinds = make("select", { ariaLabel: say("add"), onchange: (e) => { const kind = e.target.value; e.target.value = ""; if (kind) add(kind); } },
  make("option", { value: "", textContent: say("add") }),
  ...Object.keys(LOOKS).map((kind) => make("option", { value: kind, textContent: say("kind_" + kind) })));
tools.append(kinds, undo, redo, button("settings", () => { chosen = null; show(); sheet.querySelector("input").focus(); }));
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const key = event.key.toLowerCase();
  if (key === "z" && !event.shiftKey) travel(past, future);
  else if (key === "y" || (key === "z" && event.shiftKey)) travel(future, past);
  else return;
  event.preventDefault();
});
area.addEventListener("change", () => {
  const before = past.length || saved ? text() : null, written = area.value;
  if (!read()) return;
  if (before !== null && before !== written) { past.push(before); future.length = 0; }
  show();
});
let isLeaving = false;
form.addEventListener("submit", () => { isLeaving = true; });
addEventListener("beforeunload", (event) => { if (!isLeaving && text() !== saved) event.preventDefault(); });

if (read()) {
  document.getElementById("workbench").hidden = false;
  document.getElementById("source").open = form.dataset.faults === "true";
  show();
  saved = text();
}
