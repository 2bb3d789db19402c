// The frame of everything that is drawn over time: its area, its axes, its grid.

import { timeAxis } from './axis.mjs';
import { html } from './html.mjs';

const BOTTOM = 22;
const TOP = 6;
const RIGHT = 10;
const CHARACTER = 6.6;

/** The area inside the axes, and the functions that find a place in it. `labels` are those of the y axis. */
export function plotArea({ width, height }, time, labels, [min, max]) {
  const left = Math.ceil(Math.max(...labels.map((label) => label.length)) * CHARACTER) + 14;
  const right = width - RIGHT;
  const bottom = height - BOTTOM;
  const from = time.from * 1000;
  const to = time.to * 1000;
  return {
    ...{ width, height, left, right, top: TOP, bottom, from, to },
    x: (ms) => round(left + ((ms - from) / (to - from)) * (right - left)),
    y: (value) => round(bottom - ((value - min) / (max - min)) * (bottom - TOP)),
  };
}

/** A tenth of a pixel is enough, and keeps the page small. */
export const round = (pixels) => Math.round(pixels * 10) / 10;

export function rect(x, y, width, height, color, opacity = 1) {
  const size = html`width="${round(width)}" height="${round(height)}"`;
  return html`<rect x="${x}" y="${y}" ${size} fill="${color}" fill-opacity="${opacity}"/>`;
}

/** An SVG with `content` on the grid. `marks` are the ticks of the y axis, as text and height. */
export function plot(area, marks, content) {
  const { width, height, left, right, top, bottom } = area;
  const times = timeAxis(area.from, area.to, right - left).map(({ value, text }) => ({ text, x: area.x(value) }));
  const inside = [left, top, right - left, bottom - top];
  return html`<svg class="plot" width="${width}" height="${height}">
${marks.map(({ text, y }) => html`<text x="${left - 8}" y="${y + 4}" text-anchor="end">${text}</text>`)}
${marks.map(({ y }) => html`<path class="grid" d="M${left} ${y}H${right}"/>`)}
${times.map(({ x }) => html`<path class="grid" d="M${x} ${top}V${bottom}"/>`)}
${times.map(({ text, x }) => html`<text x="${x}" y="${height - 5}" text-anchor="middle">${text}</text>`)}
<svg x="${left}" y="${top}" width="${inside[2]}" height="${inside[3]}" viewBox="${inside.join(' ')}">
${content}
</svg></svg>`;
}
