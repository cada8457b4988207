// The line over which a page hears what changes: a WebSocket, else an event stream. `hear` gets each
// message, and null when the line is lost; `place` is from where on the page needs to be told.
window.wedsyncLine = (place, hear) => {
  "use strict";
  const SILENCE = 35000, LONGEST = 30000;
  const NAMES = ["hello", "resync", "paused", "heartbeat", "bye", "incidents", "health", "deliveries", "metrics", "guard"];
  let shut = null, isBySocket = true, hasSpoken = false, seen = 0, losses = 0, again = null, returning = null;

  function take(event) {
    const message = JSON.parse(event.data);
    seen = Date.now();
    hasSpoken = true;
    place = message.event_id || place;
    if (message.type === "hello" || message.type === "resync") losses = 0;
    again = message.retry_ms ?? again;
    hear(message);
  }

  // A browser opens six event streams to a server in all its tabs, and hundreds of WebSockets.
  function bySocket() {
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}/api/v1/live`);
    socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", last_event_id: place || null }));
    socket.onmessage = take;
    socket.onclose = lose;
    return () => { socket.onclose = null; socket.close(); };
  }

  function byStream() {
    const source = new EventSource(`/api/v1/events?last_event_id=${encodeURIComponent(place)}`);
    source.onerror = lose;
    NAMES.forEach((name) => source.addEventListener(name, take));
    return () => source.close();
  }

  function open() {
    clearTimeout(returning);
    if (shut || document.hidden) return;
    hasSpoken = false;
    seen = Date.now();
    shut = isBySocket ? bySocket() : byStream();
  }

  function close() {
    clearTimeout(returning);
    if (shut) shut();
    shut = null;
    hear(null);
  }

  // Comes back after a pause of its own, so that thousands do not come back at once.
  function lose() {
    close();
    if (!hasSpoken) isBySocket = !isBySocket;
    returning = setTimeout(open, again ?? Math.min(LONGEST, 1000 * 2 ** losses) * (0.5 + Math.random()));
    losses += 1;
    again = null;
  }

  // Heartbeats come every 15 s: a line that was silent for longer than two is none.
  setInterval(() => { if (shut && Date.now() - seen > SILENCE) lose(); }, 1000);
  return { open, close };
};
