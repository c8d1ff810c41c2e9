// Paired differences: one pair in every quantity, and every pair in one quantity.
(function (report) {
  "use strict";
  const { make } = report;
  const state = { a: null, b: null, setting: null, quantity: null };

  function between(a, b) {
    return report.content.comparison.rows
      .filter((row) => ((row.a === a && row.b === b) || (row.a === b && row.b === a)) && row.setting === state.setting)
      .map((row) => (row.a === a ? row : turned(row)));
  }

  // The same difference seen from the other side.
  function turned(row) {
    const low = row.high === null ? null : -row.high;
    const high = row.low === null ? null : -row.low;
    return { ...row, a: row.b, b: row.a, mean_a: row.mean_b, mean_b: row.mean_a, low, high };
  }

  const quantityOf = (row) => report.content.comparison.quantities.find((one) => one.key === row.quantity);

  function mark(row) {
    if (row.low === null) return ["open", "no interval"];
    if (row.called) return ["sure", "sure"];
    return row.low > 0 || row.high < 0 ? ["likely", "by itself"] : ["open", "not told apart"];
  }

  function signed(value, quantity) {
    const shown = report.number(value, quantity);
    return value > 0 ? `+${shown}` : shown;
  }

  function pair(main) {
    const rows = between(state.a, state.b);
    const refused = report.content.comparison.refused.find((one) => [one.a, one.b].includes(state.a) && [one.a, one.b].includes(state.b));
    if (refused) report.fill(main, make("p", { class: "likely" }, `These cannot be compared: ${refused.why}`));
    const leftOut = report.content.comparison.left_out.find((one) => [one.a, one.b].includes(state.a) && [one.a, one.b].includes(state.b));
    if (leftOut)
      report.fill(
        main,
        make("details", { class: "likely" }, make("summary", {}, `Left out, since nothing on the other side met the same: ${leftOut.why.length} ${leftOut.why.length === 1 ? "run" : "runs"}`),
          make("ul", {}, leftOut.why.map((one) => make("li", {}, one)))),
      );
    if (!rows.length) return;
    const [a, b] = [report.nameOf(state.a), report.nameOf(state.b)];
    const relative = rows
      .filter((row) => row.mean_b !== 0)
      .map((row) => {
        const quantity = quantityOf(row);
        const scale = 100 / Math.abs(row.mean_b);
        const kind = mark(row);
        return {
          label: quantity.name,
          colour: report.paint(kind[0]),
          faint: kind[0] === "open",
          value: scale * (row.mean_a - row.mean_b),
          low: row.low === null ? null : scale * row.low,
          high: row.high === null ? null : scale * row.high,
          note: `${quantity.name}: ${row.verdict}`,
        };
      });
    report.fill(
      main,
      make("h3", {}, `${a} minus ${b}, in per cent of ${b}`),
      report.forest(relative, { name: `${a} − ${b} (% of ${b})`, zero: true }),
      report.table(
        [
          { name: "quantity", isName: true, of: (row) => quantityOf(row).name, show: (row) => `${report.unit(quantityOf(row))}${quantityOf(row).higher ? "" : " ↓"}`, title: "↓: less is better" },
          { name: a, of: (row) => row.mean_a, show: (row) => report.number(row.mean_a, quantityOf(row)) },
          { name: b, of: (row) => row.mean_b, show: (row) => report.number(row.mean_b, quantityOf(row)) },
          { name: "difference", of: (row) => row.mean_a - row.mean_b, show: (row) => signed(row.mean_a - row.mean_b, quantityOf(row)) },
          { name: "95 % interval", of: (row) => row.low, show: (row) => (row.low === null ? "–" : `[${signed(row.low, quantityOf(row))}, ${signed(row.high, quantityOf(row))}]`) },
          { name: "pairs", of: (row) => row.pairs },
          { name: "how sure", isName: true, of: (row) => mark(row)[1], show: (row) => make("span", { class: `pill ${mark(row)[0]}` }, mark(row)[1]) },
          { name: "verdict", isName: true, wrap: true, of: (row) => row.verdict },
        ],
        rows,
        { caption: "differences", filter: false },
      ),
    );
    const beside = report.content.comparison.differ.find((one) => [one.a, one.b].includes(state.a) && [one.a, one.b].includes(state.b));
    if (beside) report.fill(main, make("details", {}, make("summary", {}, `Not the same in these pairs beside what is compared: ${beside.keys.length} keys`), make("ul", {}, beside.keys.map((key) => make("li", {}, key)))));
  }

  function matrix(main) {
    const { comparison } = report.content;
    const quantity = comparison.quantities.find((one) => one.key === state.quantity);
    const rows = comparison.names.map((name) => ({ name }));
    const cell = (name, other) => between(name, other).find((row) => row.quantity === state.quantity);
    const columns = [
      { name: "row − column", isName: true, of: (row) => report.nameOf(row.name) },
      ...comparison.names.map((other) => ({
        name: report.nameOf(other),
        of: (row) => { const found = cell(row.name, other); return found ? found.mean_a - found.mean_b : NaN; },
        show: (row) => {
          const found = cell(row.name, other);
          if (!found) return "–";
          const kind = mark(found)[0];
          const better = found.mean_a > found.mean_b === quantity.higher;
          return make("span", { class: kind, title: found.verdict }, `${signed(found.mean_a - found.mean_b, quantity)}${kind === "sure" ? (better ? " ✓✓" : " ✗✗") : kind === "likely" ? (better ? " ✓" : " ✗") : ""}`);
        },
      })),
    ];
    report.fill(
      main,
      report.table(columns, rows, { caption: "all pairs", filter: false }),
      make("p", { class: "quiet" }, "✓✓ the row is surely better, ✓ by itself better, ✗ ✗✗ worse; no sign: not told apart."),
    );
  }

  report.sections.compare = function (main) {
    const { comparison } = report.content;
    report.fill(main, make("h2", {}, "Comparison, pair by pair"));
    if (comparison.names.length < 2) {
      report.fill(main, make("p", {}, "There is one system and nothing that was swept: nothing to compare."));
      return;
    }
    const settings = [...new Set(comparison.rows.map((row) => row.setting))];
    if (!settings.includes(state.setting)) state.setting = settings.length ? settings[0] : "";
    if (!comparison.names.includes(state.a)) [state.a, state.b] = comparison.names;
    if (!state.quantity) state.quantity = comparison.quantities[0].key;
    const again = (key) => (value) => { state[key] = value; report.show(); };
    const names = comparison.names.map((name) => [name, report.nameOf(name)]);
    report.fill(
      main,
      make("p", { class: "quiet" }, `Each pair of runs met the same network and frames. Intervals are 95 %, each by itself; “sure” holds together with all ${comparison.tests} tests of this page (Holm). “analysis compare” tests one pair alone and may call more.`),
      make(
        "div",
        { class: "tools" },
        report.choice("", names, state.a, again("a"), { "aria-label": "first", id: "compare-a" }),
        report.choice("against", names.filter(([name]) => name !== state.a), state.b === state.a ? null : state.b, again("b"), { id: "compare-b" }),
        settings.length > 1 ? report.choice("in", settings.map((one) => [one, one || "all"]), state.setting, again("setting")) : null,
        make("button", { type: "button", onclick: () => report.downloadComparison() }, "CSV"),
      ),
    );
    if (state.a === state.b) state.b = comparison.names.find((name) => name !== state.a);
    pair(main);
    report.fill(
      main,
      make("h2", {}, "Every pair in one quantity"),
      make("div", { class: "tools" }, report.choice("Quantity", comparison.quantities.map((one) => [one.key, report.unit(one)]), state.quantity, again("quantity"))),
    );
    matrix(main);
    if (comparison.refused.length)
      report.fill(
      main,
        make("details", {}, make("summary", {}, `${comparison.refused.length} pairs cannot be compared`),
          make("ul", {}, comparison.refused.map((one) => make("li", {}, `${report.nameOf(one.a)} and ${report.nameOf(one.b)}: ${one.why}`)))),
      );
  };
})(window.report);
