// The tiles of wendelin.widgets.activities. Text goes through textContent only: names and notes are anybody's words.

const TICK = 1000; // milliseconds

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const hours = whole >= 3600 ? `${Math.floor(whole / 3600)}:` : "";
  return `${hours}${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

function plain(number) {
  return String(Number(number.toPrecision(4)));
}

function row(one) {
  const item = element("li", "wendelin-activities-run");
  const name = element("span", "wendelin-activities-what", one.what + (one.count > 1 ? ` × ${one.count}` : ""));
  name.title = one.uid;
  const bar = element("progress", "wendelin-activities-progress");
  bar.setAttribute("aria-label", one.what);
  let far = "";
  if (one.total > 0) {
    bar.max = one.total;
    bar.value = Math.max(0, Math.min(one.done, one.total));
    far = `${plain(one.done)} of ${plain(one.total)}`;
  } else if (one.done >= 0) {
    far = plain(one.done);
  }
  const time = element("span", "wendelin-activities-time", clock(Date.now() / 1000 - one.since));
  time.dataset.since = one.since;
  const words = [far, one.note, one.node && `on ${one.node}`].filter(Boolean).join(" · ");
  item.append(name, bar, time, element("span", "wendelin-activities-note", words));
  return item;
}

function failure(one, open) {
  const item = element("li", "wendelin-activities-failure");
  const details = element("details");
  details.dataset.uid = one.uid;
  details.open = open.has(one.uid);
  const head = element("summary");
  head.append(element("span", "wendelin-activities-what", one.what), element("span", "wendelin-activities-error", one.error));
  details.append(head, element("pre", "wendelin-activities-traceback", one.traceback));
  item.append(details);
  return item;
}

const PARTS = ["done", "running", "waiting", "failed"];

function render({ model, el }) {
  const tile = element("section", "wendelin-activities");
  const head = element("div", "wendelin-activities-head");
  const dot = element("span", "wendelin-activities-dot");
  dot.setAttribute("aria-hidden", "true");
  const title = element("strong", "wendelin-activities-title");
  const state = element("span", "wendelin-activities-state");
  state.setAttribute("role", "status"); // read aloud when it changes; the numbers are not
  const rate = element("span", "wendelin-activities-rate");
  head.append(dot, title, state, rate);
  const bar = element("div", "wendelin-activities-bar");
  bar.setAttribute("aria-hidden", "true"); // the words below say the same
  const segments = Object.fromEntries(PARTS.map((part) => [part, element("span", `wendelin-activities-${part}`)]));
  bar.append(...Object.values(segments));
  const counts = element("div", "wendelin-activities-counts");
  const running = element("ul", "wendelin-activities-list");
  running.setAttribute("aria-label", "Running");
  const failures = element("ul", "wendelin-activities-list");
  failures.setAttribute("aria-label", "Failed");
  const nodes = element("div", "wendelin-activities-nodes");
  tile.append(head, bar, counts, running, failures, nodes);
  el.append(tile);

  function show() {
    const now = model.get("state");
    tile.dataset.state = now;
    title.textContent = model.get("title");
    tile.setAttribute("aria-label", model.get("title"));
    const words = model.get("words")[now] ?? now;
    if (state.textContent !== words) state.textContent = words;
    const each = model.get("rate");
    rate.textContent = each > 0 ? `${plain(each)} a second` : "";
    const count = model.get("counts");
    const total = PARTS.reduce((sum, part) => sum + (count[part] ?? 0), 0);
    for (const part of PARTS) segments[part].style.flexGrow = String(count[part] ?? 0);
    bar.hidden = !total;
    counts.replaceChildren(
      ...PARTS.filter((part) => count[part]).map((part) => {
        const text = element("span", `wendelin-activities-count wendelin-activities-is-${part}`);
        text.textContent = `${count[part]} ${part}`;
        return text;
      }),
    );
    running.replaceChildren(...model.get("running").map(row));
    running.hidden = !running.childElementCount;
    const open = new Set([...failures.querySelectorAll("details[open]")].map((one) => one.dataset.uid));
    const focused = failures.contains(document.activeElement) && document.activeElement.parentElement.dataset.uid;
    failures.replaceChildren(...model.get("failures").map((one) => failure(one, open)));
    failures.hidden = !failures.childElementCount;
    if (focused) failures.querySelector(`details[data-uid="${CSS.escape(focused)}"] summary`)?.focus();
    nodes.textContent = model
      .get("nodes")
      .map((node) => `${node.name}: ${node.busy} of ${node.slots} workers busy`)
      .join(" · ");
    nodes.hidden = !nodes.textContent;
  }

  const names = ["title", "state", "counts", "rate", "running", "failures", "nodes"];
  let asked = 0;
  const changed = () => {
    // Traits come one by one: draw once for all of them.
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(show);
  };
  for (const name of names) model.on(`change:${name}`, changed);
  const ticking = setInterval(() => {
    for (const time of running.querySelectorAll("[data-since]")) {
      time.textContent = clock(Date.now() / 1000 - Number(time.dataset.since));
    }
  }, TICK);
  show();

  return () => {
    clearInterval(ticking);
    cancelAnimationFrame(asked);
    for (const name of names) model.off(`change:${name}`, changed);
  };
}

export default { render };
