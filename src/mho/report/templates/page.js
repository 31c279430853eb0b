"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);

function withColours(value, style) {
  if (typeof value === "string") {
    return value.replace(/var\((--[a-z]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  }
  if (Array.isArray(value)) return value.map((item) => withColours(item, style));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withColours(item, style)]));
  }
  return value;
}

function draw() {
  const style = getComputedStyle(document.documentElement);
  const family = getComputedStyle(document.body).fontFamily;
  for (const [name, figure] of Object.entries(figures)) {
    const { data, layout } = withColours(figure, style);
    layout.font.family = family;
    Plotly.react("chart-" + name, data, layout, { responsive: true, displaylogo: false, displayModeBar: false });
  }
}

draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
