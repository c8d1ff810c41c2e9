// Tables as CSV files: RFC 4180, SI units, full names of columns.
(function (report) {
  "use strict";
  const { make } = report;

  const quoted = (value) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "";
    const text = String(value);
    return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };

  report.csv = (heads, rows) => [heads, ...rows].map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";

  function save(name, text) {
    const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    const link = make("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  const ends = (values) => [0, 1, 2].map((place) => (values && values.length > place ? values[place] : null));

  function valueHeads() {
    return report.content.measures.flatMap(({ key }) => {
      const stem = /_(s|j|bps)$/.exec(key);
      const cut = stem ? key.slice(0, -stem[0].length) : key;
      return [key, `${cut}_low${stem ? stem[0] : ""}`, `${cut}_high${stem ? stem[0] : ""}`];
    });
  }

  report.downloadConfigurations = function () {
    const { configurations, systems, measures } = report.content;
    const fixed = ["trace", "video", "network", "coded", "status", "captured", "completed", "replicates"];
    save(
      "configurations.csv",
      report.csv(
        ["system", "setting", ...fixed, ...valueHeads()],
        configurations.map((one) => [systems[one.system].name, one.setting, ...fixed.map((key) => one[key]), ...measures.flatMap(({ key }) => ends(one.values[key]))]),
      ),
    );
  };

  report.downloadRuns = function () {
    const { runs, systems, measures, provenance } = report.content;
    save(
      "runs.csv",
      report.csv(
        ["folder", "system", "status", "error", "overrides", "captured", "completed", ...provenance.made, ...valueHeads()],
        runs.map((run) => [run.folder, systems[run.system].name, run.status, run.error, run.overrides, run.captured, run.completed, ...provenance.made.map((key) => run.made[key]), ...measures.flatMap(({ key }) => ends(run.values[key]))]),
      ),
    );
  };

  report.downloadComparison = function () {
    const heads = ["a", "b", "setting", "quantity", "mean_a", "mean_b", "low", "high", "pairs", "called", "verdict"];
    save("comparison.csv", report.csv(heads, report.content.comparison.rows.map((row) => heads.map((key) => row[key]))));
  };

  report.downloadFrontier = function () {
    const { frontier, systems } = report.content;
    const quantities = ["accuracy", "streaming", "latency_s", "frame_bytes"];
    save(
      "frontier.csv",
      report.csv(
        ["system", "setting", "runs", "answered", ...quantities.flatMap((key) => [key, `${key}.low`, `${key}.high`])],
        frontier.points.map((point) => [systems[point.system].name, point.setting, point.runs, point.answered, ...quantities.flatMap((key) => ends(point[key]))]),
      ),
    );
  };

  report.downloadFrames = async function (run) {
    const frames = await report.frames(run);
    const names = Object.keys(frames).filter((name) => frames[name] instanceof Float64Array);
    const labels = { outcome: report.content.outcomes, path: report.content.paths };
    const rows = Array.from({ length: frames.rows }, (_, row) =>
      names.map((name) => {
        const value = frames[name][row];
        return labels[name] ? labels[name][value] : Number.isNaN(value) ? null : Number(value.toPrecision(10));
      }),
    );
    save(`frames-${run}.csv`, report.csv(names, rows));
  };

  report.sections.downloads = function (main) {
    const names = report.runNames();
    const possible = names.map((_, place) => place).filter((place) => report.stored(`frames-${place}`) !== null);
    const chosen = { run: possible[0] };
    const entry = (title, text, action) => make("article", { class: "card" }, make("h3", {}, title), make("p", {}, text), make("button", { type: "button", onclick: action }, `Save ${title}.csv`));
    report.fill(
      main,
      make("h2", {}, "Downloads"),
      make("p", { class: "quiet" }, "In SI units (seconds, bytes, bit/s). Numbers are rounded to what this page shows: six digits, times of frames to 10 µs. The folders of the runs hold all of it."),
      make(
        "div",
        { class: "cards" },
        entry("configurations", "One row a configuration: replicates averaged, with intervals.", report.downloadConfigurations),
        entry("runs", "One row a run: results, command line, version.", report.downloadRuns),
        entry("comparison", "Every pair, setting and quantity: difference, interval, verdict.", report.downloadComparison),
        entry("frontier", "Accuracy, latency and bytes of every setting.", report.downloadFrontier),
        make("article", { class: "card" }, make("h3", {}, "frames"), make("p", {}, report.choice("of", possible.map((place) => [place, names[place]]), chosen.run, (value) => { chosen.run = Number(value); })), make("button", { type: "button", onclick: () => report.downloadFrames(chosen.run) }, "Save frames.csv")),
      ),
    );
  };
})(window.report);
