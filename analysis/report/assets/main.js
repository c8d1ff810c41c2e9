// Which section is on the screen: the part after the sign # says it, so that a link leads to it.
(function (report) {
  "use strict";
  const { make } = report;
  const NAMES = [
    ["overview", "Overview"],
    ["compare", "Compare"],
    ["frontier", "Frontier"],
    ["latency", "Latency"],
    ["frames", "Frames"],
    ["systems", "Systems"],
    ["runs", "Runs"],
    ["downloads", "Downloads"],
  ];
  let shown = 0;

  function route() {
    const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
    return report.sections[name] ? [name, rest] : ["overview", []];
  }

  // Draws the section anew; what has the focus and where the page stands are kept.
  report.show = async function (moved) {
    const [name, rest] = route();
    const turn = (shown += 1);
    const main = document.getElementById("main");
    const focused = document.activeElement && main.contains(document.activeElement) ? document.activeElement.id : "";
    const height = window.scrollY;
    report.dropCharts();
    main.replaceChildren();
    document.querySelectorAll("nav a").forEach((link) => {
      const current = link.getAttribute("href") === `#/${name}`;
      if (current) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    });
    await report.sections[name](main, rest);
    if (turn !== shown) return; // another section has been asked for since
    report.startCharts();
    if (moved) {
      window.scrollTo(0, 0);
      if (!main.contains(document.activeElement)) main.focus({ preventScroll: true });
    } else {
      window.scrollTo(0, height);
      if (focused && document.getElementById(focused)) document.getElementById(focused).focus({ preventScroll: true });
    }
    document.documentElement.dataset.section = [name, ...rest].join("/");
  };

  async function start() {
    const content = await report.read();
    const { systems, shared } = content;
    document.getElementById("subtitle").textContent = `${report.list(systems.map((one) => one.label))}${shared.trace && !shared.differing.includes("trace") ? ` on ${shared.trace}` : ""}`;
    document.title = `FluxShard report: ${content.folders.join(", ")}`;
    document.getElementById("sections").append(
      ...NAMES.filter(([name]) => report.sections[name]).map(([name, text]) => make("li", {}, make("a", { href: `#/${name}` }, text))),
    );
    document.getElementById("skip").addEventListener("click", () => document.getElementById("main").focus());
    report.startTheme(() => report.show(false));
    window.addEventListener("hashchange", () => report.show(true));
    await report.show(false);
  }

  start().catch((error) => {
    document.getElementById("main").replaceChildren(make("p", { class: "likely" }, `This page cannot be read: ${error.message}`));
    throw error;
  });
})(window.report);
