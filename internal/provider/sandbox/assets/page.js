// The live page. Without it the page shows the time left, and what is to be paid, as it was when the page was made.
(() => {
  const two = (n) => String(n).padStart(2, "0");
  const clock = (s) => {
    const days = Math.floor(s / 86400);
    const rest = Math.floor(s / 60) % 60;
    const head = s < 3600 ? String(rest) : `${Math.floor(s / 3600) % 24}:${two(rest)}`;
    return `${days ? `${days} d ` : ""}${head}:${two(s % 60)}`;
  };

  let stopped = () => {}; // ends what goes on for the page as it is

  // begin brings the page to life as the server made it: the countdown runs, and its stream says when to look again.
  const begin = (main) => {
    const box = main.querySelector(".countdown");
    if (!box) return;
    const text = box.querySelector("[role=timer]");
    const bar = box.querySelector("progress");
    // The server says how much is left, so the buyer's own clock may be wrong.
    const left = Number(box.dataset.left);
    const start = performance.now();
    const startedAt = Date.now();
    let timer;
    const tick = () => {
      // A phone that slept may have stopped one of its clocks: the one that went further is believed.
      const now = Math.max(0, left - Math.max(performance.now() - start, Date.now() - startedAt));
      text.textContent = clock(Math.ceil(now / 1000));
      bar.value = now;
      box.classList.toggle("soon", now < 60000);
      // The desk lets the order go within milliseconds and the stream says so; this is for a page that has none.
      timer = now > 0 ? setTimeout(tick, now % 1000 || 1000) : setTimeout(look, 1500);
    };
    tick();

    let stream;
    if (main.dataset.live) {
      // A browser comes back to it by itself, and to where it was.
      stream = new EventSource(main.dataset.live);
      const told = (event) => JSON.parse(event.data).status !== "pending" && look();
      for (const name of ["order", "order.paid", "order.cancelled", "order.expired", "order.fulfilled", "order.refunded"]) {
        stream.addEventListener(name, told);
      }
    }
    stopped = () => {
      clearTimeout(timer);
      if (stream) stream.close();
    };

    // Pressing twice is harmless, but it should not look as if it were needed.
    main.querySelector("form").addEventListener("submit", () => {
      stopped();
      setTimeout(() => document.querySelectorAll("button").forEach((b) => (b.disabled = true)));
    });
  };

  // look shows the page as it is now, without leaving it: there is one maker of pages, and that is the server.
  let looking = false;
  const look = async () => {
    if (looking) return;
    looking = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.status >= 500) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const main = document.importNode(page.querySelector("main"), true);
      stopped();
      stopped = () => {};
      document.title = page.title;
      document.querySelector("main").replaceWith(main);
      begin(main);
      // Who cannot see it is told.
      const title = main.querySelector("h1");
      title.tabIndex = -1;
      title.focus({ preventScroll: true });
    } catch {
      setTimeout(look, 2000); // the desk may be away for a moment
    } finally {
      looking = false;
    }
  };

  begin(document.querySelector("main"));

  // A page that comes back from the browser's memory would show an old time.
  addEventListener("pageshow", (event) => event.persisted && location.reload());
})();
