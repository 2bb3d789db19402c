// A table panel: a row a row, each text in its colour.

import { THEME } from '../read/grafana.mjs';
import { html } from './html.mjs';

// Grafana's words on a colour, in both themes: the colours are dark.
const WORDS = '#F7F8FA';

export function drawTable({ panel, seen }) {
  const fields = seen.frames[0]?.fields ?? [];
  const rows = fields[0]?.texts ?? [];
  if (rows.length === 0) {
    return html`<p class="none">No data</p>`;
  }
  const columns = fields
    .map((field) => ({ ...field, custom: customOf(panel.fieldConfig, field.name) }))
    .filter(({ custom }) => !custom['hideFrom.viz']);
  return html`<div class="table"><table>
${columns.map(({ custom: { width } }) => html`<col style="width:${width ? `${width}px` : 'auto'}">`)}
<tr>${columns.map((column) => html`<th class="${alignOf(column)}">${column.name}</th>`)}</tr>
${rows.map((_, row) => html`<tr>${columns.map((column) => drawCell(column, row))}</tr>`)}
</table></div>`;
}

function drawCell(column, row) {
  const { custom, texts, colors, links } = column;
  const [link] = links[row];
  const text = link ? html`<a href="${link.href}" title="${link.title}">${texts[row]}</a>` : texts[row];
  return html`<td class="${alignOf(column)}" style="${styleOf(custom, colors[row])}" title="${texts[row]}">${text}</td>`;
}

function styleOf({ cellOptions }, color) {
  const isSolid = /^#[0-9a-f]{6}$/i.test(color ?? '');
  if (cellOptions?.type === 'color-background' && isSolid) {
    return `background:${color};color:${WORDS}`;
  }
  const isPlain = color === THEME.colors.text.primary;
  return cellOptions?.type === 'color-text' && color && !isPlain ? `color:${color}` : '';
}

const alignOf = ({ type, custom: { align = 'auto' } }) => (align === 'auto' && type === 'number' ? 'number' : align);

/** How a column is drawn; the functions that read a panel tell only what it says. */
function customOf({ defaults, overrides }, name) {
  const own = overrides.filter(({ matcher }) => matcher.id === 'byName' && matcher.options === name);
  const properties = own.flatMap((rule) => rule.properties);
  const custom = properties.map(({ id, value }) => [id.replace(/^custom\./, ''), value]);
  return { ...defaults.custom, ...Object.fromEntries(custom) };
}
