// Frame by frame: the frame with the state of its blocks and vectors, what was found in it, what dense
// inference finds, and what each stage cost. Arrow keys step.
(function (report) {
  "use strict";
  const { make } = report;
  const WIDTH = 640; // of the canvases, in their own pixels
  const STATES = {
    reused: ["#009e73", "features moved along the vector"],
    computed: ["#e69f00", "given to inference"],
    sent: ["#0072b2", "crossed the uplink before the result"],
    active: ["#f0e442", "must be recomputed"],
    stale: ["#d6006c", "differs from the frame in what the result rests on"],
  };
  const state = { run: null, at: null, shown: new Set(["reused", "computed", "sent", "stale"]), vectors: false, playing: null };
  const opened = new Map();
  let pictures = null;

  async function array({ shape, kind, data }) {
    const bytes = await report.inflated(data);
    const kinds = { uint8: Uint8Array, int8: Int8Array, int16: Int16Array };
    return { shape, values: new kinds[kind](bytes.buffer, 0, shape.reduce((one, other) => one * other, 1)) };
  }

  // The inspection of a run: its content, with arrays by name.
  function inspection(run) {
    if (!opened.has(run)) {
      opened.set(run, (async () => {
        const packed = JSON.parse(report.stored(`inspection-${run}`));
        const content = JSON.parse(new TextDecoder().decode(await report.inflated(packed.data)));
        const arrays = await Promise.all(Object.entries(content.arrays).map(async ([name, one]) => [name, await array(one)]));
        return { ...content, arrays: Object.fromEntries(arrays) };
      })());
    }
    return opened.get(run);
  }

  function picture(digest) {
    if (pictures === null) pictures = JSON.parse(report.stored("pictures"));
    const image = new Image();
    image.src = `data:image/jpeg;base64,${pictures[digest]}`;
    return image.decode().then(() => image);
  }

  // The hue of a class, as overlay.mp4 has it: neighbouring classes are a golden section apart.
  const hue = (label) => Math.round(360 * (((label + 1) * 0.381966) % 1));
  const classColour = (label) => `hsl(${hue(label)} 90% 50%)`;

  const blocksOf = (found, at) => {
    const { rows, columns } = found;
    return found.arrays.states.values.subarray(at * rows * columns, (at + 1) * rows * columns);
  };

  function counts(found, at) {
    const known = found.arrays.known.values[at];
    const blocks = blocksOf(found, at);
    return Object.fromEntries(
      Object.entries(found.states).map(([name, bit]) => [name, known & bit ? blocks.reduce((sum, one) => sum + (one & bit ? 1 : 0), 0) : null]),
    );
  }

  function drawBlocks(pen, found, at, scale) {
    const blocks = blocksOf(found, at);
    const side = found.block_px * scale;
    const sentToo = state.shown.has("sent") ? found.states.sent : 0;
    const each = (name, paint) => {
      if (!state.shown.has(name)) return;
      const bit = found.states[name];
      if (!(found.arrays.known.values[at] & bit)) return;
      [pen.fillStyle, pen.strokeStyle] = [STATES[name][0], STATES[name][0]];
      blocks.forEach((one, place) => {
        // Of a block that was sent and computed one colour is seen: two over each other are none of the legend's.
        if (one & bit && !(name === "computed" && one & sentToo)) paint((place % found.columns) * side, Math.floor(place / found.columns) * side);
      });
    };
    const filled = (alpha) => (x, y) => {
      pen.globalAlpha = alpha;
      pen.fillRect(x, y, side, side);
    };
    pen.lineWidth = 1.5;
    each("reused", filled(0.22));
    each("computed", filled(0.5));
    each("sent", filled(0.55));
    const outlined = (x, y) => {
      pen.globalAlpha = 1;
      pen.strokeRect(x + 1, y + 1, side - 2, side - 2);
    };
    each("active", outlined);
    each("stale", (x, y) => {
      outlined(x, y);
      pen.beginPath();
      pen.moveTo(x, y + side);
      pen.lineTo(x + side, y);
      pen.stroke();
    });
    pen.globalAlpha = 1;
  }

  function drawVectors(pen, found, at, scale) {
    if (!state.vectors || !found.arrays.has_vectors.values[at]) return;
    const { rows, columns } = found;
    const vectors = found.arrays.vectors.values.subarray(at * rows * columns * 2, (at + 1) * rows * columns * 2);
    const middle = found.block_px / 2;
    pen.lineWidth = 1.2;
    for (let place = 0; place < rows * columns; place += 1) {
      const [dx, dy] = [vectors[2 * place], vectors[2 * place + 1]];
      if (dx === 0 && dy === 0) continue;
      const x = scale * ((place % columns) * found.block_px + middle);
      const y = scale * (Math.floor(place / columns) * found.block_px + middle);
      for (const [colour, width] of [["#000000", 3], ["#ffffff", 1.2]]) {
        [pen.strokeStyle, pen.lineWidth] = [colour, width];
        pen.beginPath();
        pen.moveTo(x, y);
        pen.lineTo(x + scale * dx, y + scale * dy);
        pen.stroke();
      }
    }
  }

  function drawFound(pen, found, at, which, scale) {
    const maps = found.arrays[which];
    if (maps) {
      const [, height, width] = maps.shape;
      const labels = maps.values.subarray(at * height * width, (at + 1) * height * width);
      const layer = document.createElement("canvas");
      [layer.width, layer.height] = [width, height];
      const paint = layer.getContext("2d");
      const image = paint.createImageData(width, height);
      const known = new Map();
      labels.forEach((label, place) => {
        if (label === 0) return;
        if (!known.has(label)) known.set(label, channels(hue(label - 1)));
        image.data.set(known.get(label), 4 * place);
      });
      paint.putImageData(image, 0, 0);
      pen.drawImage(layer, 0, 0, pen.canvas.width, pen.canvas.height);
    }
    const outlines = found.frames[at][which];
    if (!outlines) return;
    pen.font = "600 15px system-ui, sans-serif";
    pen.lineWidth = 2;
    outlines.boxes.forEach(([x1, y1, x2, y2, label]) => {
      if ((x2 - x1) * (y2 - y1) < 60) return;
      pen.strokeStyle = classColour(label);
      pen.strokeRect(x1 * scale, y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale);
      const name = found.classes[label] || `${label}`;
      if ((x2 - x1) * scale < 24) return;
      pen.fillStyle = "rgba(0,0,0,.65)";
      pen.fillRect(x1 * scale, y1 * scale, pen.measureText(name).width + 6, 18);
      pen.fillStyle = "#ffffff";
      pen.fillText(name, x1 * scale + 3, y1 * scale + 14);
    });
    outlines.labels.forEach(([label, score], line) => {
      const text = `${found.classes[label] || `class ${label}`} ${score.toFixed(2)}`;
      pen.fillStyle = "rgba(0,0,0,.65)";
      pen.fillRect(0, 22 * line, pen.measureText(text).width + 10, 22);
      pen.fillStyle = "#ffffff";
      pen.fillText(text, 5, 22 * line + 16);
    });
    outlines.points.forEach(([x, y]) => {
      pen.fillStyle = "#ffffff";
      pen.beginPath();
      pen.arc(x * scale, y * scale, 4, 0, 7);
      pen.fill();
    });
  }

  // Red, green and blue of a saturated hue, half transparent.
  function channels(angle) {
    const part = (shift) => {
      const at = (shift + angle / 30) % 12;
      return Math.round(255 * (0.5 - 0.45 * Math.max(-1, Math.min(at - 3, 9 - at, 1))));
    };
    return [part(0), part(8), part(4), 130];
  }

  function costs(found, frames, at) {
    const number = found.frames[at].frame;
    let row = -1;
    for (let place = 0; place < frames.rows; place += 1) if (frames.frame[place] === number && frames.camera[place] === found.camera) row = place;
    if (row < 0) return [make("p", { class: "quiet" }, "This frame's row is not in this page.")];
    const value = (name) => report.column(frames, name)[row];
    const stages = report.content.stages.map((stage) => [report.STAGES[stage][0], report.STAGES[stage][1], value(stage)]).filter(([, , seconds]) => seconds > 0);
    const ms = (seconds) => `${(1e3 * seconds).toFixed(1)} ms`;
    const told = [
      ["captured", `${value("captured_s").toFixed(3)} s`],
      ["path", report.content.paths[value("path")] || "–"],
      ["latency", ms(value("latency_s"))],
      ["expected", Number.isNaN(value("predicted_latency_s")) ? "–" : ms(value("predicted_latency_s"))],
      ["accuracy", value("accuracy").toFixed(3)],
      ["EA", value("ea").toFixed(3)],
      ["sent up", `${((value("uplink_bytes") || 0) / 1e3).toFixed(1)} kB`],
      ["opportunistic", `${((value("uplink_opportunistic_bytes") || 0) / 1e3).toFixed(1)} kB`],
    ];
    const said = stages.map(([name, , seconds]) => `${name} ${ms(seconds)}`).join(", ");
    return [
      make("dl", { class: "facts" }, told.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text)))),
      report.bar(stages.map(([name, colour, seconds]) => [name, colour, seconds, ms(seconds)]), said),
      report.legend(stages.map(([name, colour, seconds]) => [`${name} ${ms(seconds)}`, colour])),
    ];
  }

  function panel(title) {
    const canvas = make("canvas", { width: WIDTH, height: WIDTH, role: "img" });
    return { canvas, box: make("figure", {}, make("figcaption", {}, title), canvas) };
  }

  report.sections.frames = async function (main, [wanted, frame]) {
    const { inspected } = report.content;
    const names = report.runNames();
    report.fill(main, make("h2", {}, "Frame inspector"));
    if (!inspected.length) {
      report.fill(main, make("p", {}, "No run of this report has recorded its frames: ", make("code", {}, "python -m sim … inspect=true"), " does."));
      return;
    }
    if (wanted !== undefined && inspected.includes(Number(wanted))) state.run = Number(wanted);
    if (!inspected.includes(state.run)) [state.run] = inspected;
    const found = await inspection(state.run);
    const frames = await report.frames(state.run);
    if (!found.frames.length) {
      report.fill(main, make("p", {}, "No frame of this run gave a result."));
      return;
    }
    const asked = found.frames.findIndex((one) => one.frame === Number(frame));
    if (frame !== undefined && asked >= 0) state.at = asked;
    if (state.at === null) state.at = found.frames.length >> 1; // the first is sent whole, and tells little
    state.at = Math.min(state.at, found.frames.length - 1);
    const scale = WIDTH / found.width_px;
    const panels = { blocks: panel("What was done with its blocks"), shown: panel("What was found"), dense: panel("Dense inference on the true frame") };
    Object.values(panels).forEach(({ canvas }) => { canvas.height = Math.round(found.height_px * scale); });
    const hasDense = found.frames.some((one) => one.dense);
    const hasResult = found.frames.some((one) => one.shown);
    const last = found.frames.length - 1;
    const slider = make("input", { type: "range", min: 0, max: last, value: state.at, id: "inspector-slider", "aria-label": "Frame", oninput: () => go(Number(slider.value)) });
    const title = make("output", { for: "inspector-slider", "aria-live": "polite" });
    const play = make("button", { type: "button", onclick: toggle }, "▶ play");
    const facts = make("div", {});
    const known = make("div", { class: "tools", role: "group", "aria-label": "States of blocks" });

    function toggle() {
      if (state.playing !== null) {
        clearInterval(state.playing);
        state.playing = null;
      } else
        state.playing = setInterval(() => {
          if (!slider.isConnected) toggle();
          else go(state.at === last ? 0 : state.at + 1);
        }, 200);
      play.textContent = state.playing === null ? "▶ play" : "❚❚ stop";
      title.setAttribute("aria-live", state.playing === null ? "polite" : "off");
    }

    function go(at) {
      state.at = Math.max(0, Math.min(last, at));
      slider.value = state.at;
      return draw();
    }

    async function draw() {
      const at = state.at;
      const image = await picture(found.frames[at].picture);
      if (at !== state.at) return; // stepped on since
      title.textContent = `frame ${found.frames[at].frame}`;
      slider.setAttribute("aria-valuetext", title.textContent);
      Object.entries(panels).forEach(([name, { canvas }]) => {
        const pen = canvas.getContext("2d");
        pen.drawImage(image, 0, 0, canvas.width, canvas.height);
        if (name === "blocks") {
          drawBlocks(pen, found, at, scale);
          drawVectors(pen, found, at, scale);
        } else drawFound(pen, found, at, name, scale);
      });
      const number = counts(found, at);
      const said = Object.entries(number).map(([name, count]) => `${name}: ${count === null ? "not known" : count}`).join(", ");
      panels.blocks.canvas.setAttribute("aria-label", `Frame ${found.frames[at].frame}, blocks ${said}`);
      ["shown", "dense"].forEach((name) => {
        const outlines = found.frames[at][name];
        panels[name].canvas.setAttribute("aria-label", outlines ? `${[...outlines.boxes.map((box) => box[4]), ...outlines.labels.map(([label]) => label)].map((label) => found.classes[label] || label).join(", ") || "nothing"} found` : "no result recorded");
      });
      known.replaceChildren(
        ...Object.entries(STATES).map(([name, [colour, meaning]]) =>
          make("button", { type: "button", id: `state-${name}`, title: meaning, "aria-pressed": String(state.shown.has(name)), disabled: number[name] === null, onclick: () => { state.shown[state.shown.has(name) ? "delete" : "add"](name); draw().then(() => document.getElementById(`state-${name}`).focus()); } },
            make("span", { class: "dot", style: `background:${colour}` }), `${name} ${number[name] === null ? "not known" : number[name]}`)),
        make("button", { type: "button", id: "state-vectors", "aria-pressed": String(state.vectors), disabled: !found.arrays.has_vectors.values[at], onclick: () => { state.vectors = !state.vectors; draw().then(() => document.getElementById("state-vectors").focus()); } }, "vectors"),
      );
      facts.replaceChildren(...costs(found, frames, at));
      document.documentElement.dataset.frame = String(found.frames[at].frame);
    }

    const inspector = make(
      "div",
      {
        class: "inspector",
        onkeydown: (event) => {
          if (event.target.tagName === "SELECT") return;
          const steps = { ArrowLeft: state.at - 1, ArrowRight: state.at + 1, PageUp: state.at - 10, PageDown: state.at + 10, Home: 0, End: last };
          if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
          event.preventDefault();
          go(steps[event.key]);
        },
      },
      make(
        "div",
        { class: "tools" },
        report.choice("Run", inspected.map((place) => [place, names[place]]), state.run, (value) => { location.hash = `#/frames/${value}/${found.frames[state.at].frame}`; }, { id: "inspector-run" }),
        make("button", { type: "button", "aria-label": "frame before", onclick: () => go(state.at - 1) }, "◀"),
        slider,
        make("button", { type: "button", "aria-label": "next frame", onclick: () => go(state.at + 1) }, "▶"),
        play,
        title,
      ),
      known,
      make("div", { class: "panels" }, panels.blocks.box, hasResult ? panels.shown.box : null, hasDense ? panels.dense.box : null),
      facts,
    );
    report.fill(
      main,
      inspector,
      make("p", { class: "quiet" }, "Arrow keys step, Page up and down by ten, Home and End go to the ends. Frames without a result are left out. A state that the system does not know is “not known”, not zero. Vectors lead from a block to where its features come from."),
    );
    await draw();
    slider.focus({ preventScroll: true });
  };
})(window.report);
