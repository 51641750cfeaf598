// Refreshes what goes on and draws curves. Pages say all they have to say without it.
"use strict";

const POLL_MS = 2000;

// A tab that nobody looks at asks for nothing; it goes on when it is looked at again.
function whenVisible(action) {
  if (!document.hidden) return action();
  document.addEventListener("visibilitychange", () => whenVisible(action), { once: true });
}

function repeat(ask) {
  const next = () => setTimeout(() => whenVisible(run), POLL_MS);
  async function run() {
    try {
      if (await ask()) next();
    } catch {
      next(); // the server is away; it may come back
    }
  }
  run();
}

async function get(address) {
  const answer = await fetch(address);
  if (answer.status === 401) location.reload(); // signed out: the page asks to sign in
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer;
}

function refresh(place) {
  let isFirst = true;
  repeat(async () => {
    if (isFirst) {
      isFirst = false;
      return true;
    }
    const answer = await get(place.dataset.live);
    const news = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of news.querySelectorAll("[data-part]")) {
      const old = place.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!old || old.outerHTML === part.outerHTML || old.querySelector(":checked")) continue;
      old.replaceWith(document.adoptNode(part));
    }
    if (answer.headers.get("x-matinee-live") === "yes") return true;
    document.querySelector(".stop")?.remove();
    return false;
  });
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
      legend: { orientation: "h", y: -0.25 },
      ...layout,
      annotations: annotations ?? [],
      xaxis: { ...axis, ...xaxis },
      yaxis: { ...axis, ...yaxis },
    },
  };
}

function draw(place, figures) {
  figures.forEach((figure, number) => {
    let frame = place.children[number];
    if (!frame) {
      frame = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const plot = document.createElement("div");
      plot.className = "plot";
      frame.append(caption, plot);
      place.append(frame);
    }
    frame.firstChild.textContent = figure.title;
    const { data, layout } = themed(figure);
    Plotly.react(frame.lastChild, data, layout, { displayModeBar: false, responsive: true });
  });
}

function chart(place) {
  let figures = [];
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(place, figures));
  repeat(async () => {
    const news = await (await get(place.dataset.charts)).json();
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
