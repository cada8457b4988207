// Sets the worker to work once the page is there, and takes this device off at the sign-out.
(() => {
  "use strict";
  const container = navigator.serviceWorker;
  if (!container) return;
  const HOUR = 3600e3;

  async function start() {
    const registration = await container.register("/worker.js", { updateViaCache: "none" });
    let looked = Date.now();
    document.addEventListener("visibilitychange", () => {
      if (document.hidden || Date.now() - looked < HOUR) return;
      looked = Date.now();
      registration.update().catch(() => null);
    });
    const { active, periodicSync } = await container.ready;
    if (!document.querySelector("[data-live]")) return;
    active.postMessage("care");
    periodicSync?.register("care", { minInterval: 12 * HOUR }).catch(() => null);
  }
  const begin = () => start().catch(() => null);
  if (document.readyState === "complete") begin();
  else addEventListener("load", begin, { once: true });

  container.addEventListener("message", (event) => {
    if (event.data === "news") dispatchEvent(new Event("wedsync:news"));
  });

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (form.getAttribute("action") !== "/sign-out") return;
    event.preventDefault();
    try {
      const registration = await container.getRegistration();
      await (await registration?.pushManager?.getSubscription())?.unsubscribe();
    } catch {
      // its contact is switched off by the form
    }
    form.submit();
  });
})();
