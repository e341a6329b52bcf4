// The tile of wendelin.widgets.status. Text goes through textContent only: notes of transactions are anybody's words.

const ASK_EVERY = 10_000; // milliseconds
const GONE_AFTER = 35_000;
const SHOW_TIME_EVERY = 15_000;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function bytes(count) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit ? count.toFixed(1) : count.toFixed(0)} ${units[unit]}`;
}

function ago(iso) {
  const seconds = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
  if (seconds < 60) return "just now";
  const steps = [[60, "min"], [3600, "h"], [86400, "d"]];
  let best = steps[0];
  for (const step of steps) if (seconds >= step[0]) best = step;
  const count = Math.floor(seconds / best[0]);
  return `${count} ${best[1]} ago`;
}

function row(transaction) {
  const item = element("li", "wendelin-status-commit");
  const when = element("time", "wendelin-status-when", ago(transaction.time));
  when.dateTime = transaction.time;
  when.title = new Date(transaction.time).toLocaleString();
  const what = element("span", "wendelin-status-note", transaction.note || "no note");
  if (!transaction.note) what.classList.add("wendelin-status-none");
  item.append(when, what);
  if (transaction.user) item.append(element("span", "wendelin-status-user", transaction.user));
  return item;
}

function render({ model, el }) {
  const tile = element("section", "wendelin-status");
  tile.setAttribute("aria-label", "Database");
  const head = element("div", "wendelin-status-head");
  const dot = element("span", "wendelin-status-dot");
  dot.setAttribute("aria-hidden", "true");
  const state = element("strong", "wendelin-status-state");
  state.setAttribute("role", "status"); // read aloud when it changes; the list is not: it would never be silent
  const size = element("span", "wendelin-status-size");
  head.append(dot, state, size);
  const url = element("div", "wendelin-status-url");
  const problem = element("div", "wendelin-status-problem");
  const list = element("ul", "wendelin-status-list");
  list.setAttribute("aria-label", "Last transactions");
  tile.append(head, url, problem, list);
  el.append(tile);

  let heard = Date.now();
  let kernelGone = false;

  function show() {
    const now = kernelGone ? "disconnected" : model.get("state");
    tile.dataset.state = now;
    const words = model.get("words")[now] ?? now;
    if (state.textContent !== words) state.textContent = words;
    const count = model.get("size");
    size.textContent = count >= 0 ? bytes(count) : "";
    url.textContent = model.get("url");
    url.title = model.get("url");
    const help = {
      disconnected: kernelGone
        ? "This page lost its kernel: reload it. What follows is the last that was known."
        : "The server does not answer. What follows is the last that was known.",
      empty: "Whatever is committed will appear here.",
      error: model.get("problem"),
    };
    problem.textContent = help[now] ?? "";
    problem.hidden = !problem.textContent;
    list.replaceChildren(...model.get("transactions").map(row));
    list.hidden = now === "empty" || !list.childElementCount;
  }

  function alive() {
    heard = Date.now();
    if (kernelGone) {
      kernelGone = false;
      show();
    }
  }

  function ask() {
    if (document.hidden) {
      heard = Date.now(); // browsers slow hidden pages down: silence means nothing then
      return;
    }
    if (Date.now() - heard > GONE_AFTER && !kernelGone) {
      kernelGone = true;
      show();
    }
    try {
      model.send({ ask: "alive" });
    } catch {
      kernelGone = true;
      show();
    }
  }

  const changed = () => {
    alive();
    show();
  };
  const names = ["state", "size", "transactions", "url", "problem"];
  for (const name of names) model.on(`change:${name}`, changed);
  model.on("msg:custom", alive);
  const asking = setInterval(ask, ASK_EVERY);
  const telling = setInterval(() => {
    for (const when of list.querySelectorAll("time")) when.textContent = ago(when.dateTime);
  }, SHOW_TIME_EVERY);
  show();

  return () => {
    clearInterval(asking);
    clearInterval(telling);
    for (const name of names) model.off(`change:${name}`, changed);
    model.off("msg:custom", alive);
  };
}

export default { render };
