// What each system trades: accuracy against latency, and against bytes.
(function (report) {
  "use strict";
  const { make } = report;
  const state = { accuracy: "accuracy" };

  const scaled = (estimate, scale) => estimate.map((one) => (one === null ? null : one * scale));

  function panel(cost, scale, unit, name) {
    const { frontier, systems } = report.content;
    const ruler = state.accuracy;
    const kept = frontier.points.filter((point) => point[cost][0] > 0 && point[ruler]);
    const silent = [...new Set(frontier.points.filter((point) => point[cost][0] <= 0).map((point) => systems[point.system].label))];
    const seen = new Set();
    const points = kept.map((point) => {
      const system = systems[point.system];
      const first = !seen.has(point.system);
      seen.add(point.system);
      return {
        x: scaled(point[cost], scale),
        y: point[ruler],
        colour: report.colour(point.system),
        hollow: point.answered < frontier.answered,
        label: first ? system.label : point.setting.split("=").pop(),
        isName: first,
        note: `${system.label} ${point.setting}: ${ruler} ${point[ruler][0].toFixed(3)} at ${(scale * point[cost][0]).toFixed(1)} ${unit}, ${Math.round(100 * point.answered)} % of frames answered, ${point.runs} run${point.runs === 1 ? "" : "s"}`,
      };
    });
    const best = [];
    [...points].sort((one, other) => one.x[0] - other.x[0] || other.y[0] - one.y[0]).forEach((point) => {
      if (!best.length || point.y[0] > best[best.length - 1][1]) best.push([point.x[0], point.y[0]]);
    });
    const spread = Math.max(...points.map((point) => point.x[0])) / Math.min(...points.map((point) => point.x[0]));
    return make(
      "div",
      {},
      make("h3", {}, name),
      report.crosses(points, { x: `${name} (${unit})`, y: ruler === "streaming" ? "streaming accuracy" : "accuracy of results", best, log: spread > 8, label: points.map((point) => point.note).join("; ") }),
      silent.length ? make("p", { class: "quiet" }, `Not shown, sends nothing: ${report.list(silent)}.`) : null,
    );
  }

  report.sections.frontier = function (main) {
    const { frontier, systems } = report.content;
    report.fill(main, make("h2", {}, "Frontier: accuracy, latency, bytes"));
    if (!frontier.points.length) {
      report.fill(main, make("p", { class: "likely" }, frontier.why));
      return;
    }
    if (frontier.points.some((point) => point.streaming))
      report.fill(main, make("div", { class: "tools" }, report.choice("Accuracy", [["accuracy", "of results"], ["streaming", "streaming: of what is shown at every frame"]], state.accuracy, (value) => { state.accuracy = value; report.show(); })));
    report.fill(
      main,
      make("p", { class: "quiet" }, "Up and to the left is better. The grey steps are the frontier: no point beats it in accuracy at that cost or less. Crosses are 95 % intervals; hollow points answer less than 90 % of the frames."),
      make("div", { class: "two" }, panel("latency_s", 1e3, "ms", "latency, capture to result"), panel("frame_bytes", 1e-3, "kB", "uplink a captured frame")),
    );
    const shown = (estimate, scale, digits) => {
      const half = estimate[1] === null ? "" : ` ±${((scale * (estimate[2] - estimate[1])) / 2).toFixed(digits)}`;
      return [(scale * estimate[0]).toFixed(digits), half ? make("span", { class: "pm" }, half) : ""];
    };
    const number = (name, key, scale, digits, better) => ({ name, better, digits: (value) => Number((value * scale).toFixed(digits)), of: (row) => (row[key] ? row[key][0] : NaN), show: (row) => (row[key] ? shown(row[key], scale, digits) : "–") });
    report.fill(
      main,
      report.table(
        [
          { name: "system", isName: true, of: (row) => systems[row.system].label, show: (row) => [report.dot(row.system), report.systemLink(row.system)] },
          ...(frontier.points.some((point) => point.setting) ? [{ name: "setting", isName: true, wrap: true, of: (row) => row.setting || "–" }] : []),
          { name: "runs", of: (row) => row.runs },
          { name: "answered (%)", better: true, of: (row) => row.answered, show: (row) => (100 * row.answered).toFixed(0) },
          number("accuracy", "accuracy", 1, 3, true),
          ...(frontier.points.some((point) => point.streaming) ? [number("streaming accuracy", "streaming", 1, 3, true)] : []),
          number("latency (ms)", "latency_s", 1e3, 1, false),
          number("uplink (kB/frame)", "frame_bytes", 1e-3, 1, false),
          { name: "frontier", isName: true, of: (row) => Object.entries(frontier.best).filter(([, places]) => places.includes(frontier.points.indexOf(row))).map(([cost]) => (cost === "latency_s" ? "latency" : "bytes")).join(", ") || "–" },
        ],
        frontier.points,
        { caption: "points", group: (row) => row.setting, extra: make("button", { type: "button", onclick: () => report.downloadFrontier() }, "CSV") },
      ),
    );
  };
})(window.report);
