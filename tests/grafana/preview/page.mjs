// The page: the panels in their places, in the colours of Grafana's theme.

import { TIME_ZONE, grafana } from '../read/grafana.mjs';
import { listOf } from './ask.mjs';
import { drawChart } from './chart.mjs';
import { drawHeatmap } from './heatmap.mjs';
import { html, verbatim } from './html.mjs';
import { drawStat } from './stat.mjs';
import { styleOf } from './style.mjs';
import { drawTable } from './table.mjs';
import { drawTimeline } from './timeline.mjs';

const NOTE = 'A preview, drawn from the dashboard\'s JSON and the answers of Prometheus; Grafana draws it its own way.';

const COLUMNS = 24;
// Pixels, as Grafana has them.
const UNIT = 30;
const GAP = 8;
const MARGIN = 16;
const TITLE = 40;
const PADDING = 8;
const BORDER = 1;

const DRAWINGS = {
  heatmap: drawHeatmap,
  stat: drawStat,
  'state-timeline': drawTimeline,
  table: drawTable,
  timeseries: drawChart,
};

/** `seen` are the panels that read.mjs returns, in the order of the dashboard's. */
export function page({ dashboard, seen, annotations, given, time, theme, width }) {
  const { colors } = grafana.createTheme({ colors: { mode: theme } });
  const style = verbatim(styleOf(colors, { TITLE, PADDING, MARGIN, width }));
  const panels = dashboard.panels.map((panel, i) => {
    const place = placeOf(panel.gridPos, width);
    const around = 2 * (PADDING + BORDER);
    const size = { width: place.width - around, height: place.height - TITLE - around };
    const marked = annotations.filter(({ isOn }) => isOn(panel));
    const content = contentOf({ panel, seen: seen[i], annotations: marked, time, size });
    return frame(panel, place, content);
  });
  const height = Math.max(...dashboard.panels.map(({ gridPos: { y, h } }) => y + h)) * (UNIT + GAP);
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${dashboard.title}</title><style>${style}</style></head><body>
<header><h1>${dashboard.title}</h1>
${listOf(dashboard).map((variable) => drawVariable(variable, given))}
<span class="time">${timeText(time)}</span></header>
<main style="height:${height}px">${panels}</main>
<footer>${NOTE}</footer>
</body></html>
`;
}

function placeOf({ x, y, w, h }, width) {
  const column = (width - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS;
  const pixels = (units, one) => Math.round(units * (one + GAP));
  return {
    ...{ left: pixels(x, column), top: pixels(y, UNIT) },
    ...{ width: pixels(w, column) - GAP, height: pixels(h, UNIT) - GAP },
  };
}

function contentOf(drawing) {
  const { panel, seen } = drawing;
  const draw = DRAWINGS[panel.type];
  if (seen.error || !draw) {
    return html`<p class="none">${seen.error ?? `a ${panel.type} is not drawn here`}</p>`;
  }
  return draw(drawing);
}

function frame({ title, description }, { left, top, width, height }, content) {
  const info = description ? html`<span class="info" title="${description}">i</span>` : '';
  return html`<section style="left:${left}px;top:${top}px;width:${width}px;height:${height}px">
<h2>${title}${info}</h2><div class="content">${content}</div></section>
`;
}

const drawVariable = ({ name, label }, given) =>
  html`<span class="variable"><b>${label ?? name}</b><span>${given[name]?.join(' + ') ?? 'All'}</span></span>`;

function timeText({ from, to }) {
  const text = (seconds) => grafana.dateTimeFormat(seconds * 1000, { timeZone: TIME_ZONE });
  return `${text(from)} to ${text(to)} UTC`;
}
