// The first thing one sees: what is best by which measure, how sure that is, and all configurations as a table.
(function (report) {
  "use strict";
  const { make } = report;
  const state = { setting: null, measure: null, rows: "configurations" };

  // Of all that were compared: who leads a quantity in a setting, and how sure the lead over each other is.
  report.leader = function (quantity, setting) {
    const { comparison } = report.content;
    const rows = comparison.rows.filter((row) => row.quantity === quantity.key && row.setting === setting);
    const means = new Map();
    rows.forEach((row) => {
      means.set(row.a, row.mean_a);
      means.set(row.b, row.mean_b);
    });
    const silent = quantity.key === "uplink_bytes" ? [...means].filter(([, mean]) => mean === 0).map(([name]) => name) : [];
    const entries = [...means].filter(([name]) => !silent.includes(name));
    if (entries.length < 2) return null;
    entries.sort((one, other) => (quantity.higher ? other[1] - one[1] : one[1] - other[1]));
    const [name, mean] = entries[0];
    const found = { name, mean, silent, sure: [], likely: [], open: [], unknown: [] };
    entries.slice(1).forEach(([rival]) => {
      const row = rows.find((one) => (one.a === name && one.b === rival) || (one.b === name && one.a === rival));
      if (!row) found.unknown.push(rival); // they did not meet the same
      else if (row.low === null) found.unknown.push(rival);
      else if (row.called) found.sure.push(rival);
      else if (row.low > 0 || row.high < 0) found.likely.push(rival);
      else found.open.push(rival);
    });
    return found;
  };

  report.nameOf = function (name) {
    const system = report.content.comparison.key === "system" && report.content.systems.find((one) => one.name === name);
    return system ? system.label : `${report.content.comparison.key}=${name}`;
  };

  function placeOf(name) {
    return report.content.systems.findIndex((one) => one.name === name);
  }

  function card(quantity, setting) {
    const found = report.leader(quantity, setting);
    if (!found) return null;
    const names = (list) => report.list(list.map(report.nameOf));
    const rivals = found.sure.length + found.likely.length + found.open.length + found.unknown.length;
    let pill = ["sure", "sure", "clear winner"];
    if (found.open.length) pill = ["open", "open", `not told apart from ${found.open.length === 1 ? names(found.open) : `${found.open.length} others`}`];
    else if (found.unknown.length) pill = ["open", "open", found.unknown.length === rivals ? "no interval" : `no interval against ${found.unknown.length}`];
    else if (found.likely.length) pill = ["likely", "likely", "ahead, not surely of all"];
    const place = report.content.comparison.key === "system" ? placeOf(found.name) : -1;
    const answered = place < 0 ? 1 : share(place);
    return make(
      "article",
      { class: "card", "data-measure": quantity.key },
      make("h3", {}, `Best by ${quantity.name} `, make("span", { class: "quiet" }, quantity.higher ? "(more is better)" : "(less is better)")),
      make(
        "div",
        { class: "who" },
        place < 0 ? null : report.dot(place),
        `${report.nameOf(found.name)} `,
        make("span", { class: "what" }, `\u2002${report.number(found.mean, quantity)}${quantity.unit ? ` ${quantity.unit}` : ""}`),
      ),
      make("p", {}, make("span", { class: `pill ${pill[1]}` }, pill[2])),
      found.sure.length ? make("p", {}, make("b", { class: "sure" }, "Surely ahead of "), names(found.sure)) : null,
      found.likely.length ? make("p", {}, make("b", { class: "likely" }, "By itself ahead of "), names(found.likely)) : null,
      found.open.length ? make("p", {}, make("b", { class: "open" }, "Not told apart from "), names(found.open)) : null,
      found.unknown.length ? make("p", {}, make("b", { class: "open" }, "No interval against "), names(found.unknown)) : null,
      found.silent.length ? make("p", { class: "quiet" }, `${names(found.silent)} sends nothing`) : null,
      answered < 0.9 && quantity.key !== "ea_per_captured"
        ? make("p", { class: answered < 0.5 ? "likely" : "quiet" }, `answers ${answered < 0.5 ? "only " : ""} ${Math.round(100 * answered)} % of the frames`)
        : null,
    );
  }

  // One sentence a leader: what it leads in, and in what of that it is surely ahead of every other.
  function headline(setting) {
    const led = new Map();
    report.content.comparison.quantities.forEach((quantity) => {
      const found = report.leader(quantity, setting);
      if (!found) return;
      if (!led.has(found.name)) led.set(found.name, { all: [], sure: [] });
      led.get(found.name).all.push(quantity.name);
      if (!found.likely.length && !found.open.length && !found.unknown.length) led.get(found.name).sure.push(quantity.name);
    });
    return [...led].sort((one, other) => other[1].all.length - one[1].all.length).map(([name, { all, sure }]) =>
      make(
        "p",
        { class: "headline" },
        make("b", {}, report.nameOf(name)),
        ` leads in ${report.list(all)}; `,
        make("b", { class: sure.length ? "sure" : "open" }, sure.length ? `surely ahead of every other in ${report.list(sure)}` : "not surely ahead of every other in any"),
        ".",
      ),
    );
  }

  function share(place) {
    const own = report.content.configurations.filter((one) => one.system === place && one.captured);
    const sum = (key) => own.reduce((total, one) => total + one[key], 0);
    return sum("captured") ? sum("completed") / sum("captured") : 1;
  }

  function describe() {
    const { shared, runs, configurations, systems } = report.content;
    const many = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
    const parts = ["trace", "video", "network", "edge", "cloud"].map((key) => {
      if (shared[key] === null || shared[key] === undefined) return null;
      return shared.differing.includes(key) ? many(shared[key], key) : `${key} ${shared[key]}`;
    });
    const failed = runs.filter((run) => run.status !== "completed").length;
    return make(
      "p",
      {},
      `${many(systems.length, "system")}, ${many(configurations.length, "configuration")}, ${many(runs.length, "run")}. `,
      parts.filter(Boolean).join("; "),
      shared.accuracy_ruler && !shared.differing.includes("accuracy_ruler") ? `; accuracy by ${shared.accuracy_ruler === "measured" ? "measurement" : shared.accuracy_ruler}` : "",
      ".",
      failed ? make("b", { class: "likely" }, ` ${many(failed, "run")} without results.`) : "",
    );
  }

  // Configurations or runs as rows with one shape.
  function tableRows() {
    const { configurations, runs } = report.content;
    if (state.rows === "configurations") return configurations.map((one) => ({ ...one, name: one.setting }));
    const names = report.runNames();
    return runs.map((run, place) => {
      const of = configurations.find((one) => one.runs.includes(place));
      return { ...of, ...run, name: [of.setting, run.label].filter(Boolean).join(", ") || names[place], runs: [place], replicates: 1 };
    });
  }

  // Rows that differ in their system alone: a best one is marked among these.
  report.alike = (row) => [row.setting, row.trace, row.video].join("|");

  report.configurationColumns = function (rows) {
    const { shared, measures, systems } = report.content;
    const text = (name, of, more) => ({ name, of, isName: true, ...more });
    const columns = [
      text("system", (row) => systems[row.system].label, { show: (row) => [report.dot(row.system), report.systemLink(row.system)] }),
    ];
    if (rows.some((row) => row.name)) columns.push(text("setting", (row) => row.name || "", { wrap: true }));
    ["trace", "video", "network"].forEach((key) => {
      if (shared.differing.includes(key)) columns.push(text(key, (row) => row[key] || "–"));
    });
    if (rows.some((row) => row.coded)) columns.push(text("codec", (row) => row.coded || "–"));
    if (rows.some((row) => row.replicates > 1)) columns.push({ name: "runs", title: "replicates that were averaged", of: (row) => row.replicates });
    columns.push({
      name: "answered",
      title: "frames with a result, of those captured",
      of: (row) => (row.captured ? row.completed / row.captured : NaN),
      show: (row) => (row.status === "completed" ? `${row.completed}/${row.captured}` : row.status),
    });
    measures.forEach((measure) => {
      if (!rows.some((row) => row.values[measure.key])) return;
      columns.push({
        name: report.unit(measure),
        title: measure.meaning,
        better: measure.higher,
        digits: (value) => Number((value * measure.scale).toFixed(measure.digits)),
        of: (row) => (row.values[measure.key] ? row.values[measure.key][0] : NaN),
        show: (row) => {
          const [value, half] = report.interval(row.values[measure.key], measure);
          return [value, half ? make("span", { class: "pm" }, half) : ""];
        },
      });
    });
    return columns;
  };

  function forest() {
    const { measures, configurations, systems, shared } = report.content;
    const measure = measures.find((one) => one.key === state.measure) || measures[0];
    const kept = configurations.filter((one) => one.values[measure.key]);
    const value = (one) => one.values[measure.key][0];
    kept.sort((one, other) => (measure.higher === false ? value(one) - value(other) : value(other) - value(one)));
    const MOST = 40;
    const rows = kept.slice(0, MOST).map((one) => {
      const [centre, low, high] = one.values[measure.key].map((number) => number * measure.scale);
      const more = [one.setting, shared.differing.includes("trace") ? one.trace : "", shared.differing.includes("video") ? one.video : ""];
      const label = [systems[one.system].label, ...more].filter(Boolean).join(", ");
      const [shown, half] = report.interval(one.values[measure.key], measure);
      const answered = one.completed / one.captured;
      return {
        label,
        colour: report.colour(one.system),
        value: centre,
        low,
        high,
        faint: answered < 0.9,
        note: `${label}: ${shown}${half}${measure.unit ? ` ${measure.unit}` : ""}${answered < 0.9 ? `, ${Math.round(100 * answered)} % of frames answered` : ""}`,
      };
    });
    const chart = report.forest(rows, { name: report.unit(measure) });
    const left = kept.length > MOST ? make("p", { class: "quiet" }, `The best ${MOST} of ${kept.length}; the table below has all.`) : null;
    return [chart, left];
  }

  report.sections = report.sections || {};
  report.sections.overview = function (main) {
    const { comparison, measures, configurations } = report.content;
    const settings = [...new Set(comparison.rows.map((row) => row.setting))];
    if (!settings.includes(state.setting)) state.setting = settings[0];
    if (!measures.some((one) => one.key === state.measure)) state.measure = measures[0].key;
    report.fill(main, make("h2", {}, "What is best, by which measure, and how sure that is"));
    const again = () => report.show();
    if (comparison.rows.length) {
      if (settings.length > 1)
        report.fill(main, make("div", { class: "tools" }, report.choice("Setting", settings.map((one) => [one, one || "all"]), state.setting, (value) => { state.setting = value; again(); })));
      report.fill(
      main,
        ...headline(state.setting),
        make("div", { class: "cards" }, comparison.quantities.map((quantity) => card(quantity, state.setting))),
        make(
          "details",
          {},
          make("summary", {}, "How this is judged"),
          make(
            "p",
            {},
            `${comparison.key === "system" ? "Systems" : `Values of ${comparison.key}`} are compared pair by pair on runs that met the same network and the same frames. `,
            make("b", { class: "sure" }, "Surely ahead"),
            `: a difference that holds together with all ${comparison.tests} tests of this page (Holm's procedure: in at most one page in twenty is any of them wrong). `,
            make("b", { class: "likely" }, "By itself ahead"),
            ": its own 95 % interval leaves out zero, but among so many tests some do by chance. ",
            make("b", { class: "open" }, "Not told apart"),
            ": the interval holds zero. More replicates tell more. ",
            make("a", { href: "#/compare" }, "All differences"),
          ),
        ),
      );
    } else if (comparison.names.length > 1)
      report.fill(main, make("p", { class: "likely" }, "No pairs of runs that can be compared, so none can be called better: ", make("a", { href: "#/compare" }, "why")));
    report.fill(main, describe());
    const box = make("div", {}, forest());
    report.fill(
      main,
      make("h2", {}, "Every configuration, with its 95 % interval"),
      make("div", { class: "tools" }, report.choice("Measure", measures.map((one) => [one.key, report.unit(one)]), state.measure, (value) => { state.measure = value; box.replaceChildren(...forest().filter(Boolean)); report.startCharts(); })),
      box,
      make("p", { class: "quiet" }, "Hollow: answers less than 90 % of the frames. No whiskers: too short a run, or too few replicates, for an interval."),
    );
    const rows = tableRows();
    report.fill(
      main,
      make("h2", {}, "Table"),
      make("p", { class: "quiet" }, "A heading sorts; the best value of each setting is marked. ± is half the width of a 95 % interval."),
      report.table(report.configurationColumns(rows), rows, {
        caption: state.rows,
        group: state.rows === "configurations" ? report.alike : (row) => `${report.alike(row)}|${row.label}`,
        extra: [
          report.choice("Rows", [["configurations", "replicates as one"], ["runs", "each run"]], state.rows, (value) => { state.rows = value; again(); }),
          make("button", { type: "button", onclick: () => report.downloadConfigurations() }, "CSV"),
        ],
      }),
    );
    configurations.filter((one) => one.status !== "completed").forEach((one) =>
      report.fill(main, make("p", { class: "likely" }, `${report.content.systems[one.system].label} ${one.setting}: ${one.status}: ${one.error || ""}`)),
    );
  };
})(window.report);
