// The table beside or below a graph: the name of each series and its last value.

import { html } from './html.mjs';

const ROW = 22;

/** Grafana gives a legend at most so much of the panel; the rest is scrolled to. */
const SHARE_BELOW = 0.35;
const SHARE_BESIDE = 0.45;

const CHARACTER = 7;
const NAME_PADDING = 40;
// Beside the names: the colour, the values and the space between.
const COLUMNS = 150;

/** The room that the legend takes from a panel of `size`: beside the graph or below. */
export function legendRoom(series, options, size) {
  if (!options?.showLegend) {
    return { width: 0, height: 0 };
  }
  if (options.placement === 'right') {
    const longest = Math.max(...series.map(({ name }) => name.length));
    return { width: Math.min(longest * CHARACTER + COLUMNS, size.width * SHARE_BESIDE), height: 0 };
  }
  const names = series.reduce((sum, { name }) => sum + name.length * CHARACTER + NAME_PADDING, 0);
  const rows = options.displayMode === 'list' ? Math.ceil(names / size.width) : series.length + 1;
  return { width: 0, height: Math.min(rows * ROW + 4, size.height * SHARE_BELOW) };
}

export function legend(series, options, { width, height }) {
  if (!options?.showLegend) {
    return html``;
  }
  const rows = series
    .map((one) => ({ ...one, last: lastOf(one.values) }))
    .sort((a, b) => b.values[b.last] - a.values[a.last]);
  const size = width ? `width:${Math.floor(width)}px` : `height:${Math.floor(height)}px`;
  if (options.displayMode === 'list') {
    const names = rows.map(({ name, color }) => html`<span><i style="background:${color}"></i>${name}</span> `);
    return html`<div class="legend names" style="${size}">${names}</div>`;
  }
  return html`<div class="legend ${width ? 'beside' : ''}" style="${size}"><table>
<tr><th>Name</th><th class="number">Last *</th></tr>
${rows.map(({ name, color, last, texts }) => html`<tr>
<td><i style="background:${color}"></i>${name}</td><td class="number">${texts[last]}</td>
</tr>`)}
</table></div>`;
}

const lastOf = (values) => values.findLastIndex((value) => value !== null);
