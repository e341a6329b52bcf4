/* What a dashboard shows around its cells: progress, failures, a lost connection, light or dark.

   - Loaded before Voilà's scripts, so that it sees the kernel's websocket being made: Voilà itself tells nobody when
     it is lost, and a page that silently stopped updating is worse than none.
   - Nothing here is needed for the dashboard to work; without it the page only says less. */
(() => {
  "use strict";

  const SILENCE = 30_000; // ms without a first sign of Voilà's scripts before the page says so
  const DRAWING = 60_000; // ms after which the page is shown, widgets or not
  let finished = false;
  let leaving = false;
  let dead = false;

  const dark = matchMedia("(prefers-color-scheme: dark)");

  function follow() {
    const body = document.body;
    body.classList.toggle("theme-dark", dark.matches);
    body.classList.toggle("theme-light", !dark.matches);
    body.dataset.jpThemeLight = String(!dark.matches);
    body.dataset.jpThemeName = dark.matches ? "JupyterLab Dark" : "JupyterLab Light";
  }

  function begin(title) {
    if (title) document.title = `${title} – Wendelin`;
    follow();
    dark.addEventListener("change", follow);
  }

  function progress(cell, cells) {
    const text = document.getElementById("loading_text");
    const bar = document.getElementById("wd-progress");
    if (text) text.textContent = cell ? `Preparing the dashboard: step ${cell} of ${cells}` : "Drawing …";
    if (bar && cell) { bar.max = cells; bar.value = cell; }
    else bar?.removeAttribute("value");
  }

  function finish() {
    // Called when the last cell has come, and again when Voilà's scripts can show cells.
    if (!window.themeLoaded) { window.cellLoaded = true; return; }
    const cells = document.getElementById("rendered_cells");
    // Laid out but not seen: widgets need a width to draw themselves.
    document.body.classList.add("wd-drawing");
    if (cells) cells.style.display = "";
    progress();
    const end = Date.now() + DRAWING;
    const look = () => {
      if (waiting(cells) && Date.now() < end) { setTimeout(look, 100); return; }
      finished = true;
      document.getElementById("loading")?.remove();
      document.body.classList.remove("wd-drawing");
    };
    look();
  }

  function waiting(cells) {
    const outputs = cells?.querySelectorAll(".jp-OutputArea-output") ?? [];
    return [...outputs].some((each) => !each.childElementCount && each.textContent.startsWith("Loading widget"))
      || Boolean(cells?.querySelector('script[type="application/vnd.voila.cell-output+json"]'));
  }

  function stuck() {
    const place = document.getElementById("loading");
    if (finished || leaving || !place) return;
    place.setAttribute("role", "alert");
    place.innerHTML = "";
    place.append(paragraph("The dashboard did not arrive whole. The connection or the service may have failed."),
                 reload("Try again"));
  }

  function paragraph(text) {
    const found = document.createElement("p");
    found.textContent = text;
    return found;
  }

  function reload(text) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => location.reload());
    return button;
  }

  function notice(text) {
    let place = document.getElementById("wd-notice");
    if (text === null || leaving) { place?.remove(); return; }
    if (!place) {
      place = document.createElement("div");
      place.id = "wd-notice";
      place.setAttribute("role", "alert");
      document.body.append(place);
    }
    place.replaceChildren(paragraph(text), reload("Reload"));
  }

  function clock() {
    return new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  }

  function lost() {
    if (!dead) notice(`Connection lost at ${clock()}. What you see no longer changes.`);
  }

  function ended() {
    dead = true;
    notice(`The program behind this dashboard ended at ${clock()}. What you see no longer changes.`);
  }

  // Kernels announce their end in small messages; larger ones are data and are not looked into.
  const ENDED = /"execution_state":\s*"(autorestarting|restarting|dead)"/;
  const decoder = new TextDecoder();

  function watch(socket) {
    socket.addEventListener("open", () => { if (!dead) notice(null); });
    socket.addEventListener("close", () => { if (!leaving) lost(); });
    socket.addEventListener("message", (event) => {
      const data = event.data;
      if (typeof data === "string") { if (data.length < 4096 && ENDED.test(data)) ended(); }
      else if (data instanceof ArrayBuffer && data.byteLength < 4096 && ENDED.test(decoder.decode(data))) ended();
    });
  }

  const Native = window.WebSocket;
  window.WebSocket = class extends Native {
    constructor(url, protocols) {
      super(url, protocols ?? []);
      if (/\/api\/kernels\/[^/]+\/channels/.test(String(url))) watch(this);
    }
  };

  addEventListener("offline", lost);
  addEventListener("pagehide", () => { leaving = true; });
  addEventListener("beforeunload", () => { leaving = true; });
  // Back from the browser's page cache: the kernel ended when the page was left.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  addEventListener("load", () => setTimeout(stuck, SILENCE));

  window.wendelin = { begin, progress, finish };
})();
