"use strict";
(() => {
  const root = document.documentElement;
  const said = document.getElementById("said");
  const say = (text) => { said.textContent = ""; said.textContent = text; };

  // The page follows the system until somebody chooses; a file opened from disk may have no storage.
  const remembered = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("harness-theme");
      localStorage.setItem("harness-theme", value);
    } catch { /* chosen for this visit only */ }
    return null;
  };
  const themeButton = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const nameTheme = () => { themeButton.textContent = isDark() ? "Light" : "Dark"; };
  const theme = remembered();
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    nameTheme();
  });
  nameTheme();

  const cellValue = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  const compare = (a, b) => {
    // What has no number comes last, whichever way it is sorted.
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1;
    if (typeof b === "number") return 1;
    return a.localeCompare(b);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        const place = new Map(rows.map((row, index) => [row, index]));
        rows.sort((one, two) => {
          const [a, b] = [cellValue(one, column), cellValue(two, column)];
          const order = typeof a === typeof b && !up ? compare(b, a) : compare(a, b);
          return order || place.get(one) - place.get(two);
        });
        table.tBodies[0].append(...rows);
        say(`sorted by ${button.textContent}, ${up ? "ascending" : "descending"}`);
      });
    });
  }

  const filter = document.getElementById("filter");
  if (filter) filter.hidden = document.querySelector('.criteria tr[data-ok="0"]') === null;
  filter?.addEventListener("click", () => {
    const on = filter.getAttribute("aria-pressed") !== "true";
    filter.setAttribute("aria-pressed", String(on));
    for (const row of document.querySelectorAll(".criteria tbody tr")) row.hidden = on && row.dataset.ok === "1";
  });

  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Where a page has no clipboard of its own the old way still works.
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "said";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  const tsv = (button) => [...button.closest("details, section").querySelector("table").rows]
    .map((row) => [...row.cells].map((cell) => (cell.dataset.copy ?? cell.textContent).trim().replace(/\s+/g, " ")).join("\t"))
    .join("\n");
  const texts = { table: tsv, summary: () => document.getElementById("summary").textContent };
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = texts[button.dataset.copy](button);
      await copied(text);
      button.dataset.copied = String(text.length);
      say("copied");
      const before = button.textContent;
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = before; }, 1200);
    });
  }
})();
