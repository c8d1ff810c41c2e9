// One run over time: what each result's latency is made of, and beneath it the link's rate and its queue.
(function (report) {
  "use strict";
  const { make } = report;
  const state = { run: null, camera: 0 };

  const byTime = (frames, camera) => {
    const kept = [];
    for (let row = 0; row < frames.rows; row += 1) if (frames.camera[row] === camera) kept.push(row);
    return kept;
  };

  // Bytes that wait in the uplink, or leave it, at each moment: critical messages, from queueing to the last byte.
  function queue(frames) {
    const enqueued = report.column(frames, "uplink_enqueued_s");
    const delivered = report.column(frames, "uplink_delivered_s");
    const changes = [];
    for (let row = 0; row < frames.rows; row += 1) {
      if (Number.isNaN(enqueued[row])) continue;
      changes.push([enqueued[row], frames.uplink_bytes[row]]);
      if (!Number.isNaN(delivered[row])) changes.push([delivered[row], -frames.uplink_bytes[row]]);
    }
    changes.sort((one, other) => one[0] - other[0]);
    let level = 0;
    return changes.map(([time, bytes]) => [time, Math.max(0, (level += bytes)) / 1e3]);
  }

  // What messages got: bytes over the time from queueing to the last byte, waiting included.
  function got(frames, rows) {
    const enqueued = report.column(frames, "uplink_enqueued_s");
    const delivered = report.column(frames, "uplink_delivered_s");
    return rows
      .filter((row) => delivered[row] > enqueued[row])
      .map((row) => [delivered[row], (8e-6 * frames.uplink_bytes[row]) / (delivered[row] - enqueued[row])]);
  }

  function charts(frames, run) {
    const rows = byTime(frames, state.camera);
    const done = rows.filter((row) => frames.outcome[row] === 0);
    const lost = rows.filter((row) => frames.outcome[row] !== 0);
    const stages = report.content.stages.filter((stage) => frames[stage] && done.some((row) => frames[stage][row] > 0));
    const estimate = report.column(frames, "bandwidth_estimate_bps");
    const link = report.content.runs[run].link;
    const last = rows.length ? frames.captured_s[rows[rows.length - 1]] : 1;
    const shown = Math.min(1, 120 / Math.max(1, rows.length));
    const bars = stages.map((stage) => {
      const [name, colour] = report.STAGES[stage];
      return { type: "bar", stack: "stages", name, barCategoryGap: "12%", itemStyle: { color: colour }, data: done.map((row) => [frames.captured_s[row], 1e3 * frames[stage][row]]), xAxisIndex: 0, yAxisIndex: 0, barMaxWidth: 14 };
    });
    const line = (name, data, colour, more) => ({ type: "line", name, data, symbol: "none", connectNulls: false, itemStyle: { color: colour }, lineStyle: { color: colour, width: 1.6 }, ...more });
    const queueColour = report.readable("#7a1f5c");
    const rates = [
      link ? line("link rate", [...link, [last, link[link.length - 1][1]]].map(([time, bps]) => [time, 1e-6 * bps]), "#0072b2", { step: "end", areaStyle: { opacity: 0.15 } }) : null,
      line("what messages got", got(frames, rows), "#009e73", { symbol: "circle", symbolSize: 4, lineStyle: { width: 0 } }),
      line("the edge's estimate", rows.filter((row) => !Number.isNaN(estimate[row])).map((row) => [frames.captured_s[row], 1e-6 * estimate[row]]), "#d55e00", { lineStyle: { color: "#d55e00", width: 1.6, type: "dashed" } }),
    ].filter((series) => series && series.data.length);
    // A message of which a millisecond of the link has room for all got a rate without meaning: off the axis.
    const values = rates.flatMap((series) => series.data.map((one) => one[1])).sort((one, other) => one - other);
    const most = values.length ? 1.6 * values[Math.floor(0.93 * (values.length - 1))] : 1;
    const option = (width) => {
      const left = width < 500 ? 44 : 62;
      const at = (top, height) => ({ left, right: 14, top, height });
      const x = (place, more) => report.axis({ type: "value", gridIndex: place, min: -0.02 * last, max: 1.02 * last, containShape: false, splitLine: { show: false }, axisLabel: { show: place === 2, color: report.paint("quiet"), hideOverlap: true, showMinLabel: false, showMaxLabel: false, formatter: (value) => `${Number(value.toFixed(2))}` }, ...more });
      const y = (place, name, more) => report.axis({ type: "value", gridIndex: place, name, nameGap: left - 18, splitNumber: 3, min: 0, ...more });
      return {
        legend: { type: "scroll", top: 0, textStyle: { color: report.paint("ink") }, pageTextStyle: { color: report.paint("quiet") }, itemWidth: 14 },
        grid: [at(44, 230), at(298, 110), at(434, 90)],
        xAxis: [x(0), x(1), x(2, { name: "time of capture (s)" })],
        yAxis: [y(0, "latency (ms)"), y(1, "Mbit/s", { max: Number(most.toPrecision(2)) }), y(2, "queue (kB)")],
        axisPointer: { link: [{ xAxisIndex: "all" }] },
        dataZoom: [
          { type: "inside", xAxisIndex: [0, 1, 2], start: 0, end: 100 * shown, filterMode: "weakFilter", zoomOnMouseWheel: "ctrl" },
          { type: "slider", xAxisIndex: [0, 1, 2], bottom: 4, height: 22, filterMode: "weakFilter", labelFormatter: (value) => `${value.toFixed(1)} s`, textStyle: { color: report.paint("quiet") } },
        ],
        tooltip: {
          ...report.tip("axis"),
          formatter: (all) => all.length ? `${Number(all[0].axisValue).toFixed(3)} s<br>${all.map((one) => `${one.marker}${report.escaped(one.seriesName)} ${Number(one.value[1]).toFixed(1)}`).join("<br>")}` : "",
        },
        series: [
          ...bars,
          { type: "scatter", name: "no result", data: lost.map((row) => [frames.captured_s[row], 0]), symbol: "triangle", symbolSize: 8, itemStyle: { color: report.paint("likely") }, xAxisIndex: 0, yAxisIndex: 0 },
          ...rates.map((series) => ({ ...series, xAxisIndex: 1, yAxisIndex: 1 })),
          line("uplink queue", queue(frames), queueColour, { step: "end", areaStyle: { color: queueColour, opacity: 0.3 }, xAxisIndex: 2, yAxisIndex: 2 }),
        ],
      };
    };
    const mean = (stage) => done.reduce((sum, row) => sum + frames[stage][row], 0) / Math.max(1, done.length);
    const label = `Stages of ${done.length} results over time: ${stages.map((stage) => `${report.STAGES[stage][0]} ${(1e3 * mean(stage)).toFixed(1)} ms on average`).join(", ")}; ${lost.length} frames without a result`;
    return report.chart(option, 590, label);
  }

  report.sections.latency = function (main, [wanted]) {
    const { runs } = report.content;
    const names = report.runNames();
    const possible = runs.map((_, place) => place).filter((place) => report.stored(`frames-${place}`) !== null);
    if (wanted !== undefined && possible.includes(Number(wanted))) state.run = Number(wanted);
    if (!possible.includes(state.run)) [state.run] = possible;
    report.fill(
      main,
      make("h2", {}, "Latency anatomy"),
      make("div", { class: "tools" },
        report.choice("Run", possible.map((place) => [place, names[place]]), state.run, (value) => { location.hash = `#/latency/${value}`; }, { id: "latency-run" }),
        make("button", { type: "button", onclick: () => report.downloadFrames(state.run) }, "CSV of its frames")),
    );
    const box = make("div", {});
    report.fill(main, box);
    return report.frames(state.run).then((frames) => {
      const cameras = [...new Set(frames.camera)];
      if (!cameras.includes(state.camera)) [state.camera] = cameras;
      if (cameras.length > 1)
        report.fill(box, make("div", { class: "tools" }, report.choice("Camera", cameras.map((one) => [one, one]), state.camera, (value) => { state.camera = Number(value); report.show(); })));
      report.fill(
      box,
        charts(frames, state.run),
        make("p", { class: "quiet" }, "One bar a result, where its frame was captured; triangles are frames without one. The slider chooses the time, Ctrl and the wheel zoom. ",
          runs[state.run].link ? "" : "This run has not left the link's own rate (timeline=true or inspect=true does); “what messages got” is bytes over the time from queueing to the last byte. ",
          frames.rows < frames.captured ? `The first ${frames.rows} of ${frames.captured} frames are in this page. ` : ""),
      );
    });
  };
})(window.report);
