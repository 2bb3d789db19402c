// A heatmap: a row a bucket, a cell a step, the brighter the more fell into it.

import { THEME, grafana } from '../read/grafana.mjs';
import { html } from './html.mjs';
import { plot, plotArea, rect, round } from './plot.mjs';

const { fieldColorModeRegistry, formattedValueToString, getValueFormat } = grafana;

// Grafana leaves cells empty that hold no more.
const NOTHING = 1e-9;
const CELL_GAP = 1;

export function drawHeatmap({ panel, seen, time, size }) {
  const [times, ...buckets] = seen.frames[0]?.fields ?? [];
  if (!times || times.values.length === 0) {
    return html`<p class="none">No data</p>`;
  }
  const { yAxis, color } = panel.options;
  const bounds = buckets.map(({ name }) => boundText(name, yAxis?.unit));
  const area = plotArea(size, time, bounds, [0, buckets.length]);
  const marks = bounds.map((text, i) => ({ text, y: area.y(i + 1) }));
  const colorOf = colorsOf(color, Math.max(...buckets.flatMap(({ values }) => values)));
  const cells = buckets.map(({ values }, row) =>
    values.map((value, i) => (value > NOTHING ? drawCell(times.values[i], row, colorOf(value), area, time.step) : '')),
  );
  return plot(area, marks, cells);
}

/** A bucket is named by the text of its upper bound. */
function boundText(name, unit) {
  const bound = Number(name);
  return Number.isNaN(bound) ? name : formattedValueToString(getValueFormat(unit)(bound));
}

function colorsOf({ scheme, exponent = 1 }, max) {
  const mode = fieldColorModeRegistry.get(`continuous-${scheme.toLowerCase()}`);
  const calculate = mode.getCalculator({ config: {} }, THEME);
  return (value) => calculate(value, (value / max) ** exponent);
}

function drawCell(ms, row, color, area, step) {
  const width = area.x(step * 1000) - area.x(0);
  const height = area.y(0) - area.y(1);
  const left = round(area.x(ms) - width);
  return rect(left, area.y(row + 1), Math.max(1, width - CELL_GAP), height - CELL_GAP, color);
}
