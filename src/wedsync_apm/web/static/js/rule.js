// The rule editor follows what is typed: the server works out what the rule would have done, and
// whatever carries a data-part on both sides is renewed. One question at a time.
(() => {
  "use strict";
  const form = document.getElementById("editor");
  if (!form) return;
  const PAUSE = 400, AGAIN = 1500;
  let timer = null, isAsking = false, isStale = false, asked = "";

  function want(pause) {
    clearTimeout(timer);
    timer = setTimeout(ask, pause);
  }

  const content = () => {
    const data = new FormData(form);
    data.delete("csrf");
    return new URLSearchParams(data).toString();
  };

  async function ask() {
    if (isAsking) { isStale = true; return; }
    const body = new URLSearchParams(new FormData(form)), now = content();
    if (now === asked) return;
    isAsking = true;
    isStale = false;
    const shown = document.querySelector("[data-part=preview]");
    shown.setAttribute("aria-busy", "true");
    let pause = null;
    try {
      const answer = await fetch(form.dataset.preview, {
        method: "POST", body, credentials: "same-origin", signal: AbortSignal.timeout(20000),
      });
      if (!answer.ok) throw new Error(String(answer.status));
      asked = now;
      renew(new DOMParser().parseFromString(await answer.text(), "text/html"));
      if (document.querySelector("[data-part=preview][data-busy]")) { asked = ""; pause = AGAIN; }
    } catch {
      // The picture before stays; the button "Try it" still does it.
    } finally {
      isAsking = false;
      document.querySelector("[data-part=preview]").removeAttribute("aria-busy");
      if (isStale) want(0);
      else if (pause !== null) want(pause);
    }
  }

  function renew(found) {
    for (const part of found.querySelectorAll("[data-part]")) {
      for (const old of document.querySelectorAll(`[data-part="${CSS.escape(part.dataset.part)}"]`)) {
        if (old.innerHTML !== part.innerHTML) old.innerHTML = part.innerHTML;
        if (part.dataset.busy) old.dataset.busy = "true"; else delete old.dataset.busy;
      }
    }
    grip();
  }

  // Another empty row as soon as the last one is used.
  function grow(row) {
    const box = row.parentElement, rows = box.querySelectorAll(".condition");
    if (row !== rows[rows.length - 1] || rows.length >= 8) return;
    if (![...row.querySelectorAll("input")].some((input) => input.value)) return;
    const next = row.cloneNode(true);
    next.querySelectorAll("input").forEach((input) => { input.value = ""; input.removeAttribute("aria-invalid"); });
    next.querySelectorAll(".err").forEach((el) => el.remove());
    row.after(next);
  }

  // The limit can be pulled up and down; the number field says the same and takes the keys.
  function grip() {
    const svg = document.querySelector(".rd"), field = form.elements.threshold_value;
    const value = Number.parseFloat(field.value.replaceAll(",", ""));
    if (!svg || !Number.isFinite(value) || /%/.test(field.value)) return;
    const low = Number(svg.dataset.low), high = Number(svg.dataset.high), height = 200, top = 20;
    const place = (v) => top + height * (1 - (v - low) / (high - low));
    const x = Number(svg.dataset.grip) / 10;
    if (value < low || value > high || x < 0) return;
    const make = (name, attributes) => {
      const el = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, text] of Object.entries(attributes)) el.setAttribute(key, text);
      svg.append(el);
      return el;
    };
    const line = make("line", { class: "pull", x1: 0, x2: "100%", y1: place(value), y2: place(value), visibility: "hidden" });
    const knob = make("circle", { class: "grip", cx: `${x}%`, cy: place(value), r: 9 });
    const area = make("rect", { class: "reach", x: `${Math.max(0, x - 7)}%`, width: "14%", y: place(value) - 24, height: 48, fill: "transparent" });
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = form.dataset.pull;
    area.append(title);
    area.addEventListener("pointerdown", (event) => {
      area.setPointerCapture(event.pointerId);
      line.setAttribute("visibility", "visible");
      const move = (e) => {
        const y = Math.max(top, Math.min(top + height, e.clientY - svg.getBoundingClientRect().top));
        const raw = low + (high - low) * (1 - (y - top) / height);
        field.value = String(Number(raw.toPrecision(2)));
        for (const el of [line, knob]) el.setAttribute(el === knob ? "cy" : "y1", y);
        line.setAttribute("y2", y);
      };
      const drop = () => {
        area.removeEventListener("pointermove", move);
        want(0);
      };
      area.addEventListener("pointermove", move);
      area.addEventListener("pointerup", drop, { once: true });
      area.addEventListener("pointercancel", drop, { once: true });
      event.preventDefault();
    });
  }

  document.addEventListener("input", (event) => {
    if (event.target.form !== form) return;
    const row = event.target.closest(".condition");
    if (row) grow(row);
    want(PAUSE);
  });
  document.addEventListener("change", (event) => { if (event.target.form === form) want(0); });
  asked = content();
  grip();
})();
