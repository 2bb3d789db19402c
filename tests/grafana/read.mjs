// What a person sees in the panels of a dashboard, found with Grafana's own data code: JSON on standard input, JSON on
// standard output.

import { fileURLToPath } from 'node:url';
import { text } from 'node:stream/consumers';

import { readPanel } from './read/panel.mjs';
import { replacer } from './read/variables.mjs';

/**
 * Input: `now`, `from` and `to` in Unix seconds; `variables` of the dashboard by name; `panels`, each with the name of
 * its `dashboard`, the `panel` of its JSON, `answers`, which has the `data` of Prometheus' answer for each refId, and
 * optionally `steps`, which has the step of a range query in seconds for a refId.
 *
 * Output: `panels` in the order of the input, as read/panel.mjs describes them.
 */
export async function read({ now, from, to, panels, variables = {} }) {
  const clock = Date.now;
  // Grafana asks the clock how long ago a time is.
  Date.now = () => now * 1000;
  try {
    const replace = replacer(variables, { from, to });
    const seen = [];
    for (const entry of panels) {
      seen.push(await readPanel(entry, replace));
    }
    return { panels: seen };
  } finally {
    Date.now = clock;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // Standard output belongs to the answer.
  console.log = console.error;
  const input = JSON.parse(await text(process.stdin));
  process.stdout.write(`${JSON.stringify(await read(input))}\n`);
}
