// The live countdown. Without it the page shows the time left as it was when the page was made.
// The server says how much is left, so the buyer's own clock may be wrong.
(() => {
  const box = document.querySelector(".countdown");
  const text = box.querySelector("[role=timer]");
  const bar = box.querySelector("progress");
  const left = Number(box.dataset.left);
  const start = performance.now();
  const startedAt = Date.now();
  if (left <= 0) return;

  const two = (n) => String(n).padStart(2, "0");
  const clock = (s) => {
    const days = Math.floor(s / 86400);
    const rest = Math.floor(s / 60) % 60;
    const head = s < 3600 ? String(rest) : `${Math.floor(s / 3600) % 24}:${two(rest)}`;
    return `${days ? `${days} d ` : ""}${head}:${two(s % 60)}`;
  };

  const tick = () => {
    // A phone that slept may have stopped one of its clocks: the one that went further is believed.
    const now = Math.max(0, left - Math.max(performance.now() - start, Date.now() - startedAt));
    text.textContent = clock(Math.ceil(now / 1000));
    bar.value = now;
    box.classList.toggle("soon", now < 60000);
    if (now > 0) {
      setTimeout(tick, now % 1000 || 1000);
      return;
    }
    // The desk lets the order go within milliseconds; then the page says so.
    setTimeout(() => location.replace(location.href), 1500);
  };
  tick();

  // A page that comes back from the browser's memory would show an old time.
  addEventListener("pageshow", (event) => event.persisted && location.reload());

  // Pressing twice is harmless, but it should not look as if it were needed.
  document.querySelector("form").addEventListener("submit", () => {
    setTimeout(() => document.querySelectorAll("button").forEach((b) => (b.disabled = true)));
  });
})();
