// Refreshes what goes on and draws curves. Pages say all they have to say without it.
"use strict";

const POLL_MS = 2000;

// A tab that nobody looks at asks for nothing; it goes on when it is looked at again.
function whenVisible(action) {
  if (!document.hidden) return action();
  document.addEventListener("visibilitychange", () => whenVisible(action), { once: true });
}

// Asks for an address again and again, for as long as `take` says of the answer that it may change.
function repeat(address, take, delay = 0) {
  async function run() {
    const answer = await fetch(address).catch(() => null); // the server is away; it may come back
    if (answer?.status === 401) location.reload(); // signed out: the page asks to sign in
    else if (!answer?.ok || (await take(answer))) wait(POLL_MS);
  }
  const wait = (milliseconds) => setTimeout(() => whenVisible(run), milliseconds);
  wait(delay);
}

function refresh(place) {
  async function take(answer) {
    const news = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of news.querySelectorAll("[data-part]")) {
      const old = place.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!old || old.outerHTML === part.outerHTML || old.querySelector(":checked")) continue;
      old.replaceWith(document.adoptNode(part));
    }
    if (answer.headers.get("x-matinee-live") === "yes") return true;
    document.querySelector(".stop")?.remove();
    return false;
  }
  repeat(place.dataset.live, take, POLL_MS);
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function mix(from, to, share) {
  const parts = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  const [a, b] = [parts(from), parts(to)];
  return `rgb(${a.map((value, at) => Math.round(value + (b[at] - value) * share)).join(",")})`;
}

function themed(figure) {
  const axis = { gridcolor: color("--line"), zerolinecolor: color("--line"), automargin: true };
  const { xaxis, yaxis, annotations, ...layout } = figure.layout;
  return {
    data: figure.data.map((trace) => {
      if (trace.meta?.shade === undefined) return trace;
      const line = { color: mix(color("--shade-from"), color("--shade-to"), trace.meta.shade) };
      return { ...trace, line };
    }),
    layout: {
      margin: { l: 48, r: 16, t: 12, b: 40 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: color("--text"), size: 12, family: "system-ui, sans-serif" },
      colorway: color("--series").split(" "),
      hovermode: "x",
      hoverlabel: { bgcolor: color("--card"), font: { color: color("--text") } },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      ...layout,
      annotations: annotations ?? [],
      xaxis: { ...axis, ...xaxis },
      yaxis: { ...axis, ...yaxis },
    },
  };
}

function draw(place, figures) {
  // All of them before any is drawn: their number decides how wide each is.
  while (place.children.length < figures.length) {
    const frame = document.createElement("figure");
    const plot = document.createElement("div");
    plot.className = "plot";
    frame.append(document.createElement("figcaption"), plot);
    place.append(frame);
  }
  figures.forEach((figure, number) => {
    const frame = place.children[number];
    frame.firstChild.textContent = figure.title;
    const { data, layout } = themed(figure);
    Plotly.react(frame.lastChild, data, layout, { displayModeBar: false, responsive: true });
  });
}

function chart(place) {
  let figures = [];
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(place, figures));
  repeat(place.dataset.charts, async (answer) => {
    const news = await answer.json();
    if (JSON.stringify(news.figures) !== JSON.stringify(figures)) draw(place, news.figures);
    figures = news.figures;
    place.dataset.drawn = figures.length;
    return news.is_live;
  });
}

addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-live]").forEach(refresh);
  document.querySelectorAll("[data-charts]").forEach(chart);
});
