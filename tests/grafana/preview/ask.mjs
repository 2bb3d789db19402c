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
  const marked = annotations.map(async ({ expr, step, iconColor, filter }) => {
    const own = { ...time, step: secondsOf(step) ?? time.step };
    const { result } = await askRange(ask, fill(expr), own);
    const spans = result.flatMap(({ values }) => spansOf(values, own.step));
    return spans.map((span) => ({ ...span, color: iconColor, isOn: onPanel(filter) }));
  });
  return (await Promise.all(marked)).flat();
}

const SECONDS = { s: 1, m: 60, h: 3600 };

/** "30s" or "1m" as an annotation has it. */
function secondsOf(step) {
  const [, number, unit] = /^(\d+)([smh])$/.exec(step ?? '') ?? [];
  return unit && Number(number) * SECONDS[unit];
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
  const variables = Object.fromEntries(listOf(dashboard).map((variable) => [variable.name, variable]));
  const values = Object.entries(variables).map(([name, { allValue }]) => [name, given[name] ?? allValue ?? '']);
  const replace = replacer({ ...Object.fromEntries(values), ...times }, { from, to });
  // An expression that names its format gets the value itself.
  const matcher = (value, { name }) => (variables[name] ? matcherOf(variables[name], given[name]) : value);
  return (expr) => {
    const missing = Object.keys(variables).find((name) => expr.includes(name) && !isGiven(variables[name], given[name]));
    if (missing) {
      throw new Error(`the dashboard shows one ${missing}: give --var=${missing}=…`);
    }
    return replace(expr, {}, matcher);
  };
}

/** The values as links have them. */
export function variablesOf(dashboard, given) {
  return Object.fromEntries(listOf(dashboard).map(({ name, current }) => [name, given[name] ?? current?.value ?? []]));
}

export const listOf = ({ templating }) => (templating?.list ?? []).filter(({ type }) => type !== 'datasource');

const isGiven = ({ allValue }, values) => values !== undefined || allValue !== undefined;

/** What stands for a variable between the quotes of a PromQL matcher. */
function matcherOf({ multi, allValue }, values) {
  const quoted = (text) => text.replace(/[\\"]/g, '\\$&');
  if (values === undefined) {
    return quoted(allValue);
  }
  return multi ? quoted(values.map(grafana.escapeRegex).join('|')) : quoted(values[0]);
}
