// A table that sorts by any column and shows only rows that have every word of a filter.
(function (report) {
  "use strict";
  const { make } = report;

  // columns: {name, title, isName, of(row) → value to sort by, show(row) → text or node, better: true | false,
  //   digits: (value) → value as it is shown}
  // options: {filter, caption, sort: [column, descending], tall, extra, group(row) → the best is marked within}
  report.table = function (columns, rows, options) {
    const chosen = { sort: options.sort || null, words: [] };
    const body = make("tbody");
    const count = make("span", { class: "quiet", role: "status" });
    const group = options.group || (() => "");
    const groups = [...new Set(rows.map(group))];
    const best = columns.map((column) => new Map(groups.map((one) => [one, bestOf(column, rows.filter((row) => group(row) === one))])));
    const asShown = (column, row) => (column.digits ? column.digits(column.of(row)) : column.of(row));
    const heads = columns.map((column, place) =>
      make(
        "th",
        { scope: "col", class: column.isName ? "name" : null, title: column.title },
        make("button", { type: "button", onclick: () => sortBy(place) }, column.name),
      ),
    );
    const texts = rows.map((row) => columns.map((column) => textOf(column, row)).join(" ").toLowerCase());

    function bestOf(column, all) {
      if (column.better === undefined || column.better === null || all.length < 2) return null;
      const values = all.map((row) => (column.digits ? column.digits(column.of(row)) : column.of(row))).filter((value) => typeof value === "number" && !Number.isNaN(value));
      if (values.length < 2) return null;
      const found = column.better ? Math.max(...values) : Math.min(...values);
      return values.every((value) => value === found) ? null : found;
    }

    function textOf(column, row) {
      const shown = column.show ? column.show(row) : column.of(row);
      return shown instanceof Node ? shown.textContent : Array.isArray(shown) ? shown.map((s) => (s instanceof Node ? s.textContent : s)).join("") : String(shown);
    }

    function sortBy(place) {
      const [at, descending] = chosen.sort || [null, false];
      const first = columns[place].better === true; // the best first
      chosen.sort = [place, at === place ? !descending : first];
      draw();
    }

    function compared(a, b) {
      const [place, descending] = chosen.sort;
      const one = columns[place].of(rows[a]);
      const other = columns[place].of(rows[b]);
      const unknown = (value) => value === null || value === undefined || Number.isNaN(value);
      if (unknown(one) || unknown(other)) return unknown(one) - unknown(other); // unknown ones last, either way
      const order = typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other), "en", { numeric: true });
      return descending ? -order : order;
    }

    function draw() {
      heads.forEach((head, place) => {
        head.removeAttribute("aria-sort");
        if (chosen.sort && chosen.sort[0] === place)
          head.setAttribute("aria-sort", chosen.sort[1] ? "descending" : "ascending");
      });
      const order = rows.map((_, place) => place).filter((place) => chosen.words.every((word) => texts[place].includes(word)));
      if (chosen.sort) order.sort(compared);
      body.replaceChildren(
        ...order.map((place) =>
          make(
            "tr",
            {},
            columns.map((column, number) => {
              const top = best[number].get(group(rows[place]));
              const isBest = top !== null && asShown(column, rows[place]) === top;
              const classes = [column.isName ? "name" : "", column.wrap ? "wrap" : "", isBest ? "best" : ""].join(" ").trim();
              return make("td", { class: classes || null }, column.show ? column.show(rows[place]) : column.of(rows[place]));
            }),
          ),
        ),
      );
      count.textContent = order.length === rows.length ? `${rows.length} row${rows.length === 1 ? "" : "s"}` : `${order.length} of ${rows.length} rows`;
    }

    const search = make("input", {
      type: "search",
      placeholder: "filter: words that a row must have",
      "aria-label": `Filter ${options.caption}`,
      size: 32,
      oninput: (event) => {
        chosen.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
        draw();
      },
    });
    const wrapper = make("div", { class: options.tall ? "scroll tall" : "scroll", tabindex: "0", role: "region", "aria-label": options.caption }, make("table", {}, make("thead", {}, make("tr", {}, heads)), body));
    draw();
    const tools = make("div", { class: "tools" }, options.filter === false ? null : search, options.extra || null, count);
    return make("div", {}, tools, wrapper);
  };
})(window.report);
