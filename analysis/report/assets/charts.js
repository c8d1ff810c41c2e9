// Charts of the library in the page's colours: how they are started, and the shapes that several sections use.
(function (report) {
  "use strict";
  const { make } = report;
  let shown = []; // of the section on the screen
  const observer = new ResizeObserver((entries) =>
    entries.forEach(({ target }) => {
      const chart = window.echarts.getInstanceByDom(target);
      if (chart) chart.resize();
    }),
  );

  function started(box, made) {
    const chart = window.echarts.init(box, null, { renderer: "canvas" });
    if (!performance.getEntriesByName("first-chart").length)
      chart.on("finished", () => {
        if (!performance.getEntriesByName("first-chart").length) performance.mark("first-chart");
      });
    chart.setOption(made(box.clientWidth));
    observer.observe(box);
    return chart;
  }

  // A box that becomes a chart once it is in the page. `option(width)` gives what the library draws.
  report.chart = function (option, height, label) {
    const box = make("div", { class: "chart", role: "img", "aria-label": label, style: `height:${height}px` });
    shown.push({ box, option });
    return box;
  };

  report.startCharts = function () {
    shown.filter((one) => !one.chart && one.box.isConnected).forEach((one) => {
      one.chart = started(one.box, (width) => ({ ...base(), ...one.option(width) }));
    });
    return shown.map((one) => one.chart);
  };

  report.dropCharts = function () {
    shown.forEach((one) => {
      observer.unobserve(one.box);
      if (one.chart) one.chart.dispose();
    });
    shown = [];
  };

  function base() {
    return {
      animation: false,
      textStyle: { color: report.paint("ink"), fontFamily: "system-ui, sans-serif" },
      tooltip: tip("item"),
    };
  }

  function tip(trigger) {
    return {
      trigger,
      confine: true,
      backgroundColor: report.paint("raised"),
      borderColor: report.paint("line"),
      textStyle: { color: report.paint("ink"), fontSize: 12 },
    };
  }
  report.tip = tip;

  report.axis = (more) => ({
    axisLine: { lineStyle: { color: report.paint("line") } },
    axisLabel: { color: report.paint("quiet"), hideOverlap: true },
    splitLine: { lineStyle: { color: report.paint("line"), opacity: 0.5 } },
    nameTextStyle: { color: report.paint("quiet") },
    nameLocation: "middle",
    nameGap: 28,
    ...more,
  });

  report.escaped = (text) =>
    String(text).replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);

  const whisker = (from, to, colour, across) => {
    const [dx, dy] = across;
    const line = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: colour, lineWidth: 2 } });
    return [
      line(from[0], from[1], to[0], to[1]),
      line(from[0] - dx, from[1] - dy, from[0] + dx, from[1] + dy),
      line(to[0] - dx, to[1] - dy, to[0] + dx, to[1] + dy),
    ];
  };

  // Points with intervals, one a row: {label, colour, value, low, high, faint, note}.
  report.forest = function (rows, options) {
    const draw = (params, api) => {
      const row = rows[api.value(0)];
      const at = api.coord([row.value, api.value(0)]);
      const children = [{ type: "circle", shape: { cx: at[0], cy: at[1], r: 5 }, style: { fill: row.faint ? report.paint("paper") : row.colour, stroke: row.colour, lineWidth: 2 } }];
      if (row.low !== null && row.low !== undefined)
        children.unshift(...whisker(api.coord([row.low, api.value(0)]), api.coord([row.high, api.value(0)]), row.colour, [0, 4]));
      return { type: "group", children };
    };
    const ends = rows.flatMap((row) => [row.value, row.low, row.high]).filter((one) => one !== null && one !== undefined && !Number.isNaN(one));
    const zero = options.zero ? [0] : [];
    const low = Math.min(...ends, ...zero);
    const high = Math.max(...ends, ...zero);
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    const height = 26 * rows.length + 78;
    const option = (width) => {
      const space = Math.min(260, width * 0.42);
      return {
        grid: { left: space, right: 18, top: 8, bottom: 46 },
        xAxis: report.axis({ type: "value", min: low - room, max: high + room, name: options.name, axisLabel: { color: report.paint("quiet"), hideOverlap: true, showMinLabel: false, showMaxLabel: false } }),
        yAxis: {
          type: "category",
          inverse: true,
          data: rows.map((row) => row.label),
          axisLine: { show: false },
          axisTick: { show: false },
          axisLabel: { color: report.paint("ink"), width: space - 10, overflow: "truncate", interval: 0 },
        },
        tooltip: { ...tip("item"), formatter: (params) => report.escaped(rows[params.data[0]].note) },
        series: [
          {
            type: "custom",
            renderItem: draw,
            encode: { x: 1, y: 0 },
            data: rows.map((row, place) => [place, row.value]),
            markLine: options.zero ? { silent: true, symbol: "none", label: { show: false }, lineStyle: { color: report.paint("quiet"), type: "solid" }, data: [{ xAxis: 0 }] } : undefined,
          },
        ],
      };
    };
    const label = `${options.name}: ${rows.map((row) => row.note).join("; ")}`;
    return report.chart(option, height, label);
  };

  // From the lowest to the highest end of all intervals, with room beside them; on a logarithmic axis above 0.
  function reach(estimates, log) {
    const ends = estimates.flat().filter((one) => one !== null && (!log || one > 0));
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    if (log) return { min: low / 1.15, max: high * 1.15 };
    const room = (high - low || Math.abs(high) || 1) * 0.07;
    return { min: low - room, max: high + room };
  }

  const plain = (value) => `${Number(value.toPrecision(3))}`;

  // Points with intervals both ways: {x: [value, low, high], y: …, colour, hollow, note, label}.
  report.crosses = function (points, options) {
    const placed = []; // corners of labels, which give way to each other
    const draw = (params, api) => {
      if (params.dataIndexInside === 0) placed.length = 0;
      const point = points[api.value(2)];
      const at = api.coord([api.value(0), api.value(1)]);
      const children = [];
      const least = options.log ? point.x[0] / 50 : -Infinity; // an end below zero is nowhere on a logarithmic axis
      if (point.x[1] !== null) children.push(...whisker(api.coord([Math.max(point.x[1], least), point.y[0]]), api.coord([point.x[2], point.y[0]]), point.colour, [0, 4]));
      if (point.y[1] !== null) children.push(...whisker(api.coord([point.x[0], point.y[1]]), api.coord([point.x[0], point.y[2]]), point.colour, [4, 0]));
      children.push({ type: "circle", shape: { cx: at[0], cy: at[1], r: 6 }, style: { fill: point.hollow ? report.paint("paper") : point.colour, stroke: point.colour, lineWidth: 2 } });
      const { x, width } = params.coordSys;
      const onTheLeft = at[0] > x + width - 90;
      let height = at[1] - 16;
      const taken = () => placed.some(([left, top]) => Math.abs(left - at[0]) < 90 && Math.abs(top - height) < 13);
      while (point.isName && taken()) height += 13; // a name finds a place; a setting that finds none goes without
      if (point.label && !taken()) {
        placed.push([at[0], height]);
        children.push({ type: "text", x: at[0] + (onTheLeft ? -9 : 9), y: height, style: { text: point.label, textAlign: onTheLeft ? "right" : "left", fill: report.paint("ink"), font: "12px system-ui, sans-serif" } });
      }
      return { type: "group", children };
    };
    const option = () => ({
      grid: { left: 58, right: 24, top: 16, bottom: 52 },
      xAxis: report.axis({ type: options.log ? "log" : "value", name: options.x, ...reach(points.map((one) => one.x), options.log), logBase: 2, axisLabel: { showMinLabel: false, showMaxLabel: false, color: report.paint("quiet"), hideOverlap: true, formatter: plain } }),
      yAxis: report.axis({ type: "value", name: options.y, ...reach(points.map((one) => one.y), false), nameGap: 40, axisLabel: { color: report.paint("quiet"), showMinLabel: false, showMaxLabel: false, formatter: plain } }),
      tooltip: { ...tip("item"), formatter: (params) => (params.seriesType === "custom" ? report.escaped(points[params.data[2]].note) : "") },
      series: [
        {
          type: "line",
          step: "end",
          silent: true,
          symbol: "none",
          data: options.best,
          lineStyle: { color: report.paint("quiet"), width: 6, opacity: 0.3 },
        },
        { type: "custom", renderItem: draw, clip: true, data: points.map((point, place) => [point.x[0], point.y[0], place]), encode: { x: 0, y: 1 } },
      ],
    });
    return report.chart(option, 380, options.label);
  };

  // Curves of share over time: {name, colour, dash, points: [[x, share]]}.
  report.curves = function (lines, options) {
    const option = () => ({
      grid: { left: 52, right: 20, top: 34, bottom: 52 },
      legend: { type: "scroll", top: 0, textStyle: { color: report.paint("ink") }, pageTextStyle: { color: report.paint("quiet") } },
      xAxis: report.axis({ type: "log", name: options.x }),
      yAxis: report.axis({ type: "value", min: 0, max: 1, name: options.y, nameGap: 36 }),
      tooltip: { ...tip("item"), formatter: (params) => `${report.escaped(params.seriesName)}<br>${(100 * params.data[1]).toFixed(1)} % within ${params.data[0].toFixed(1)} ms` },
      series: lines.map((line) => ({
        type: "line",
        name: line.name,
        data: line.points,
        symbol: "circle",
        symbolSize: 3,
        showSymbol: lines.length < 30,
        itemStyle: { color: line.colour },
        lineStyle: { color: line.colour, width: 2, type: line.dash.length ? line.dash : "solid" },
      })),
    });
    return report.chart(option, 340, options.label);
  };
})(window.report);
