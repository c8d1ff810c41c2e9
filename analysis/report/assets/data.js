// What the page carries: read at once, or unpacked when it is asked for.
// The other way round is analysis/report/packing.py.
window.report = window.report || {};
(function (report) {
  "use strict";
  const UNKNOWN = -(2 ** 31);
  const unpacked = new Map();

  function stored(name) {
    const element = document.getElementById(name);
    return element === null ? null : element.textContent;
  }

  async function inflated(text) {
    const characters = atob(text);
    const bytes = new Uint8Array(characters.length);
    for (let i = 0; i < characters.length; i += 1) bytes[i] = characters.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // Columns by name, each a Float64Array with NaN where a value is not known.
  async function columns(block) {
    const bytes = await inflated(block.data);
    const rows = block.rows;
    const found = { rows, captured: block.captured };
    block.columns.forEach(([name, step], place) => {
      const start = place * rows * 4;
      const values = new Float64Array(rows);
      for (let row = 0; row < rows; row += 1) {
        const at = start + row;
        const whole =
          bytes[at] | (bytes[at + rows] << 8) | (bytes[at + 2 * rows] << 16) | (bytes[at + 3 * rows] << 24);
        values[row] = whole === UNKNOWN ? NaN : whole * step;
      }
      found[name] = values;
    });
    return found;
  }

  report.inflated = inflated;

  report.read = async function () {
    const bytes = await inflated(stored("content"));
    report.content = JSON.parse(new TextDecoder().decode(bytes));
    return report.content;
  };

  // The frames of a run; null where it has none.
  report.frames = function (run) {
    if (!unpacked.has(run)) {
      const text = stored(`frames-${run}`);
      unpacked.set(run, text === null ? Promise.resolve(null) : columns(JSON.parse(text)));
    }
    return unpacked.get(run);
  };

  // A column that a run has not is unknown everywhere.
  report.column = (frames, name) => frames[name] || new Float64Array(frames.rows).fill(NaN);

  report.stored = stored;
})(window.report);
