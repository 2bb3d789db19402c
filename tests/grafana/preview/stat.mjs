// A stat panel: one number or word, as large as fits.

import { html } from './html.mjs';

const LARGEST = 100;
// Of the font's size.
const LINE_HEIGHT = 1.2;
const CHARACTER = 0.6;

export function drawStat({ seen, size }) {
  const width = size.width / Math.max(1, seen.stat.length);
  return html`<div class="stat">${seen.stat.map(({ text, color }) => {
    const fitting = Math.min(size.height / LINE_HEIGHT, (width * 0.9) / (text.length * CHARACTER), LARGEST);
    return html`<span style="color:${color};font-size:${Math.floor(fitting)}px">${text}</span>`;
  })}</div>`;
}
