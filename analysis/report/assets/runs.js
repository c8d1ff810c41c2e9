// What every run was: its configuration, what of it all share, and which version made it.
(function (report) {
  "use strict";
  const { make } = report;

  const shownValue = (value) => (typeof value === "string" ? value : JSON.stringify(value));

  function list(entries) {
    return make("dl", {}, entries.map(([key, value]) => [make("dt", {}, key), make("dd", {}, shownValue(value))]));
  }

  function sharedKeys() {
    const rows = Object.entries(report.content.provenance.shared).map(([key, value]) => ({ key, value: shownValue(value) }));
    return report.table(
      [
        { name: "key", isName: true, of: (row) => row.key },
        { name: "value", isName: true, wrap: true, of: (row) => row.value },
      ],
      rows,
      { caption: "keys that all runs share", tall: true },
    );
  }

  function one(main, place) {
    const { runs, provenance, systems } = report.content;
    const run = runs[place];
    const own = provenance.own[place];
    report.fill(
      main,
      make("p", {}, make("a", { href: "#/runs" }, "← all runs")),
      make("h2", {}, report.runName(place)),
      make("p", {}, "System ", report.systemLink(run.system), ` (${systems[run.system].name}); `, report.stored(`frames-${place}`) === null ? run.status : make("a", { href: `#/latency/${place}` }, "frame by frame")),
      run.error ? make("p", { class: "likely" }, run.error) : null,
      make("h3", {}, "Made from"),
      list([["folder", run.folder], ["command line", run.overrides || "–"], ["status", run.status], ...provenance.made.map((key) => [key, run.made[key] === null ? "–" : run.made[key]])]),
      make("h3", {}, "Its configuration, where runs differ"),
      own === null ? make("p", {}, "It has left no configuration.") : list(Object.entries(own)),
      make("h3", {}, "Its configuration, where all runs are the same"),
      sharedKeys(),
    );
  }

  report.sections.runs = function (main, [wanted]) {
    const { runs, systems } = report.content;
    if (wanted !== undefined && runs[Number(wanted)]) return one(main, Number(wanted));
    const names = report.runNames();
    const commits = [...new Set(runs.map((run) => run.made.git_sha).filter(Boolean))];
    report.fill(
      main,
      make("h2", {}, "Runs: configuration and provenance"),
      make("p", {}, commits.length === 1 ? `All runs were made by commit ${commits[0].slice(0, 12)}.` : commits.length ? make("b", { class: "likely" }, `Runs of ${commits.length} different commits stand side by side.`) : "Which commit made these runs is not known."),
      report.table(
        [
          { name: "run", isName: true, of: (row) => names[row.place], show: (row) => [report.dot(row.system), make("a", { href: `#/runs/${row.place}` }, names[row.place])] },
          { name: "status", isName: true, of: (row) => row.status, show: (row) => (row.error ? `${row.status}: ${row.error}` : row.status), wrap: true },
          { name: "system", isName: true, of: (row) => systems[row.system].name },
          { name: "given", isName: true, wrap: true, of: (row) => row.overrides || "–" },
          { name: "frames", of: (row) => row.captured },
          { name: "seed", of: (row) => row.made.seed },
          { name: "replicate", of: (row) => row.made.replicate },
          { name: "simulated s", of: (row) => row.made.simulated_s, show: (row) => (row.made.simulated_s === null ? "–" : row.made.simulated_s.toFixed(2)) },
          { name: "commit", isName: true, of: (row) => row.made.git_sha || "–", show: (row) => (row.made.git_sha || "–").slice(0, 10) },
          { name: "configuration", isName: true, of: (row) => row.made.config_sha256 || "–", show: (row) => (row.made.config_sha256 || "–").slice(0, 10) },
          { name: "folder", isName: true, of: (row) => row.folder },
        ],
        runs.map((run, place) => ({ ...run, place })),
        { caption: "runs", tall: true },
      ),
      make("h3", {}, "What all runs have in common"),
      sharedKeys(),
    );
    return undefined;
  };
})(window.report);
