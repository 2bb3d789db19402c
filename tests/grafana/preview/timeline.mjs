// A state timeline: a row a field, a stretch of colour for as long as its value stays.

import { html } from './html.mjs';
import { plot, plotArea, round } from './plot.mjs';

export function drawTimeline({ panel, seen, time, size }) {
  const fields = seen.frames[0]?.fields ?? [];
  const times = fields.find(({ type }) => type === 'time')?.values ?? [];
  const rows = fields.filter(({ type }) => type !== 'time');
  if (times.length === 0) {
    return html`<p class="none">No data</p>`;
  }
  const area = plotArea(size, time, rows.map(({ name }) => name), [0, rows.length]);
  const height = (area.bottom - area.top) / rows.length;
  const marks = rows.map(({ name }, i) => ({ text: name, y: area.top + (i + 0.5) * height }));
  const share = panel.options?.rowHeight ?? 0.9;
  const opacity = (panel.fieldConfig.defaults.custom?.fillOpacity ?? 70) / 100;
  const stretches = rows.map((field, i) => {
    const top = area.top + (i + (1 - share) / 2) * height;
    const place = { top: round(top), height: round(height * share) };
    return stretchesOf(field, times, area.to).map((stretch) => drawStretch(stretch, area, place, opacity));
  });
  return html`${plot(area, marks, '')}${stretches}`;
}

/** Neighbours with the same value are one. A value lasts until the next. */
function stretchesOf({ values, texts, colors }, times, end) {
  const stretches = [];
  values.forEach((value, i) => {
    if (i === 0 || value !== values[i - 1]) {
      stretches.push({ value, text: texts[i], color: colors[i], from: times[i] });
    }
  });
  const until = (i) => stretches[i + 1]?.from ?? end;
  return stretches.map((stretch, i) => ({ ...stretch, to: until(i) })).filter(({ value }) => (value ?? null) !== null);
}

// Grafana cuts a word that is too long, but shows two letters at least.
const NARROWEST = 16;

// HTML rather than SVG, since it cuts a text that is too long.
function drawStretch({ text, color, from, to }, area, { top, height }, opacity) {
  // Whole pixels, lest a hairline shows between two.
  const left = Math.round(Math.max(area.left, area.x(from)));
  const width = Math.round(area.x(to)) - left;
  const style = `left:${left}px;top:${top}px;width:${width}px;height:${height}px;line-height:${height}px`;
  const word = width < NARROWEST ? '' : html`<span>${text}</span>`;
  const back = html`<i style="background:${color};opacity:${opacity}"></i>`;
  return html`<div class="stretch" style="${style}" title="${text}">${back}${word}</div>`;
}
