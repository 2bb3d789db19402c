// A stat panel: one number or word, as large as fits.

import { html } from './html.mjs';

const LARGEST = 100;
// Of the font's size.
const LINE_HEIGHT = 1.2;
const CHARACTER = 0.6;

export function drawStat({ panel, seen, size }) {
  const isTile = panel.options?.colorMode === 'background_solid';
  const width = size.width / Math.max(1, seen.stat.length);
  return html`<div class="stat">${seen.stat.map(({ text, color }) => {
    const fitting = Math.min(size.height / LINE_HEIGHT, (width * 0.9) / (text.length * CHARACTER), LARGEST);
    const colors = isTile ? `background:${color};color:#fff;padding:0 12px` : `color:${color}`;
    return html`<span style="${colors};font-size:${Math.floor(fitting)}px">${text}</span>`;
  })}</div>`;
}
