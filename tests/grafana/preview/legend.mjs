// The table below a graph: the name of each series, its last value and its greatest.

import { html } from './html.mjs';

const ROW = 22;

/** Grafana gives a legend at most so much of the panel; the rest is scrolled to. */
export const LEGEND_SHARE = 0.35;

export const legendHeight = (count) => (count + 1) * ROW + 4;

export function legend(series, options, height) {
  if (!options?.showLegend) {
    return html``;
  }
  const rows = series
    .map((one) => ({ ...one, last: lastOf(one.values), max: maxOf(one.values) }))
    .sort((a, b) => b.values[b.last] - a.values[a.last]);
  return html`<div class="legend" style="height:${Math.floor(height)}px"><table>
<tr><th>Name</th><th class="number">Last *</th><th class="number">Max</th></tr>
${rows.map(({ name, color, last, max, texts }) => html`<tr>
<td><i style="background:${color}"></i>${name}</td>
<td class="number">${texts[last]}</td><td class="number">${texts[max]}</td>
</tr>`)}
</table></div>`;
}

const lastOf = (values) => values.findLastIndex((value) => value !== null);

const maxOf = (values) => values.indexOf(Math.max(...values.filter((value) => value !== null)));
