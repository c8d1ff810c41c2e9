// Numbers and elements as a reader sees them.
(function (report) {
  "use strict";

  report.number = function (value, measure) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    return (value * measure.scale).toFixed(measure.digits);
  };

  // "0.564 ±.049" of [value, low, high]; no interval where there is none.
  report.interval = function (values, measure) {
    if (!values) return ["–", ""];
    const shown = report.number(values[0], measure);
    if (values.length < 3 || values[1] === null || values[2] === null) return [shown, ""];
    const half = report.number((values[2] - values[1]) / 2, measure);
    return [shown, ` ±${half.replace(/^0\./, ".")}`];
  };

  report.unit = (measure) => (measure.unit ? `${measure.name} (${measure.unit})` : measure.name);

  // An element with attributes and children; texts are texts, never HTML.
  report.make = function (tag, attributes, ...children) {
    const element = document.createElement(tag);
    Object.entries(attributes || {}).forEach(([key, value]) => {
      if (value === null || value === undefined || value === false) return;
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (key === "style") element.style.cssText = value;
      else element.setAttribute(key, value === true ? "" : value);
    });
    return report.fill(element, ...children);
  };

  // Puts children at the end of an element; what is not there (null, false) is left out.
  report.fill = function (element, ...children) {
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  };

  report.dot = (system) =>
    report.make("span", { class: "dot", style: `background:${report.colour(system)}`, "aria-hidden": "true" });

  report.systemLink = (place) => {
    const system = report.content.systems[place];
    return report.make("a", { href: `#/systems/${encodeURIComponent(system.name)}` }, system.label);
  };

  // A select with its label; `options` are [value, text].
  report.choice = function (label, options, chosen, onchange, attributes) {
    const select = report.make(
      "select",
      { ...attributes, onchange: (event) => onchange(event.target.value) },
      options.map(([value, text]) =>
        report.make("option", { value, selected: String(value) === String(chosen) }, text),
      ),
    );
    return report.make("label", {}, label, select);
  };

  report.runName = function (place) {
    const run = report.content.runs[place];
    const configuration = report.content.configurations.find((one) => one.runs.includes(place));
    const parts = [report.content.systems[run.system].label];
    if (configuration && configuration.setting) parts.push(configuration.setting);
    if (report.content.shared.differing.includes("trace") && configuration) parts.push(configuration.trace);
    if (report.content.shared.differing.includes("video") && configuration) parts.push(configuration.video);
    if (run.label && !parts.join(" ").includes(run.label.replace(" ", "="))) parts.push(run.label);
    return parts.filter(Boolean).join(", ");
  };

  // Names of runs, with their folders where names do not tell them apart.
  report.runNames = function () {
    const names = report.content.runs.map((_, place) => report.runName(place));
    return names.map((name, place) =>
      names.indexOf(name) === names.lastIndexOf(name) ? name : `${name} (${report.content.runs[place].folder})`,
    );
  };

  report.legend = (entries) =>
    report.make(
      "ul",
      { class: "legend" },
      entries.map(([name, colour]) => report.make("li", {}, report.make("i", { style: `background:${colour}` }), name)),
    );

  report.list = function (names) {
    return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
  };
})(window.report);
