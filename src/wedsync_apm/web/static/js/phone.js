// What only this device knows: whether it is installed, may ring, has a subscription, has kept pages.
(() => {
  "use strict";
  const container = navigator.serviceWorker;
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const isApple = /iPhone|iPad|iPod/.test(navigator.userAgent) || (/Mac/.test(navigator.userAgent) && navigator.maxTouchPoints > 1);
  const isInstalled = matchMedia("(display-mode: standalone)").matches || navigator.standalone === true;

  // The page's middle is renewed while it is open, so everything is looked up again each time.
  const find = (name) => document.querySelector(`[data-${name}]`);
  function says(key) {
    document.querySelectorAll("[data-says]").forEach((el) => { el.hidden = el.dataset.says !== key; });
  }

  async function look() {
    const form = find("turn-on"), box = find("phone");
    if (!form || !box) return;
    if (isInstalled) document.documentElement.dataset.installed = "";
    const canPush = container && "PushManager" in window && "Notification" in window;
    if (!canPush) { says(isApple && !isInstalled ? "install_first" : "unsupported"); return; }
    const isOn = box.dataset.phone === "on";
    if (Notification.permission === "denied") { says("denied"); return; }
    const registration = await container.getRegistration();
    const subscription = await registration?.pushManager.getSubscription();
    if (isOn && !subscription) says("lost");
    form.hidden = isOn && !!subscription;
  }

  // Asked only after a tap, and told when it does not work: the reason stays on the page.
  async function turnOn(form) {
    if ((await Notification.requestPermission()) !== "granted") { says("denied"); return; }
    const registration = await container.ready;
    const { public_key } = await (await fetch("/api/v1/push/public-key")).json();
    const options = { userVisibleOnly: true, applicationServerKey: bytes(public_key) };
    let subscription;
    try {
      subscription = await registration.pushManager.subscribe(options);
    } catch (error) {
      if (error.name !== "InvalidStateError") throw error;
      // One with another key of ours is left from before.
      await (await registration.pushManager.getSubscription())?.unsubscribe();
      subscription = await registration.pushManager.subscribe(options);
    }
    const { endpoint, keys } = subscription.toJSON();
    form.elements.url.value = endpoint;
    form.elements.p256dh.value = keys.p256dh;
    form.elements.auth.value = keys.auth;
    navigator.storage?.persist?.().catch(() => null);
    form.submit();
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (form.matches("[data-turn-on]")) {
      event.preventDefault();
      const button = form.querySelector("button");
      button.setAttribute("aria-busy", "true");
      try { await turnOn(form); } catch { says("failed"); }
      button.removeAttribute("aria-busy");
    } else if (form.matches("[data-turn-off]")) {
      event.preventDefault();
      try {
        const registration = await container?.getRegistration();
        await (await registration?.pushManager.getSubscription())?.unsubscribe();
      } catch { /* its contact is switched off by the form */ }
      form.submit();
    }
  });

  // The browser offers to install; the button is the moment for it.
  let offer = null;
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    offer = event;
    const button = find("install");
    if (button) button.hidden = false;
  });
  document.addEventListener("click", async (event) => {
    if (event.target.closest("[data-install]") && offer) {
      await offer.prompt();
      offer = null;
      find("install").hidden = true;
    } else if (event.target.closest("[data-print]")) {
      print();
    } else if (event.target.closest("[data-again]")) {
      event.preventDefault();
      location.reload();
    }
  });
  const paper = find("print");
  if (paper) paper.hidden = false;

  // Without a signal: what was kept here, newest first, and of when it is.
  async function list() {
    const box = find("kept-list");
    if (!box || !window.caches) return;
    const found = [];
    for (const name of (await caches.keys()).filter((one) => one.startsWith("pages "))) {
      const cache = await caches.open(name);
      for (const key of await cache.keys()) {
        const page = await cache.match(key);
        const { title } = new DOMParser().parseFromString(await page.text(), "text/html");
        found.push([key.url, title, Number(page.headers.get("x-wedsync-kept-at"))]);
      }
    }
    for (const [url, title, at] of found.sort((one, other) => other[2] - one[2])) {
      const row = document.createElement("a"), words = document.createElement("span"), when = document.createElement("span");
      row.className = "row";
      row.href = url;
      words.className = "t";
      // Not its state, which is old, but what it is: Today, Incidents, somebody's card.
      words.textContent = title.split(" · ").slice(0, -1).pop();
      when.className = "end";
      when.textContent = new Date(at).toLocaleString("en-GB", { weekday: "short", hour: "2-digit", minute: "2-digit" });
      row.append(words, when);
      const item = document.createElement("li");
      item.append(row);
      box.querySelector("ul").append(item);
    }
    box.querySelector("[data-none]").hidden = found.length > 0;
    box.hidden = false;
  }

  addEventListener("wedsync:fresh", () => look().catch(() => null));
  look().catch(() => says("failed"));
  list().catch(() => null);
})();
