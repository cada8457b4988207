// Keeps a page true: hears what changes, fetches the page's main part again and morphs it in. Where
// nothing can be heard it polls; hidden pages do nothing; times are worded as they pass.
(() => {
  "use strict";
  const root = document.documentElement;
  const dot = document.querySelector("[data-live]");
  const self = document.currentScript;
  const MINUTE = 60, HOUR = 3600, DAY = 86400;
  const POLL = 15000, SELDOM = 60000, REFRESH = 30000, SOON = 400;
  // The server's clock, so that a phone that is wrong by minutes still counts down rightly.
  // A page that the worker has kept says when it came, by this device's clock.
  const kept = Number(root.dataset.kept), loaded = Date.now();
  let skew = root.dataset.now ? Date.parse(root.dataset.now) - (kept || loaded) : 0;
  let fresh = kept || loaded, isStreaming = false, isFailing = !!kept, wanted = null, wantedAt = 0, read = fresh, busy = false;
  let line = null, isStale = !!kept, isLate = false, hiding = null;
  const now = () => Date.now() + skew;

  function length(seconds) {
    const s = Math.max(0, Math.round(seconds));
    if (s < 2 * MINUTE && s % MINUTE) return `${s} s`;
    if (s <= 2 * HOUR) return `${Math.floor(s / MINUTE)} min`;
    if (s < DAY) {
      const h = Math.floor(s / HOUR), m = Math.floor((s % HOUR) / MINUTE);
      return m ? `${h} h ${m} min` : `${h} h`;
    }
    const d = Math.floor(s / DAY);
    return d === 1 ? "1 day" : `${d} days`;
  }

  function word(el) {
    el.dataset.clock ??= el.textContent;
    const at = Date.parse(el.dateTime), delta = (at - now()) / 1000;
    let text = el.dataset.clock;
    if (el.dataset.rel === "for") text = length(-delta);
    else if (el.dataset.rel === "ago" && -delta < HOUR) text = `${length(Math.max(0, -delta))} ago`;
    else if (el.dataset.rel === "in" && delta >= 0 && delta < DAY) {
      text = `in ${delta < 2 * MINUTE ? length(delta) : length(Math.ceil(delta / MINUTE) * MINUTE)}`;
    }
    if (el.textContent !== text) el.textContent = text;
  }

  function age() {
    document.querySelectorAll("time[data-rel]").forEach(word);
    if (!dot) return;
    dot.dataset.asof ??= dot.textContent;
    const seconds = (Date.now() - fresh) / 1000;
    let text = `Every ${POLL / 1000} s`, state = "poll";
    if (document.getElementById("main").dataset.still) { text = dot.dataset.asof; state = ""; }
    else if (isFailing) { text = `No signal, ${length(seconds)} ago`; state = "late"; }
    else if (isStreaming) { text = seconds < 20 ? "Live" : `Live, ${length(seconds)} ago`; state = "live"; }
    if (dot.textContent !== text) dot.textContent = text;
    dot.dataset.state = state;
    const old = document.querySelector("#offline b");
    if (old) old.textContent = `${length(seconds)} ago`;
  }

  // Somebody types or has something open: leave the page alone until they are done.
  function isInUse() {
    const main = document.getElementById("main"), el = document.activeElement;
    if (el && main.contains(el) && /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName)) return true;
    return [...main.querySelectorAll("input, textarea")].some(
      (f) => f.type !== "hidden" && f.type !== "checkbox" && f.value !== f.defaultValue);
  }

  async function refresh() {
    clearTimeout(wanted);
    wanted = null;
    if (busy) { isLate = true; return; }
    const main = document.getElementById("main");
    if (document.hidden || !main || main.dataset.still || !window.htmx || isInUse()) return;
    busy = true;
    const open = [...main.querySelectorAll("details[open]")].map((d) => d.id);
    try {
      const answer = await fetch(location.pathname + location.search, {
        headers: { "HX-Request": "true" }, credentials: "same-origin", redirect: "manual",
        signal: AbortSignal.timeout(8000),
      });
      if (answer.type === "opaqueredirect" || answer.status === 401) { location.reload(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      const html = await answer.text();
      await htmx.swap({ target: main, sourceElement: main, text: html, swap: "outerMorph" });
      open.forEach((id) => { const d = id && document.getElementById(id); if (d) d.open = true; });
      const swapped = document.getElementById("main");
      document.title = swapped.dataset.title;
      skew = Date.parse(swapped.dataset.at) - Date.now();
      badge(Number(swapped.dataset.open));
      swapped.querySelectorAll("time[data-rel]").forEach((t) => delete t.dataset.clock);
      fresh = read = Date.now();
      isFailing = false;
      // What was announced while it was on its way may not be in it.
      isStale = isLate || wanted !== null;
      delete root.dataset.kept;
      dispatchEvent(new Event("wedsync:fresh"));
      charts();
    } catch {
      isFailing = true;
      offline();
    } finally {
      busy = false;
      if (isLate) want(SOON);
      isLate = false;
      age();
    }
  }

  function badge(n) {
    const el = document.querySelector("[data-badge]");
    if (!el) return;
    el.hidden = !n;
    el.textContent = n;
  }

  // Once the last good page is older than 15 s, nothing on it may still say that it works.
  function offline() {
    if (!root.dataset.kept && Date.now() - fresh < POLL) return;
    const main = document.getElementById("main"), time = main.dataset.clock;
    const unknown = dot.dataset.unknown.replace("{time}", time);
    let strip = document.getElementById("offline");
    if (!strip) {
      strip = document.createElement("p");
      strip.id = "offline";
      strip.className = "strip grey full";
      const said = document.createElement("span");
      said.setAttribute("role", "status");
      said.append(dot.dataset.gone.replace("{time}", time));
      strip.append(said, document.createElement("b"));
      main.prepend(strip);
      if (main.querySelector(".verdict.ok")) document.title = unknown;
      main.querySelectorAll(".st.ok, .state.ok, .verdict.ok .withicon").forEach((el) => {
        el.classList.replace("ok", "none");
        el.querySelectorAll("use").forEach((use) => use.setAttribute("href", "#i-none"));
        (el.querySelector("span") || el.lastChild).textContent = unknown;
      });
      main.querySelectorAll(".verdict.ok").forEach((el) => el.classList.replace("ok", "none"));
    }
  }

  // At the earliest wish of all: what is urgent does not wait behind what is not.
  function want(pause) {
    const at = Date.now() + pause;
    if (wanted !== null && wantedAt <= at) return;
    clearTimeout(wanted);
    wantedAt = at;
    wanted = setTimeout(refresh, pause);
  }

  // What the server says; null: the line is lost.
  function hear(message) {
    if (!message) { isStreaming = false; age(); return; }
    const kind = message.type;
    if (kind === "hello" || kind === "resync") {
      isStreaming = true;
      if (!message.resumed) { isStale = true; want(kind === "hello" ? SOON : Math.random() * POLL); }
    } else if (kind === "paused") isStreaming = false;
    else if (message.code > 4400) want(0);
    else if (kind === "event") {
      isStale = true;
      want(message.topic.startsWith("metric") ? REFRESH : SOON);
      document.dispatchEvent(new CustomEvent("wedsync:live", { detail: message }));
    }
    // Nothing has changed since the page was read: it is as good as read now.
    if (!isStale && !isFailing) fresh = Date.now();
    age();
  }

  // The line comes when the page is complete: until then, and without it, the page polls.
  function listen() {
    if (line) line.open();
    else if (window.wedsyncLine) { line = wedsyncLine(dot.dataset.place, hear); line.open(); }
    else if (self && self.dataset.line) get(self.dataset.line).then(() => { if (window.wedsyncLine) listen(); });
  }

  const get = (src) => new Promise((done) => {
    const s = document.createElement("script");
    s.src = src;
    s.onload = done;
    document.head.append(s);
  });

  // The charts' library comes when one is near the screen, at the latest when the page is complete
  // and has nothing else to do: what a page needs to be useful stays light.
  let near = null;
  function charts() {
    if (window.wedsyncCharts || !self || !self.dataset.chart) return;
    if (document.querySelector(`script[src="${self.dataset.chart}"]`)) return;
    const figures = document.querySelectorAll("figure[data-figure]");
    if (!figures.length) return;
    const fetchThem = () => {
      if (near.isDone) return;
      near.isDone = true;
      near.disconnect();
      get(self.dataset.uplot).then(() => get(self.dataset.chart));
    };
    const rest = () => (window.requestIdleCallback ? requestIdleCallback(fetchThem, { timeout: 1000 }) : fetchThem());
    near ??= new IntersectionObserver((entries) => {
      if (entries.some((e) => e.isIntersecting)) fetchThem();
    }, { rootMargin: "200px" });
    figures.forEach((el) => near.observe(el));
    if (document.readyState === "complete") rest();
    else addEventListener("load", rest, { once: true });
  }

  // A form that is on its way says so, and offers the phone when it takes long.
  document.addEventListener("submit", (event) => {
    const form = event.target, button = event.submitter || form.querySelector("button");
    if (!form.matches("[data-send]") || !button) return;
    if (form.dataset.sending) { event.preventDefault(); return; }
    form.dataset.sending = "true";
    button.setAttribute("aria-busy", "true");
    button.dataset.words = button.textContent;
    button.textContent = "Sending…";
    setTimeout(() => {
      delete form.dataset.sending;
      button.removeAttribute("aria-busy");
      button.textContent = button.dataset.words;
    }, 8000);
  });

  const peek = document.querySelector("[data-peek]");
  if (peek) {
    const input = peek.parentElement.querySelector("input"), show = peek.textContent;
    peek.hidden = false;
    peek.addEventListener("click", () => {
      const isHidden = input.type === "password";
      input.type = isHidden ? "text" : "password";
      peek.textContent = isHidden ? peek.dataset.hide : show;
    });
  }

  // What was just done is said once: the address forgets it, and so does the next refresh.
  const here = new URL(location.href);
  if (here.searchParams.has("said")) {
    here.searchParams.delete("said");
    history.replaceState(null, "", here);
  }

  if (dot) {
    setInterval(age, 1000);
    setInterval(() => { if (!isStreaming || isStale || isFailing || Date.now() - read >= SELDOM) want(0); }, POLL);
    // A page that nobody sees hears for half a minute more, and then nothing until it is seen.
    document.addEventListener("visibilitychange", () => {
      clearTimeout(hiding);
      if (document.hidden) hiding = setTimeout(() => { if (line) line.close(); }, 2 * POLL);
      else { want(0); listen(); }
    });
    addEventListener("online", () => want(0));
    addEventListener("wedsync:news", () => want(0));
    if (kept) { offline(); want(0); }
    if (document.readyState === "complete") listen();
    else addEventListener("load", listen, { once: true });
    age();
    charts();
  }
})();
