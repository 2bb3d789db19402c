// A picture of a dashboard where there is no Grafana: a page of HTML on standard output.
//
//   node tests/grafana/preview.mjs http://localhost:9090 dashboards/fleet.json > fleet.html
//
// --from=3600             how many seconds the page shows
// --now=1700000000        their end in Unix seconds; default: now
// --interval=15           the scrape interval in seconds
// --var=provider=suno     the value of a variable; may be repeated
// --theme=light           default: dark
// --width=1600            of the page, in pixels

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { askAnnotations, askPanels, asker, variablesOf, windowOf } from './preview/ask.mjs';
import { page } from './preview/page.mjs';
import { read } from './read.mjs';

const OPTIONS = {
  from: { type: 'string', default: '3600' },
  now: { type: 'string' },
  interval: { type: 'string', default: '15' },
  var: { type: 'string', multiple: true, default: [] },
  theme: { type: 'string', default: 'dark' },
  width: { type: 'string', default: '1600' },
};

/** `ask` is a function of `asker`; `given` has a list of values for each variable that is not all. */
export async function preview(dashboard, { ask, now, range, interval, given = {}, theme, width }) {
  const time = windowOf(now, range, interval);
  const panels = await askPanels(ask, dashboard, given, time);
  const annotations = await askAnnotations(ask, dashboard, given, time);
  const variables = variablesOf(dashboard, given);
  const { panels: seen } = await read({ now: time.to, from: time.from, to: time.to, panels, variables });
  return String(page({ dashboard, seen, annotations, given, time, theme, width }));
}

function givenBy(assignments) {
  const given = {};
  for (const assignment of assignments) {
    const [name, ...value] = assignment.split('=');
    given[name] = [...(given[name] ?? []), value.join('=')];
  }
  return given;
}

async function main() {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
  if (positionals.length !== 2) {
    throw new Error('give the address of Prometheus and the file of a dashboard');
  }
  const [address, path] = positionals;
  const dashboard = JSON.parse(await readFile(path, 'utf8'));
  return preview(dashboard, {
    ask: asker(address),
    now: Number(values.now ?? Date.now() / 1000),
    range: Number(values.from),
    interval: Number(values.interval),
    given: givenBy(values.var),
    theme: values.theme,
    width: Number(values.width),
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // Standard output belongs to the page.
  console.log = console.error;
  try {
    process.stdout.write(await main());
  } catch ({ message, cause }) {
    console.error(cause?.message ?? message);
    process.exitCode = 1;
  }
}
