"use strict";
// Draws the page's curves from its JSON, hides a group in all charts at once, sorts its tables.
const drawing = JSON.parse(document.getElementById("drawing").textContent);
const DOUBLE_CLICK_MS = 300;
const hidden = new Set();
const charts = [];
let axis = drawing.axes[0];

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const visible = (group) => (hidden.has(group) ? "legendonly" : true);

function band(line, curve, x) {
  const ends = [...curve.high, ...[...curve.low].reverse()];
  return {
    x: [...x, ...[...x].reverse()], y: ends, fill: "toself", fillcolor: line.color + "33", mode: "lines",
    line: { width: 0 }, hoverinfo: "skip", showlegend: false,
  };
}

function curveTraces(curveOf, key, hover) {
  return drawing.lines.flatMap((line, group) => {
    const curve = curveOf(line);
    if (!curve || !curve.x[key]) return [];
    const x = curve.x[key];
    const mean = {
      x, y: curve.mean, name: line.label, mode: x.length > 1 ? "lines" : "markers",
      line: { color: line.color, dash: line.dash, width: 2 }, marker: { color: line.color },
      hovertemplate: `${hover}<extra>%{fullData.name}</extra>`,
    };
    const traces = curve.seeds > 1 ? [band(line, curve, x), mean] : [mean];
    return traces.map((trace) => ({ ...trace, meta: group, visible: visible(group) }));
  });
}

function shareTraces() {
  return curveTraces((line) => line.shares, "value", "%{y:.1%} of clients have at most %{x:.4~g}");
}

function barTraces() {
  return drawing.lines.flatMap((line, group) => {
    if (!line.clients) return [];
    const y = -group;
    const point = (name, symbol) => ({
      x: [line.clients[name]], y: [y], mode: "markers", showlegend: false,
      marker: { symbol, size: 9, color: color("--ink") },
      hovertemplate: `${name.replace("_", " ")} %{x:.4f}<extra></extra>`,
    });
    const range = {
      x: [line.clients.p10, line.clients.p90], y: [y, y], name: line.label, mode: "lines",
      line: { color: line.color, width: 12 }, hovertemplate: "%{x:.4f}<extra>%{fullData.name}</extra>",
    };
    const traces = [range, point("mean", "circle"), point("worst_decile", "x")];
    return traces.map((trace) => ({ ...trace, meta: group, visible: visible(group) }));
  });
}

function layout(chart) {
  const width = chart.node.clientWidth;
  const longest = Math.max(...drawing.lines.map((line) => line.label.length));
  const columns = Math.max(1, Math.floor(width / (longest * 7 + 60)));
  const legend = Math.ceil(drawing.lines.length / columns) * 20;
  const lines = { gridcolor: color("--line"), zerolinecolor: color("--line"), automargin: true };
  const inside = chart.bars ? 40 + 34 * drawing.lines.length : 280;
  return {
    height: inside + legend + 90, margin: { l: 50, r: 10, t: 34, b: 40 },
    title: { text: chart.title, font: { size: 14 } },
    font: { color: color("--ink"), size: 13, family: "system-ui, sans-serif" },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
    // A finger scrolls the page; a mouse zooms, and a double click shows all again.
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    hoverlabel: { namelength: -1 },
    legend: { orientation: "h", y: -60 / inside, yanchor: "top", x: 0, font: { size: 12 } },
    xaxis: chart.metric ? {
      ...lines, title: { text: axis.title, standoff: 8, font: { size: 13 } }, rangemode: "tozero", tickformat: "~s",
    } : lines,
    yaxis: { ...lines, showticklabels: !chart.bars, zeroline: false, showgrid: !chart.bars },
  };
}

function traces(chart) {
  if (chart.shares) return shareTraces();
  if (chart.bars) return barTraces();
  return curveTraces((line) => line.curves[chart.metric], axis.key, "%{y:.4f} at %{x:.4~s}");
}

function draw(chart) {
  const config = { responsive: true, displayModeBar: false, doubleClickDelay: DOUBLE_CLICK_MS };
  return Plotly.react(chart.node, traces(chart), layout(chart), config);
}

async function drawAll() {
  delete document.documentElement.dataset.drawn;
  await Promise.all(charts.map(draw));
  document.documentElement.dataset.drawn = charts.length;
}

function hide(groups) {
  hidden.clear();
  groups.forEach((group) => hidden.add(group));
  drawAll();
}

function toggle(group) {
  hide(hidden.has(group) ? [...hidden].filter((other) => other !== group) : [...hidden, group]);
}

function alone(group) {
  const others = drawing.lines.map((_, i) => i).filter((i) => i !== group);
  hide(others.every((i) => hidden.has(i)) && !hidden.has(group) ? [] : others);
}

function place(chart) {
  chart.node = document.getElementById("charts").appendChild(document.createElement("div"));
  chart.node.className = "chart";
  charts.push(chart);
}

async function start(chart) {
  await draw(chart);
  const group = (event) => chart.node.data[event.curveNumber].meta;
  // The same group goes in all charts, so plotly's own answer, in one of them, is not wanted.
  // A double click comes as click, click, double click; drawing after the first would lose the last.
  let waiting;
  chart.node.on("plotly_legendclick", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(toggle, DOUBLE_CLICK_MS, group(event));
    return false;
  });
  chart.node.on("plotly_legenddoubleclick", (event) => {
    clearTimeout(waiting);
    alone(group(event));
    return false;
  });
}

function addAxisButtons() {
  const row = document.getElementById("axes");
  const buttons = drawing.axes.map((choice) => {
    const button = row.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = choice.title;
    button.onclick = () => { axis = choice; press(); drawAll(); };
    return button;
  });
  const press = () => buttons.forEach((b, i) => b.setAttribute("aria-pressed", drawing.axes[i] === axis));
  press();
}

function sortBy(header) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const down = header.getAttribute("aria-sort") === "ascending";
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const numeric = header.dataset.kind === "number";
  const key = (row) => row.children[column].dataset.order;
  const compare = (a, b) => (numeric ? Number(key(a)) - Number(key(b)) : key(a).localeCompare(key(b)));
  const rows = [...table.tBodies[0].rows];
  // What has no number stays below, whichever way the others go.
  rows.sort((a, b) => (key(a) === "") - (key(b) === "") || (down ? -compare(a, b) : compare(a, b)));
  table.tBodies[0].append(...rows);
}

for (const header of document.querySelectorAll("th[data-kind]")) {
  header.querySelector("button").onclick = () => sortBy(header);
}
async function startAll() {
  addAxisButtons();
  // All have their places before the first is drawn: it is as wide as its place is then.
  for (const metric of drawing.metrics) place({ metric, title: metric.replace("test/", "") });
  const title = drawing.clients_title;
  if (drawing.lines.some((line) => line.shares)) place({ shares: true, title: `share of clients, by ${title}` });
  if (drawing.lines.some((line) => line.clients)) place({ bars: true, title });
  for (const chart of charts) await start(chart);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  document.documentElement.dataset.drawn = charts.length;
}
startAll();
