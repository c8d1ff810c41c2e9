// A page a system: its configurations, when its results come, where its time goes, what became of its frames.
(function (report) {
  "use strict";
  const { make } = report;

  function bar(parts, label) {
    const total = parts.reduce((sum, [, , value]) => sum + value, 0);
    return make("div", { class: "bar", role: "img", "aria-label": label }, parts.map(([name, colour, value, text]) => make("span", { style: `width:${(100 * value) / total}%;background:${colour}`, title: `${name}: ${text}` })));
  }

  report.bar = bar;

  function stagesOf(configuration) {
    return report.content.stages
      .filter((stage) => configuration.stages[stage] > 0)
      .map((stage) => {
        const [name, colour] = report.STAGES[stage];
        const value = configuration.stages[stage];
        return [name, colour, value, `${(1e3 * value).toFixed(1)} ms`];
      });
  }

  function sharesOf(configuration) {
    const total = Object.values(configuration.shares).reduce((sum, one) => sum + one, 0);
    return Object.entries(configuration.shares).map(([name, count]) => [name.replace("_", " "), report.SHARES[name], count, `${((100 * count) / total).toFixed(1)} %`]);
  }

  function described(configuration) {
    const done = stagesOf(configuration);
    const ends = sharesOf(configuration);
    const said = (parts) => parts.map(([name, colour, , text]) => [`${name} ${text}`, colour]);
    return make(
      "section",
      {},
      make("h3", {}, configuration.setting || "its one configuration", configuration.trace && report.content.shared.differing.includes("trace") ? `, ${configuration.trace}` : ""),
      ends.length ? [make("p", { class: "quiet" }, "What became of captured frames"), bar(ends, said(ends).map(([text]) => text).join(", ")), report.legend(said(ends))] : null,
      done.length ? [make("p", { class: "quiet" }, "Where the time of a result goes (mean; stages of frames that take two paths at once overlap)"), bar(done, said(done).map(([text]) => text).join(", ")), report.legend(said(done))] : null,
      make("p", {}, "Frame by frame: ", configuration.runs.slice(0, 12).map((run, place) => [place ? ", " : "", make("a", { href: `#/latency/${run}` }, report.content.runs[run].label || `run ${run}`)])),
    );
  }

  report.cumulative = function (configurations, name) {
    const { levels } = report.content;
    return configurations
      .filter((one) => one.latency.length)
      .map((one) => ({ name: name(one), colour: report.colour(one.system), dash: report.content.systems[one.system].dash, points: one.latency.map((seconds, place) => [Math.max(0.01, 1e3 * seconds), levels[place]]) }));
  };

  function index(main) {
    const { systems, configurations } = report.content;
    report.fill(main, make("h2", {}, "Systems"));
    report.fill(
      main,
      make("div", { class: "cards" }, systems.map((system, place) => {
        const own = configurations.filter((one) => one.system === place);
        const ends = own.length ? sharesOf(own[0]) : [];
        return make("article", { class: "card" }, make("div", { class: "who" }, report.dot(place), report.systemLink(place)), make("p", {}, `${own.length} configuration${own.length === 1 ? "" : "s"}, ${own.reduce((sum, one) => sum + one.runs.length, 0)} runs`), ends.length ? bar(ends, "") : null, report.legend(ends.map(([name, colour, , text]) => [`${name} ${text}`, colour])));
      })),
      make("h3", {}, "How soon results come"),
      report.curves(report.cumulative(configurations.slice(0, 40), (one) => [systems[one.system].label, one.setting].filter(Boolean).join(", ")), { x: "capture to result (ms)", y: "share of results", label: "distribution of latency, a curve a configuration" }),
    );
  }

  report.sections.systems = function (main, [name]) {
    const { systems, configurations, provenance, runs } = report.content;
    const place = systems.findIndex((one) => one.name === name);
    if (place < 0) return index(main);
    const own = configurations.filter((one) => one.system === place);
    const rows = own.map((one) => ({ ...one, name: one.setting }));
    report.fill(
      main,
      make("p", {}, make("a", { href: "#/systems" }, "← all systems")),
      make("h2", {}, report.dot(place), systems[place].label, systems[place].label === name ? "" : make("span", { class: "quiet" }, ` ${name}`)),
      report.table(report.configurationColumns(rows), rows, { caption: "configurations", filter: rows.length > 8, group: report.alike }),
      make("h3", {}, "How soon results come, among the others (grey)"),
      report.curves(
        [
          ...report.cumulative(configurations.filter((one) => one.system !== place).slice(0, 30), (one) => systems[one.system].label).map((line) => ({ ...line, colour: report.paint("line") })),
          ...report.cumulative(own.slice(0, 12), (one) => one.setting || systems[place].label),
        ],
        { x: "capture to result (ms)", y: "share of results", label: "distribution of latency" },
      ),
      ...own.slice(0, 12).map(described),
    );
    const first = runs.findIndex((run) => run.system === place);
    const options = { ...provenance.shared, ...(provenance.own[first] || {}) };
    const said = Object.entries(options).filter(([key]) => key.startsWith("system.") && !key.startsWith("system.display"));
    if (said.length)
      report.fill(main, make("h3", {}, "Options (of its first run)"), make("dl", {}, said.map(([key, value]) => [make("dt", {}, key.slice(7)), make("dd", {}, JSON.stringify(value))])));
    return undefined;
  };
})(window.report);
