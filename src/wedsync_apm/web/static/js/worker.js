// Runs beside the pages: keeps the last known state of a few of them for a person without a signal,
// and shows notifications. What may be kept, for whom and for how long is said by the server, in the
// headers of each page; nothing else is ever kept, and nothing of another person's.
"use strict";
const BUILD = {};  // the version, the files of the shell and the words, put in as this is served

const SHELL = `shell-${BUILD.version}`, PAGES = "pages ", ABOUT = "about";
const READER = "x-wedsync-reader", KEEP = "x-wedsync-keep", AT = "x-wedsync-kept-at";
const NOBODY = "nobody", NEVER = "0", PATIENCE = 2500, FRESH = 30 * 60e3, CARE = 10 * 60e3;
// Counts up whenever other eyes look: an answer that was asked for before is kept for nobody.
let era = 0;

addEventListener("install", (event) => event.waitUntil((async () => {
  const shell = await caches.open(SHELL);
  await shell.addAll(BUILD.shell);
  await shell.add(new Request("/offline", { cache: "reload" }));
  await skipWaiting();
})()));

addEventListener("activate", (event) => event.waitUntil((async () => {
  await registration.navigationPreload?.enable();
  await prune();
  await clients.claim();
})()));

// The files of older versions go, but for those that a page kept from then is drawn with.
async function prune() {
  const names = await caches.keys(), shell = await caches.open(SHELL), used = new Set();
  for (const { cache } of await keptCaches()) {
    for (const key of await cache.keys()) {
      const html = await (await cache.match(key)).text();
      for (const [url] of html.matchAll(/\/static\/[\w.-]+/g)) used.add(url);
    }
  }
  for (const name of names.filter((one) => one.startsWith("shell-") && one !== SHELL)) {
    const old = await caches.open(name);
    for (const key of await old.keys()) {
      const path = new URL(key.url).pathname;
      if (used.has(path) && !(await shell.match(key))) await shell.put(key, await old.match(key));
    }
    await caches.delete(name);
  }
}

addEventListener("fetch", (event) => {
  const { request } = event, url = new URL(request.url);
  if (url.origin !== location.origin) return;
  if (request.mode === "navigate") event.respondWith(request.method === "GET" ? open(event, url) : send(request));
  else if (request.method !== "GET") return;
  else if (url.pathname.startsWith("/static/")) event.respondWith(file(request));
  else if (request.headers.get("hx-request") === "true") event.respondWith(part(event, url));
});

// A page: from the server if it answers soon, else as it was, with its age on it.
async function open(event, url) {
  const kept = await find(url);
  const answer = ask(event, url);
  if (!kept) return answer.catch(() => shellPage());
  answer.catch(() => null);
  event.waitUntil(answer.catch(() => null));
  const soon = new Promise((done) => setTimeout(done, PATIENCE));
  const came = await Promise.race([answer.catch(() => null), soon]);
  return came && came.status < 502 ? came : aged(kept);
}

async function ask(event, url) {
  const began = era;
  const answer = (await event.preloadResponse) || (await fetch(event.request));
  const keeping = await learn(url, answer, began);
  if (keeping) event.waitUntil(keeping());
  return answer;
}

async function send(request) {
  try { return await fetch(request); } catch { return shellPage(); }
}

async function shellPage() {
  return (await caches.match("/offline")) || Response.error();
}

async function file(request) {
  const known = await caches.match(request.url);
  if (known) return known;
  const answer = await fetch(request);
  if (answer.ok) await (await caches.open(SHELL)).put(request.url, answer.clone());
  return answer;
}

// A page that keeps itself true asks for its middle; that goes into the page that is kept.
async function part(event, url) {
  const began = era, answer = await fetch(event.request);
  const keeping = await learn(url, answer, began, true);
  if (keeping) event.waitUntil(keeping());
  return answer;
}

// Makes sure whose pages are kept here, and tells how to keep this one, if it is to be kept.
async function learn(url, answer, began, isPart = false) {
  const reader = answer.headers.get(READER), until = answer.headers.get(KEEP);
  if (until === NEVER) return () => drop(url);
  if (!(await isReader(reader, began)) || !until || answer.status !== 200) return null;
  const now = era, copy = answer.clone();
  return async () => {
    const text = await copy.text(), html = isPart ? await merged(url, text) : text;
    if (html && now === era) await put(url, html, copy.headers, reader);
  };
}

async function merged(url, middle) {
  const kept = await find(url), at = /data-at="([^"]*)"/.exec(middle)?.[1];
  if (!kept || !at) return null;
  return (await kept.text()).replace(/<main[\s\S]*<\/main>/, () => middle.trim())
    .replace(/data-now="[^"]*"/, `data-now="${at}"`);
}

async function drop(url) {
  for (const { cache } of await keptCaches()) await cache.delete(keyOf(url));
}

// Whether the answer is of the person whose pages are kept here. If it is another's, or nobody's,
// what was kept of the one before goes at once.
async function isReader(reader, began) {
  if (!reader || began !== era) return false;
  const others = (await keptCaches()).filter(({ name }) => name !== PAGES + reader);
  if (others.length || reader === NOBODY) {
    era += 1;
    await Promise.all(others.map(({ name }) => caches.delete(name)));
    await (await caches.open(ABOUT)).delete("/cared");
  }
  if (reader === NOBODY) return false;
  await rememberPerson(reader.split(".")[0]);
  return true;
}

// Another person's calls do not come to this device: his subscription ends, and his contact by it.
async function rememberPerson(person) {
  const about = await caches.open(ABOUT), known = await about.match("/person");
  const before = known && (await known.text());
  if (before === person) return;
  await about.put("/person", new Response(person));
  if (before) await (await registration.pushManager?.getSubscription())?.unsubscribe();
}

async function keptCaches() {
  const names = (await caches.keys()).filter((name) => name.startsWith(PAGES));
  return Promise.all(names.map(async (name) => ({ name, cache: await caches.open(name) })));
}

const keyOf = (url) => new URL(url.pathname + (url.search === "" || /^\?said=\w*$/.test(url.search) ? "" : url.search), location.origin).href;

async function put(url, html, headers, reader) {
  const kept = new Headers(headers);
  for (const name of ["content-encoding", "content-length"]) kept.delete(name);
  kept.set(AT, String(Date.now()));
  await (await caches.open(PAGES + reader)).put(keyOf(url), new Response(html, { headers: kept }));
}

async function find(url) {
  for (const { cache } of await keptCaches()) {
    const kept = await cache.match(keyOf(url));
    if (kept && Number(kept.headers.get(KEEP)) > Date.now()) return kept;
    if (kept) await cache.delete(keyOf(url));
  }
  return null;
}

// The page says since when it is as it is; its script words that, and nothing on it works any more.
async function aged(kept) {
  const html = (await kept.text()).replace("<html ", `<html data-kept="${Number(kept.headers.get(AT))}" `);
  return new Response(html, { headers: kept.headers });
}

// What is kept is what the server lists: today, what is open, the cards of the next two days. What
// it does not list any more (a wedding is over, a membership has ended) goes.
async function care(wants = []) {
  const began = era, answer = await fetch("/phone/kept", { cache: "no-store", headers: { "hx-request": "true" } });
  if (!(await isReader(answer.headers.get(READER), began)) || answer.status !== 200) return;
  await (await caches.open(ABOUT)).put("/cared", new Response(String(Date.now())));
  const now = era, { pages } = await answer.json();
  const listed = new Set(pages.map((path) => new URL(path, location.origin).href));
  for (const { cache } of await keptCaches()) {
    for (const key of await cache.keys()) if (!listed.has(key.url)) await cache.delete(key);
  }
  for (const href of listed) {
    const url = new URL(href), there = await find(url);
    if (now !== era) return;
    if (there && Date.now() - Number(there.headers.get(AT)) < FRESH && !wants.includes(url.pathname)) continue;
    const keeping = await learn(url, await fetch(href, { redirect: "manual", cache: "no-store" }), now);
    if (keeping) await keeping();
  }
}

async function careNowAndThen() {
  const last = await (await caches.open(ABOUT)).match("/cared");
  if (!last || Date.now() - Number(await last.text()) > CARE) await care();
}

addEventListener("message", (event) => {
  // A page that was on its way while this worker started is not its own yet.
  if (event.data === "care") event.waitUntil(Promise.all([clients.claim(), careNowAndThen().catch(() => null)]));
});
addEventListener("periodicsync", (event) => {
  if (event.tag === "care") event.waitUntil(care());
});

// Notifications. Addresses in a message are ours, whatever name the server goes by here.
const pathOf = (text) => { const url = new URL(text || "/", location.origin); return url.pathname + url.search; };

addEventListener("push", (event) => event.waitUntil((async () => {
  let said = {};
  try { said = event.data.json(); } catch { /* a message must be shown, whatever is in it */ }
  try {
    await show(said, said.title || BUILD.words.news, said.body || "", { renotify: isCall(said), requireInteraction: isCall(said) });
  } catch {
    await tell(said, "refused");
    return;
  }
  await Promise.allSettled([tell(said, "shown"), care(said.url ? ["/", pathOf(said.url)] : [])]);
  for (const client of await clients.matchAll({ type: "window" })) client.postMessage("news");
})()));

const isCall = (said) => ["page", "reopened", "drill"].includes(said.kind);

function show(said, title, body, more) {
  const actions = said.acknowledge_url
    ? [{ action: "take", title: said.kind === "drill" ? BUILD.words.answer : BUILD.words.take }] : [];
  return registration.showNotification(title, {
    body, actions, icon: BUILD.icon, badge: BUILD.badge, lang: "en-GB", tag: said.tag || "wedsync",
    timestamp: Date.parse(said.at) || Date.now(), data: said, ...more,
  });
}

// A receipt says that this one message has come, and is believed without a sign-in.
async function tell(said, event) {
  if (!said.receipt) return;
  for (const pause of [0, 2000, 8000]) {
    await new Promise((done) => setTimeout(done, pause));
    try {
      const answer = await fetch(`/api/v1/webhooks/push/${encodeURIComponent(said.receipt)}`, {
        method: "POST", body: JSON.stringify({ event }), credentials: "omit", keepalive: true,
        headers: { "content-type": "application/json" },
      });
      if (answer.status < 500) return;
    } catch { /* no signal: once more */ }
  }
}

addEventListener("notificationclick", (event) => {
  const said = event.notification.data || {};
  event.notification.close();
  event.waitUntil(Promise.all([tell(said, "opened"), event.action === "take" ? take(said) : look(said)]));
});

// The one-tap link, tapped. It counts when the server says so, and never later than now.
async function take(said) {
  let answer = null;
  try {
    const came = await fetch(pathOf(said.acknowledge_url), {
      method: "POST", headers: { accept: "application/json" }, credentials: "omit", signal: AbortSignal.timeout(20000),
    });
    if (came.headers.get("content-type")?.includes("json")) answer = await came.json();
  } catch { /* said below */ }
  if (answer) await show({ ...said, acknowledge_url: null }, answer.words, said.title || "", { silent: true });
  else await show(said, BUILD.words.unsent, said.title || "", { requireInteraction: true });
}

async function look(said) {
  const path = pathOf(said.url);
  for (const client of await clients.matchAll({ type: "window" })) {
    try {
      const shown = await client.navigate(path);
      await (shown || client).focus();
      return;
    } catch { /* not ours to steer: another window */ }
  }
  await clients.openWindow(path);
}

// The push service has given this browser another address: the server is told while it can be.
addEventListener("pushsubscriptionchange", (event) => event.waitUntil((async () => {
  try {
    const options = event.oldSubscription?.options || { userVisibleOnly: true, applicationServerKey: await publicKey() };
    const renewed = event.newSubscription || (await registration.pushManager.subscribe(options));
    const answer = await fetch("/phone/push/renewed", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(renewed),
    });
    if (answer.ok) return;
  } catch { /* said below */ }
  await registration.showNotification(BUILD.words.lost, {
    body: BUILD.words.lost_body, icon: BUILD.icon, badge: BUILD.badge, tag: "lost", requireInteraction: true, data: { url: "/phone" },
  });
})()));

async function publicKey() {
  return (await (await fetch("/api/v1/push/public-key")).json()).public_key;
}
