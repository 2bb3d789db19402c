// What Grafana asks Prometheus for: the queries of a dashboard's panels, with its variables filled in.

import { grafana } from '../read/grafana.mjs';
import { replacer } from '../read/variables.mjs';

// A step a few pixels wide. Grafana has one for each pixel, which a picture does not need.
const POINTS = 200;

/** A function `(path, parameters) => data` that asks the Prometheus at `address`. */
export function asker(address) {
  return async (path, parameters) => {
    const url = new URL(`${address.replace(/\/+$/, '')}/api/v1/${path}`);
    const response = await fetch(url, { method: 'POST', body: new URLSearchParams(parameters) });
    const { status, error, data } = await response.json();
    if (status !== 'success') {
      throw new Error(error);
    }
    return data;
  };
}

/** What is shown, in Unix seconds, and the step and the scrape interval in seconds. */
export function windowOf(now, range, interval) {
  const to = Math.floor(now);
  return { from: to - range, to, interval, step: Math.max(1, Math.ceil(range / POINTS / interval)) * interval };
}

/** The elements of `panels` that read.mjs takes. */
export function askPanels(ask, dashboard, given, time) {
  const fill = fillerOf(dashboard, given, time);
  return Promise.all(dashboard.panels.map((panel) => askPanel(ask, dashboard, panel, fill, time)));
}

async function askPanel(ask, dashboard, panel, fill, time) {
  const targets = (panel.targets ?? []).filter(({ hide }) => !hide);
  const answers = await Promise.all(
    targets.map(({ expr, range }) => (range ? askRange(ask, fill(expr), time) : askNow(ask, fill(expr), time))),
  );
  const byRefId = (values) => Object.fromEntries(targets.map(({ refId }, i) => [refId, values[i]]));
  const steps = byRefId(targets.map(({ range }) => (range ? time.step : undefined)));
  return { dashboard: dashboard.uid, panel, answers: byRefId(answers), steps };
}

const askNow = (ask, query, { to }) => ask('query', { query, time: to });

/** On multiples of the step, as Grafana does: else the points would move at each refresh. */
function askRange(ask, query, { from, to, step }) {
  const aligned = (seconds) => Math.floor(seconds / step) * step;
  return ask('query_range', { query, start: aligned(from), end: aligned(to), step });
}

/** What the dashboard marks on its graphs: from when to when, in milliseconds, in which colour, and on which panels. */
export async function askAnnotations(ask, dashboard, given, time) {
  const fill = fillerOf(dashboard, given, time);
  const annotations = (dashboard.annotations?.list ?? []).filter(({ enable, expr }) => enable && expr);
  const marked = annotations.map(async ({ expr, iconColor, filter }) => {
    const { result } = await askRange(ask, fill(expr), time);
    const spans = result.flatMap(({ values }) => spansOf(values, time.step));
    return spans.map((span) => ({ ...span, color: iconColor, isOn: onPanel(filter) }));
  });
  return (await Promise.all(marked)).flat();
}

const onPanel = (filter) => ({ id }) => !filter || filter.ids.includes(id) !== Boolean(filter.exclude);

function spansOf(samples, step) {
  const spans = [];
  for (const [seconds] of samples) {
    const last = spans.at(-1);
    if (last && seconds * 1000 - last.to <= step * 1000) {
      last.to = seconds * 1000;
    } else {
      spans.push({ from: seconds * 1000, to: seconds * 1000 });
    }
  }
  return spans;
}

function fillerOf(dashboard, given, { from, to, step, interval }) {
  const rate = Math.max(step + interval, 4 * interval);
  const times = { __range: `${to - from}s`, __rate_interval: `${rate}s`, __interval: `${step}s` };
  const chosen = listOf(dashboard).map((variable) => [variable.name, matcherOf(variable, given[variable.name])]);
  const replace = replacer({ ...Object.fromEntries(chosen), ...times }, { from, to });
  return (expr) => replace(expr);
}

/** The values as links have them. */
export function variablesOf(dashboard, given) {
  return Object.fromEntries(listOf(dashboard).map(({ name, current }) => [name, given[name] ?? current?.value ?? []]));
}

export const listOf = ({ templating }) => (templating?.list ?? []).filter(({ type }) => type !== 'datasource');

/** What stands for a variable between the quotes of a PromQL matcher. */
function matcherOf({ name, multi, allValue }, values) {
  if (values === undefined && allValue === undefined) {
    throw new Error(`the dashboard shows one ${name}: give --var=${name}=…`);
  }
  const quoted = (text) => text.replace(/[\\"]/g, '\\$&');
  if (values === undefined) {
    return quoted(allValue);
  }
  return multi ? quoted(values.map(grafana.escapeRegex).join('|')) : quoted(values[0]);
}
