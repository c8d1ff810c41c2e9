// Light and dark: what the system prefers, until the button says otherwise; colours that stay readable on both.
(function (report) {
  "use strict";
  const prefers = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;

  function isDark() {
    return chosen === null ? prefers.matches : chosen === "dark";
  }

  function apply() {
    document.documentElement.dataset.theme = isDark() ? "dark" : "light";
    document.querySelector("#theme span").textContent = isDark() ? "dark" : "light";
  }

  report.startTheme = function (onchange) {
    document.getElementById("theme").addEventListener("click", () => {
      chosen = isDark() ? "light" : "dark";
      apply();
      onchange();
    });
    prefers.addEventListener("change", () => {
      apply();
      onchange();
    });
    apply();
  };

  report.paint = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

  // A colour mixed with the ink until it stands out of the paper.
  report.readable = function (colour) {
    const [red, green, blue] = channels(colour);
    const light = (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
    const share = isDark() ? Math.max(0, 0.42 - light) / (1 - light) : Math.max(0, light - 0.78) / light;
    const towards = isDark() ? 255 : 0;
    return `rgb(${channels(colour)
      .map((one) => Math.round(one + share * (towards - one)))
      .join(",")})`;
  };

  report.colour = (system) => report.readable(report.content.systems[system].colour);

  // Stages and paths: from Okabe and Ito's and Tol's schemes, apart for colour-blind readers, too.
  report.STAGES = {
    queue_s: ["waiting", "#9aa0a6"],
    extract_s: ["motion search", "#ddcc77"],
    edge_compute_s: ["edge compute", "#e69f00"],
    encode_s: ["encoding", "#cc6677"],
    transmit_s: ["on the links", "#0072b2"],
    decode_s: ["decoding", "#aa4499"],
    cloud_compute_s: ["server compute", "#56b4e9"],
  };
  report.SHARES = {
    cloud: "#0072b2",
    edge: "#e69f00",
    split: "#009e73",
    reused: "#56b4e9",
    replaced: "#bbbbbb",
    dropped: "#7a1f5c",
    in_flight: "#444444",
  };
})(window.report);
