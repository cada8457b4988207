// Keys for the calendar: arrows go from day to day, Page Up and Page Down from month to month, T to
// today. Without this script every day is a link all the same.
const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  const calendar = document.querySelector("[data-calendar]");
  if (!calendar) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const link = document.querySelector(`.calnav [data-key="${CSS.escape(key)}"]`);
  if (link) {
    event.preventDefault();
    link.click();
    return;
  }
  const step = STEPS[event.key];
  if (!step) return;
  const days = [...calendar.querySelectorAll(".daynum a")].filter((a) => a.offsetParent);
  const at = days.indexOf(document.activeElement);
  if (at < 0 && !calendar.contains(document.activeElement)) return;
  // on a phone the days stand below each other and weeks have no width
  const isGrid = getComputedStyle(calendar).gridTemplateColumns.split(" ").length === 7;
  const next = days[at + (isGrid ? step : Math.sign(step))];
  if (at >= 0 && next) {
    event.preventDefault();
    next.focus();
  }
});
