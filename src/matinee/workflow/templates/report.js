"use strict";
// Draws the charts in the page's colours, again when they change, and reckons costs from prices.
const THEMES = {
  light: {
    text: "#1c2430", line: "#d9dee5",
    colorway: ["#0a5fc2", "#c2510c", "#5d7a00", "#8a3ab9", "#5b6675"],
  },
  dark: {
    text: "#e6eaf0", line: "#2c3440",
    colorway: ["#6cb2ff", "#ff9f68", "#b3d94c", "#d0a5ff", "#9aa6b5"],
  },
};
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const figures = JSON.parse(document.getElementById("figures").textContent);

function template(theme) {
  const axis = {gridcolor: theme.line, linecolor: theme.line, zerolinecolor: theme.line};
  return {
    layout: {
      colorway: theme.colorway,
      font: {color: theme.text, family: "system-ui, sans-serif", size: 13},
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: axis,
      yaxis: axis,
      margin: {l: 10, r: 16, t: 36, b: 10},
      legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom"},
      hoverlabel: {font: {size: 13}},
      separators: ".,",
      dragmode: false,
    },
  };
}

function draw(printing) {
  const theme = dark.matches && !printing ? THEMES.dark : THEMES.light;
  return Promise.all([...document.querySelectorAll("[data-chart]")].map((place) => {
    const figure = figures[place.dataset.chart];
    const layout = {...structuredClone(figure.layout), template: template(theme), autosize: true};
    return Plotly.react(place, structuredClone(figure.data), layout, {
      displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false,
    });
  }));
}

function reckon() {
  const form = document.getElementById("prices");
  if (form === null) return;
  const prices = new Map([...form.querySelectorAll("[data-price]")].map(
    (input) => [input.dataset.price, input.value === "" ? NaN : input.valueAsNumber]));
  const currency = form.elements.currency.value;
  const shown = (amount) =>
    Number.isNaN(amount) ? "no price" : `${amount.toFixed(4)} ${currency}`.trim();
  let total = 0;
  for (const row of document.querySelectorAll("#costs [data-instance]")) {
    const amount = prices.get(row.dataset.instance) * Number(row.dataset.hours);
    row.querySelector(".cost").textContent = shown(amount);
    total += amount;
  }
  document.getElementById("total").textContent = shown(total);
}

document.getElementById("prices")?.addEventListener("input", reckon);
document.getElementById("prices")?.addEventListener("submit", (event) => event.preventDefault());
dark.addEventListener("change", () => draw(false));
window.addEventListener("beforeprint", () => draw(true));
window.addEventListener("afterprint", () => draw(false));
reckon();
draw(false).then(() => document.documentElement.setAttribute("data-drawn", "true"));
