// The only builder of charts: a <figure data-figure="URL"> and the JSON that the URL gives. With
// data-panel="key" several figures share one answer: {frame, panels: {key: …}}, joined for each.
// {unit, zone, begins, ends, now, step, x[], lines[{name, values[]}], more, limits[{value, words}],
//  bands[{begins, ends, name}], ticks[{at, name, kind}], is_share, style}: times in unix seconds;
//  a line with is_before is of an earlier time, laid upon this one.
(() => {
  "use strict";
  const DASHES = [[], [], [], [6, 3], [2, 3], [8, 3, 2, 3]];
  const TIMES = { ns: 1e-9, us: 1e-6, "µs": 1e-6, ms: 1e-3, milliseconds: 1e-3, s: 1, sec: 1, seconds: 1 };
  const charts = new Map();
  const reduce = (n, places) => n.toLocaleString("en-GB", { maximumFractionDigits: places });

  // The largest unit that keeps two or three figures; the axis and the readout speak alike.
  // For people outside computing times are in seconds, never in ms.
  function figure(value, unit, isPlain) {
    if (value === null || value === undefined) return "no data";
    if (unit && unit.length > 2 && unit.endsWith("/s")) return figure(value, unit.slice(0, -2), isPlain) + "/s";
    const factor = TIMES[(unit || "").toLowerCase()];
    const size = Math.abs(value);
    const places = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : 2;
    if (factor) {
      const s = value * factor, a = Math.abs(s);
      if (a === 0) return "0 s";
      if (isPlain && a < 10) return reduce(s, a < 1 ? 2 : 1) + " s";
      if (a < 1e-3) return reduce(s * 1e6, 0) + " µs";
      if (a < 1) return reduce(s * 1e3, a < 0.01 ? 1 : 0) + " ms";
      if (a < 120) return reduce(s, a < 10 ? 1 : 0) + " s";
      return reduce(s / 60, 0) + " min";
    }
    if (/^(bytes?|by|b)$/i.test(unit || "")) {
      let n = value, i = 0;
      while (Math.abs(n) >= 1000 && i < 4) { n /= 1000; i += 1; }
      return reduce(n, Math.abs(n) >= 100 || !i ? 0 : 1) + " " + ["B", "KB", "MB", "GB", "TB"][i];
    }
    if (unit === "ratio") return reduce(value * 100, 2) + " %";
    if (unit === "%" || unit === "percent") return reduce(value, 2) + " %";
    const text = size >= 1e6 ? reduce(value / 1e6, 1) + " M" : reduce(value, places);
    return unit && unit !== "1" && unit !== "count" ? text + " " + unit : text;
  }

  function palette() {
    const style = getComputedStyle(document.documentElement);
    const get = (name) => style.getPropertyValue("--" + name).trim();
    return {
      ink: get("ink"), ink2: get("ink2"), ink3: get("ink3"), line: get("line"), crit: get("crit"),
      accent: get("accent"), soft: get("accent-soft"), surface: get("surface"), strong: get("line-strong"),
      series: [1, 2, 3, 4, 5, 6].map((n) => get("s" + n)),
      font: "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
    };
  }

  // Figures that ask for the same at once are answered by one request.
  const feeds = new Map();
  async function get(url) {
    const answer = await fetch(url, { headers: { Accept: "application/json" }, credentials: "same-origin" });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  }
  async function take(el, width) {
    const url = el.dataset.figure, key = el.dataset.panel;
    if (!key) return get(url + "&width=" + width);
    const kept = feeds.get(url);
    if (!kept || Date.now() - kept.at > 2000) feeds.set(url, { at: Date.now(), answer: get(url) });
    const whole = await feeds.get(url).answer;
    return Object.assign({}, whole.frame, whole.panels[key]);
  }

  class Chart {
    constructor(el, isVisible) {
      this.el = el;
      this.plotEl = el.querySelector(".plot");
      this.readEl = el.querySelector(".read");
      this.legendEl = el.querySelector(".legend");
      this.only = null;
      this.index = null;
      this.data = null;
      this.visible = isVisible;
      this.observer = new ResizeObserver(() => this.resize());
      this.observer.observe(this.plotEl);
      this.bind();
      this.first = this.load();
    }

    // The first drawing never waits for the screen; renewing it does.
    async load() {
      if (this.loading || document.hidden || (this.data && !this.visible)) return;
      this.loading = true;
      clearTimeout(this.timer);
      try {
        const width = Math.max(200, Math.round(this.plotEl.clientWidth));
        this.show(await take(this.el, width));
      } catch {
        if (!this.plot) this.say("This part could not be loaded. It tries again by itself.");
      } finally {
        this.loading = false;
        const pause = Math.min(60, Math.max(5, this.data ? this.data.step : 10));
        this.timer = setTimeout(() => this.load(), pause * 1000);
      }
    }

    say(words) {
      this.destroy();
      const p = document.createElement("p");
      p.className = "empty";
      p.textContent = words;
      this.plotEl.replaceChildren(p);
    }

    destroy() {
      if (this.plot) this.plot.destroy();
      this.plot = null;
    }

    show(data) {
      data.lines ??= [];
      data.limits ??= [];
      data.bands ??= [];
      data.ticks ??= [];
      data.lines.forEach((line) => { line.colour = data.lines.filter((l) => !l.is_before).indexOf(line); });
      data.lines.forEach((line, i) => { if (line.is_before) line.colour = Math.max(0, data.lines[i - 1].colour); });
      const shape = JSON.stringify([data.unit, data.zone, data.style, data.lines.map((l) => l.name)]);
      this.data = data;
      if (!data.lines.some((line) => line.values.some((v) => v !== null))) {
        this.shape = null;
        this.legendEl.replaceChildren();
        this.say("No sample in this range.");
        return;
      }
      const columns = [data.x, ...data.lines.map((line) => line.values)];
      if (this.plot && shape === this.shape) {
        this.plot.batch(() => {
          this.plot.setData(columns, false);
          this.plot.setScale("x", { min: data.begins, max: data.ends });
        });
        return;
      }
      this.shape = shape;
      this.build(columns);
    }

    build(columns) {
      this.destroy();
      this.plotEl.replaceChildren();
      const look = (this.look = palette());
      const data = this.data;
      const hour = new Intl.DateTimeFormat("en-GB", { timeZone: data.zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
      const day = new Intl.DateTimeFormat("en-GB", { timeZone: data.zone, weekday: "short", day: "numeric" });
      this.clock = new Intl.DateTimeFormat("en-GB", { timeZone: data.zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
      const axis = { stroke: look.ink2, font: look.font, ticks: { show: false }, gap: 6 };
      this.plot = new uPlot({
        width: this.plotEl.clientWidth, height: this.plotEl.clientHeight,
        ms: 1e-3, tzDate: (ts) => uPlot.tzDate(new Date(ts * 1e3), data.zone),
        padding: [14, 12, 0, 0],
        legend: { show: false },
        cursor: {
          x: true, y: false, drag: { x: false, y: false }, focus: { prox: 16 }, sync: { key: "page" },
          points: { size: 8, width: 2, fill: look.surface },
        },
        scales: {
          x: { time: true, range: () => [this.data.begins, this.data.ends] },
          y: { range: (u, low, high) => this.yRange(low, high) },
        },
        axes: [
          Object.assign({}, axis, {
            grid: { show: false }, space: 72, size: 28,
            values: (u, splits, i, space, step) => splits.map((t) => {
              const date = new Date(t * 1e3);
              return step >= 86400 || hour.format(date) === "00:00" ? day.format(date) : hour.format(date);
            }),
          }),
          Object.assign({}, axis, {
            grid: { stroke: look.line, width: 1 }, space: 36,
            size: (u, values) => 12 + 7 * Math.max(3, ...(values || [""]).map((v) => v.length)),
            values: (u, splits) => splits.map((v) => figure(v, this.data.unit, this.data.is_plain)),
          }),
        ],
        series: [{}].concat(data.lines.map((line) => this.series(line, look))),
        hooks: {
          drawClear: [(u) => this.drawBehind(u)],
          draw: [(u) => this.drawOver(u)],
          setCursor: [(u) => this.read(u.cursor.idx)],
        },
      }, columns, this.plotEl);
      this.legend();
      this.read(null);
    }

    series(line, look) {
      const n = line.colour % 6, isBar = this.data.style === "bar" && !line.is_before;
      const series = {
        label: line.name, stroke: look.series[n], width: line.is_before ? 1.5 : 2, spanGaps: false,
        dash: line.is_before ? [3, 4] : DASHES[n],
        points: { show: (u, s) => !isBar && this.isLonely(s), size: 5, fill: look.series[n] },
      };
      if (isBar) Object.assign(series, { paths: uPlot.paths.bars({ size: [0.7, 24] }), fill: look.series[n], width: 0, dash: [] });
      else if (this.data.style === "area" && !line.is_before) series.fill = look.series[n] + "2e";
      return series;
    }

    // A value with nothing on either side is invisible as a line: draw it as a point.
    isLonely(s) {
      const values = this.data.lines[s - 1].values;
      return values.some((v, i) => v !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null);
    }

    yRange(low, high) {
      const tops = this.data.limits.map((limit) => limit.value);
      if (low === null || low === undefined) { low = 0; high = 1; }
      if (this.data.is_share) return [Math.min(low, ...tops) - 0.1, Math.max(high, ...tops, low + 0.1)];
      const top = Math.max(high, ...tops, 0), bottom = Math.min(low, 0);
      return [bottom * 1.08, top > 0 ? top * 1.12 : bottom < 0 ? 0 : 1];
    }

    drawBehind(u) {
      const c = u.ctx, { left, top, width, height } = u.bbox, k = devicePixelRatio;
      c.save();
      c.beginPath();
      c.rect(left, top, width, height);
      c.clip();
      this.free = [];
      for (const band of this.data.bands) {
        const from = Math.max(left, u.valToPos(band.begins, "x", true));
        const to = Math.min(left + width, u.valToPos(band.ends, "x", true));
        if (to <= from) continue;
        c.fillStyle = this.look.soft;
        c.globalAlpha = 0.7;
        c.fillRect(from, top, to - from, height);
        c.globalAlpha = 1;
        this.free.push([from, to, band.name]);
      }
      this.hatch(u, c, k);
      c.restore();
    }

    // Gaps of more than two steps, so that a hole is never read as calm.
    hatch(u, c, k) {
      const { x, step, lines, now } = this.data, { top, height } = u.bbox;
      let last = null;
      const draw = (from, to) => {
        const a = u.valToPos(from, "x", true), b = u.valToPos(to, "x", true);
        c.save();
        c.beginPath();
        c.rect(a, top, b - a, height);
        c.clip();
        c.strokeStyle = this.look.line;
        c.lineWidth = k;
        c.beginPath();
        for (let p = a - height; p < b; p += 7 * k) { c.moveTo(p, top + height); c.lineTo(p + height, top); }
        c.stroke();
        c.restore();
      };
      for (let i = 0; i < x.length; i += 1) {
        if (!lines.some((line) => line.values[i] !== null)) continue;
        if (last !== null && x[i] - last > 2.5 * step) draw(last, x[i]);
        last = x[i];
      }
      if (last !== null && now - last > 5 * step) draw(last, now);
    }

    drawOver(u) {
      const c = u.ctx, { left, top, width, height } = u.bbox, k = devicePixelRatio, data = this.data;
      c.save();
      c.font = `${12 * k}px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
      c.textBaseline = "alphabetic";
      const now = u.valToPos(data.now, "x", true);
      if (data.now < data.ends) {
        c.strokeStyle = this.look.strong;
        c.lineWidth = k;
        c.beginPath();
        c.moveTo(now, top);
        c.lineTo(now, top + height);
        c.stroke();
      }
      for (const limit of data.limits) {
        const y = Math.round(u.valToPos(limit.value, "y", true));
        if (y < top || y > top + height) continue;
        c.strokeStyle = this.look.crit;
        c.lineWidth = 1.5 * k;
        c.setLineDash([6 * k, 4 * k]);
        c.beginPath();
        c.moveTo(left, y);
        c.lineTo(left + width, y);
        c.stroke();
        c.setLineDash([]);
        this.words(c, limit.words, left + 6 * k, y - 5 * k, "left", this.look.crit, k);
      }
      const ends = this.lastPoints(u);
      for (const [from, to, name] of this.free || []) {
        const size = c.measureText(name).width;
        const inside = to - from > size + 8 * k;
        const x = inside ? from + 6 * k : from - 6 * k;
        const edge = inside ? from : from - size - 6 * k;
        if (edge < left) continue;
        const isTaken = ends.some(([px, py]) => edge < px + 64 * k && px - 64 * k < to && py < top + 34 * k)
          || (edge < left + 140 * k && data.limits.some((l) => u.valToPos(l.value, "y", true) < top + 40 * k));
        this.words(c, name, x, isTaken ? top + height - 6 * k : top + 13 * k, inside ? "left" : "right", this.look.accent, k);
      }
      for (const tick of data.ticks) {
        c.fillStyle = tick.kind === "event" ? this.look.accent : this.look.crit;
        const x = u.valToPos(tick.at, "x", true);
        if (x < left || x > left + width) continue;
        c.beginPath();
        c.moveTo(x, top + height - 8 * k);
        c.lineTo(x - 5 * k, top + height);
        c.lineTo(x + 5 * k, top + height);
        c.fill();
      }
      this.lastValues(u, c, k);
      c.restore();
    }

    words(c, text, x, y, align, colour, k) {
      c.textAlign = align;
      c.lineWidth = 4 * k;
      c.lineJoin = "round";
      c.strokeStyle = this.look.surface;
      c.strokeText(text, x, y);
      c.fillStyle = colour;
      c.fillText(text, x, y);
    }

    lastPoints(u) {
      const { lines, x } = this.data;
      return lines.map((line) => {
        let last = line.values.length - 1;
        while (last >= 0 && line.values[last] === null) last -= 1;
        return last < 0 ? [-1e6, -1e6] : [u.valToPos(x[last], "x", true), u.valToPos(line.values[last], "y", true)];
      });
    }

    // Up to three series carry their last value where they end.
    lastValues(u, c, k) {
      const { lines, x, unit, is_plain: isPlain } = this.data, { left, top, width, height } = u.bbox;
      if (lines.filter((line) => !line.is_before).length > 3) return;
      c.font = `700 ${13 * k}px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
      const taken = [];
      lines.forEach((line, i) => {
        if (u.series[i + 1].show === false || line.is_before) return;
        let last = line.values.length - 1;
        while (last >= 0 && line.values[last] === null) last -= 1;
        if (last < 0) return;
        const px = u.valToPos(x[last], "x", true), py = u.valToPos(line.values[last], "y", true);
        c.fillStyle = this.look.series[line.colour % 6];
        c.beginPath();
        c.arc(px, py, 4 * k, 0, 7);
        c.fill();
        if (taken.some((other) => Math.abs(other - py) < 16 * k)) return;
        taken.push(py);
        const text = figure(line.values[last], unit, isPlain), size = c.measureText(text).width;
        const before = px + size + 10 * k > left + width;
        const y = Math.max(top + 13 * k, Math.min(top + height - 4 * k, before ? py - 8 * k : py + 4 * k));
        this.words(c, text, before ? px - 8 * k : px + 8 * k, y, before ? "right" : "left", this.look.ink, k);
      });
    }

    legend() {
      const { lines, more } = this.data;
      this.legendEl.replaceChildren();
      if (lines.length < 2) return;
      lines.forEach((line, i) => {
        const button = document.createElement("button");
        button.type = "button";
        button.setAttribute("aria-pressed", "true");
        const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
        path.setAttribute("d", "M0 2h18");
        const dash = line.is_before ? [3, 4] : DASHES[line.colour % 6];
        path.setAttribute("stroke", this.look.series[line.colour % 6]);
        path.setAttribute("stroke-width", "3");
        if (dash.length) path.setAttribute("stroke-dasharray", dash.join(" "));
        svg.append(path);
        button.append(svg, line.name);
        button.addEventListener("click", () => this.pick(i));
        this.legendEl.append(button);
      });
      if (more) {
        const rest = document.createElement("span");
        rest.className = "fine";
        rest.textContent = `${more} others are in the table`;
        this.legendEl.append(rest);
      }
    }

    pick(i) {
      this.only = this.only === i ? null : i;
      this.data.lines.forEach((line, n) => {
        this.plot.setSeries(n + 1, { show: this.only === null || this.only === n });
        this.legendEl.children[n].setAttribute("aria-pressed", String(this.only === null || this.only === n));
      });
    }

    read(index) {
      if (!this.data || !this.clock) return;
      this.index = index ?? null;
      if (index === null || index === undefined) {
        this.readEl.textContent = "";
        return;
      }
      const at = this.clock.format(new Date(this.data.x[index] * 1e3));
      const values = this.data.lines
        .map((line, i) => (this.only === null || this.only === i
          ? (this.data.lines.length > 1 ? line.name + " " : "") + figure(line.values[index], this.data.unit, this.data.is_plain) : null))
        .filter((text) => text !== null);
      this.readEl.textContent = at + "  " + values.join(", ");
    }

    moveTo(index) {
      if (!this.plot) return;
      const n = Math.max(0, Math.min(this.data.x.length - 1, index));
      this.plot.setCursor({ left: this.plot.valToPos(this.data.x[n], "x"), top: 10 });
    }

    // uPlot knows no fingers: a sideways drag moves the cursor, the value stays after the lift.
    bind() {
      let from = null, isSideways = false;
      this.plotEl.addEventListener("touchstart", (e) => { from = e.touches[0]; isSideways = false; }, { passive: true });
      this.plotEl.addEventListener("touchmove", (e) => {
        const touch = e.touches[0];
        if (!from || !this.plot) return;
        if (Math.abs(touch.clientX - from.clientX) > 8) isSideways = true;
        if (isSideways) {
          const over = this.plot.over.getBoundingClientRect();
          this.plot.setCursor({ left: touch.clientX - over.left, top: 10 });
        }
      }, { passive: true });
      this.plotEl.addEventListener("keydown", (e) => {
        if (!this.data) return;
        const last = this.data.x.length - 1, at = this.index ?? last;
        const go = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[e.key];
        if (go === undefined) return;
        e.preventDefault();
        this.moveTo(go);
      });
    }

    resize() {
      if (this.plot && this.plotEl.clientWidth) {
        this.plot.setSize({ width: this.plotEl.clientWidth, height: this.plotEl.clientHeight });
      }
    }

    repaint() {
      if (!this.plot || !this.data) return;
      this.shape = null;
      this.show(this.data);
    }

    end() {
      clearTimeout(this.timer);
      this.observer.disconnect();
      this.destroy();
    }
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const chart = charts.get(entry.target);
      if (entry.isIntersecting && !chart) charts.set(entry.target, new Chart(entry.target, true));
      else if (chart) {
        chart.visible = entry.isIntersecting;
        if (chart.visible) chart.load();
      }
    }
  }, { rootMargin: "200px" });

  function scan() {
    for (const [el, chart] of charts) if (!el.isConnected) { chart.end(); charts.delete(el); }
    document.querySelectorAll("figure[data-figure]").forEach((el) => seen.observe(el));
    if (document.readyState === "complete") drawRest();
  }

  // Every chart is drawn once, one after another while nothing else is to do: print, a fast scroll
  // and a picture of the whole page find it there.
  const idle = (run) => (window.requestIdleCallback ? requestIdleCallback(run, { timeout: 1000 }) : setTimeout(run, 50));
  let isDrawing = false;
  async function drawRest() {
    if (isDrawing) return;
    isDrawing = true;
    const rest = () => [...document.querySelectorAll("figure[data-figure]")].find((el) => !charts.has(el));
    for (let el = rest(); el; el = rest()) {
      await new Promise(idle);
      if (!el.isConnected || charts.has(el)) continue;
      const chart = new Chart(el, false);
      charts.set(el, chart);
      await chart.first;
    }
    isDrawing = false;
  }

  document.addEventListener("htmx:after:swap", scan);
  addEventListener("load", drawRest);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) charts.forEach((c) => c.load()); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((c) => c.repaint()));
  addEventListener("beforeprint", () => charts.forEach((c) => c.repaint()));
  window.wedsyncCharts = { figure, refresh: () => charts.forEach((c) => c.load()) };
  scan();
})();
