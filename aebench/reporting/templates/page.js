"use strict";
// The page reads well without this: it sorts and filters tables, and shows one data set at a time.
(() => {
  const PAGE = 40;
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.classList.add("js");

  // ---- one data set at a time; a link to something in a hidden panel opens it
  const switches = all(".switch").map((group) => {
    const panels = all(":scope > .panel", group.parentElement);
    const show = () => {
      const chosen = group.querySelector("input:checked").value;
      for (const panel of panels) panel.hidden = chosen !== "all" && panel.dataset.panel !== chosen;
    };
    group.addEventListener("change", show);
    show();
    return { group, panels, show };
  });
  const reveal = () => {
    const wanted = location.hash.slice(1);  // which may be any text, and no encoding of one
    const target = all("[id]").find(({ id }) => id === wanted || encodeURIComponent(id) === wanted);
    for (const { group, panels, show } of switches) {
      const panel = target && panels.find((one) => one.contains(target));
      if (!panel?.hidden) continue;
      all("input", group).find((input) => input.value === panel.dataset.panel).checked = true;
      show();
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", reveal);
  reveal();

  // ---- the intervals of a column, on one scale
  const element = (name, values, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(values)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const short = (x, width) => {  // to the digits that tell the ends apart
    const places = Math.min(Math.max(1 - Math.floor(Math.log10(width || Math.abs(x) || 1)), 0), 12);
    const text = Math.abs(x) >= 1e5 || (x && Math.abs(x) < 1e-4) ? x.toExponential(2) : x.toFixed(places);
    return text.replaceAll("-", "−");
  };
  const draw = (heads, rows, sorted) => {
    const chart = heads.findIndex((head) => head.classList.contains("chart"));
    const column = heads[sorted].dataset.m ? sorted : heads.findIndex((head) => head.dataset.m && !head.hidden);
    if (chart < 0 || column < 0) return;
    const found = rows.map((row) => {
      const { v, l, h } = row.cells[column].dataset;
      return v ? [+v, +(l || v), +(h || v)] : null;
    });
    // what is not ranked, and may lie anywhere, does not decide the scale; beyond its ends stand arrows
    const ranked = found.filter((x, i) => x && !rows[i].cells[column].classList.contains("unranked"));
    const scaled = (ranked.length > 1 ? ranked : found).flatMap((x) => x ?? []);
    const [low, high] = [Math.min(...scaled), Math.max(...scaled)];
    const log = low > 0 && high > 20 * low;
    const scale = log ? Math.log : (x) => x;
    const at = (x) => high > low ? 10 + (140 * (scale(x) - scale(low))) / (scale(high) - scale(low)) : 80;
    const within = (x) => Math.min(Math.max(x > 0 || !log ? at(x) : 0, 2), 158).toFixed(2);
    const [what, ...ends] = heads[chart].querySelectorAll("span");
    what.textContent = heads[column].dataset.m + (log ? ", logarithmic" : "");
    ends.forEach((end, i) => { end.textContent = scaled.length ? short([low, high][i], high - low) : ""; });
    rows.forEach((row, i) => {
      const [mean, from, to] = (found[i] ?? []).map(within);
      const point = !mean ? null : found[i][0] < low ? element("path", { class: "mean", d: "M2 8l8-5v10z" })
        : found[i][0] > high ? element("path", { class: "mean", d: "M158 8l-8-5v10z" })
        : element("circle", { class: "mean", cx: mean, cy: 8, r: 4 });
      row.cells[chart].replaceChildren(...(mean ? [element("svg", { viewBox: "0 0 160 16", "aria-hidden": "true" },
        element("line", { class: "axis", x1: 0, x2: 160, y1: 8, y2: 8 }),
        element("line", { class: "span", x1: from, x2: to, y1: 8, y2: 8 }), point)] : []));
    });
  };

  // ---- tables: sorted by a column, filtered by words, so many rows at a time
  const search = document.getElementById("filter");
  const marked = document.getElementById("marked");
  const key = (row, column) => {
    const { v } = row.cells[column].dataset;
    return v === undefined ? row.cells[column].textContent.trim().toLowerCase() : v === "" ? null : +v;
  };
  const tables = all("table.sortable").map((table) => {
    const heads = [...table.tHead.rows[0].cells];
    const board = table.classList.contains("board");
    const [more, said] = ["more", "said"].map((name) => document.getElementById(`${table.id}-${name}`));
    let rows = [...table.tBodies[0].rows], limit = PAGE, sorted = 0;
    const veil = (column, hidden) => {
      for (const cells of [heads, ...rows.map((row) => row.cells)]) cells[column].hidden = hidden;
    };
    heads.forEach((head, column) => { if (head.classList.contains("further")) veil(column, true); });

    const show = () => {
      const words = (board && search?.value.toLowerCase().split(/\s+/)) || [];
      const wanted = rows.filter((row) =>
        words.every((word) => row.cells[0].textContent.toLowerCase().includes(word)) &&
        !(board && marked?.checked && !row.querySelector(".best:not([hidden]), .tied:not([hidden])")));
      const shown = wanted.slice(0, limit);
      for (const row of rows) row.hidden = true;
      for (const row of shown) row.hidden = false;
      if (more) more.hidden = shown.length === wanted.length;
      if (said) said.textContent = `${shown.length} of ${rows.length} rows shown`;
      if (board) draw(heads, shown, sorted);
    };
    const sort = (column, falling) => {
      const sign = falling ? -1 : 1;
      const keyed = rows.map((row) => [key(row, column), row]);
      keyed.sort(([a], [b]) => (a === null || b === null) ? (a === null) - (b === null)
        : sign * (typeof a === "string" ? a.localeCompare(b) : a - b));
      rows = keyed.map(([, row]) => row);
      table.tBodies[0].append(...rows);
      for (const head of heads) head.removeAttribute("aria-sort");
      heads[column].setAttribute("aria-sort", falling ? "descending" : "ascending");
      sorted = column;
      show();
    };
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      sort(column, now ? now === "ascending" : head.dataset.better === "higher");
    }));
    more?.addEventListener("click", () => { limit = rows.length; show(); });
    const choose = (measure, visible) => {
      const column = heads.findIndex((head) => head.dataset.m === measure);
      if (column < 0) return;
      veil(column, !visible);
      show();
    };
    show();
    return { show, choose };
  });
  for (const input of [search, marked]) input?.addEventListener("input", () => tables.forEach(({ show }) => show()));
  for (const box of all(".columns input")) {
    box.addEventListener("change", () => tables.forEach(({ choose }) => choose(box.value, box.checked)));
  }
})();
