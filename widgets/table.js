// The table of wendelin.widgets.table.

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function render({ model, el }) {
  const table = element("table", "wendelin-table");
  const caption = element("caption");
  const head = element("thead");
  const body = element("tbody");
  table.append(caption, head, body);
  el.append(table);

  function choose(id) {
    if (model.get("chosen") === id) return;
    model.set("chosen", id);
    model.save_changes();
  }

  function content(cell) {
    const parts = [];
    if (cell.kind) {
      const badge = element("span", "wendelin-badge", cell.text);
      badge.dataset.kind = cell.kind;
      parts.push(badge);
    } else parts.push(element("span", "wendelin-cell-text", cell.text));
    if (cell.detail) parts.push(element("span", "wendelin-cell-detail", cell.detail));
    return parts;
  }

  function showHead() {
    const row = element("tr");
    for (const column of model.get("columns")) {
      const cell = element("th", column.numeric ? "wendelin-numeric" : "");
      cell.scope = "col";
      cell.append(column.title);
      if (column.unit) cell.append(element("span", "wendelin-unit", column.unit));
      row.append(cell);
    }
    head.replaceChildren(row);
    caption.textContent = model.get("caption");
    caption.hidden = !caption.textContent;
  }

  function showBody() {
    // Keep the keyboard where it was: new rows replace the button that has the focus.
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset.id : undefined;
    const columns = model.get("columns");
    const rows = model.get("rows").map((given) => {
      const row = element("tr");
      row.dataset.id = given.id;
      columns.forEach((column, number) => {
        const cell = element(number ? "td" : "th", column.numeric ? "wendelin-numeric" : "");
        cell.dataset.title = column.unit ? `${column.title} (${column.unit})` : column.title;
        const value = given.cells[column.key] ?? { text: "" };
        if (number) {
          // One box, so that on a card the value stays one column beside its title.
          const box = element("div", "wendelin-cell");
          box.append(...content(value));
          cell.append(box);
        } else {
          cell.scope = "row";
          const button = element("button", "wendelin-choose");
          button.type = "button";
          button.dataset.id = given.id;
          button.append(...content(value));
          cell.append(button);
        }
        row.append(cell);
      });
      row.addEventListener("click", () => choose(given.id));
      return row;
    });
    body.replaceChildren(...rows);
    showChoice();
    if (focused !== undefined) body.querySelector(`button[data-id="${CSS.escape(focused)}"]`)?.focus();
  }

  function showChoice() {
    const chosen = model.get("chosen");
    for (const row of body.rows) {
      row.classList.toggle("wendelin-chosen", row.dataset.id === chosen);
      row.querySelector("button").setAttribute("aria-pressed", String(row.dataset.id === chosen));
    }
  }

  const columnsChanged = () => {
    showHead();
    showBody();
  };
  model.on("change:columns", columnsChanged);
  model.on("change:caption", showHead);
  model.on("change:rows", showBody);
  model.on("change:chosen", showChoice);
  columnsChanged();
  return () => {
    model.off("change:columns", columnsChanged);
    model.off("change:caption", showHead);
    model.off("change:rows", showBody);
    model.off("change:chosen", showChoice);
  };
}

export default { render };
