import assert from 'node:assert/strict';
import { test } from 'node:test';

import { preview } from '../preview.mjs';

const NOW = 1_700_000_000;

const panel = (type, title, rest = {}) => ({
  type,
  title,
  gridPos: { x: 0, y: 0, w: 12, h: 8 },
  fieldConfig: { defaults: {}, overrides: [] },
  options: { legend: { showLegend: true } },
  ...rest,
});

const BOARD = {
  uid: 'made-up',
  title: 'Made & up',
  templating: { list: [{ name: 'provider', type: 'query', multi: true, allValue: '.+' }] },
  panels: [
    panel('stat', 'Number', { targets: [{ refId: 'A', expr: 'now{provider=~"$provider"}', instant: true }] }),
    panel('table', 'Rows', { targets: [{ refId: 'A', expr: 'now', format: 'table', instant: true }] }),
    panel('timeseries', 'Lines <b>', { targets: [{ refId: 'A', expr: 'rate(x[$__rate_interval])', range: true }] }),
    panel('state-timeline', 'Words', { targets: [{ refId: 'A', expr: 'words', format: 'table', range: true }] }),
    panel('timeseries', 'Nothing', { targets: [{ refId: 'A', expr: 'none', range: true }] }),
  ],
};

const LABELS = { __name__: 'now', task_id: '<script>' };

/** A Prometheus that writes down what it is asked. */
function prometheus(asked) {
  return async (path, parameters) => {
    asked.push({ path, ...parameters });
    if (path === 'query') {
      return { resultType: 'vector', result: [{ metric: LABELS, value: [NOW, '42'] }] };
    }
    const values = [0, 15, 30].map((seconds) => [NOW - 60 + seconds, String(seconds)]);
    return { resultType: 'matrix', result: parameters.query === 'none' ? [] : [{ metric: LABELS, values }] };
  };
}

async function shown(given = {}) {
  const asked = [];
  const options = { ask: prometheus(asked), now: NOW, range: 600, interval: 15, given, theme: 'dark', width: 1600 };
  return { asked, text: await preview(BOARD, options) };
}

test('the page has each panel, what it says, and nothing that an answer could smuggle in', async () => {
  const { text } = await shown();
  for (const title of ['Number', 'Rows', 'Lines &lt;b&gt;', 'Words', 'Nothing', 'Made &amp; up', 'No data', '>42<']) {
    assert.ok(text.includes(title), title);
  }
  assert.ok(text.includes('&lt;script&gt;'));
  assert.ok(!text.includes('<script'));
  assert.doesNotMatch(text, /NaN|undefined|\[object/);
});

test('queries have their variables, and the times of a range are multiples of the step', async () => {
  const { asked } = await shown({ provider: ['a.b', 'c'] });
  const [start, end] = [NOW - 600, NOW].map((time) => time - (time % 15));
  assert.deepEqual(asked.slice(0, 3), [
    { path: 'query', query: String.raw`now{provider=~"a\\.b|c"}`, time: NOW },
    { path: 'query', query: 'now', time: NOW },
    { path: 'query_range', query: 'rate(x[60s])', start, end, step: 15 },
  ]);
});
