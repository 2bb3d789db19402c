import assert from 'node:assert/strict';
import { test } from 'node:test';

import { read } from './read.mjs';

// Texts must not depend on where the tests run.
process.env.TZ = 'Asia/Shanghai';

const NOW = 1_700_000_000;

async function readOne(panel, answers, rest = {}) {
  const entry = { dashboard: 'made-up', panel: { id: 1, title: 'Made up', ...panel }, answers, ...rest.entry };
  const { panels } = await read({ now: NOW, from: NOW - 3600, to: NOW, panels: [entry], variables: rest.variables });
  assert.equal(panels[0].error, null);
  return panels[0];
}

const vector = (...series) => ({
  resultType: 'vector',
  result: series.map(([metric, value]) => ({ metric, value: [NOW, value] })),
});

const matrix = (...series) => ({
  resultType: 'matrix',
  result: series.map(([metric, values]) => ({ metric, values })),
});

const byName = (name, properties) => ({
  matcher: { id: 'byName', options: name },
  properties: Object.entries(properties).map(([id, value]) => ({ id, value })),
});

const above = (value) => ({
  mode: 'absolute',
  steps: [
    { color: '#0000ff', value: null },
    { color: '#ff0000', value },
  ],
});

const columns = ({ frames: [{ fields }] }) => Object.fromEntries(fields.map(({ name, texts }) => [name, texts]));

test('a stat shows its number with unit and colour, a label as text, and noValue when there is none', async () => {
  const defaults = { unit: 's', decimals: 1, noValue: 'none', thresholds: above(60) };
  const stat = { type: 'stat', fieldConfig: { defaults, overrides: [] } };
  const age = { ...stat, targets: [{ refId: 'A', expr: 'max(age)', instant: true }] };

  assert.deepEqual((await readOne(age, { A: vector([{}, '90']) })).stat, [
    { title: 'max(age)', text: '1.5 mins', color: '#ff0000', links: [] },
  ]);
  assert.deepEqual((await readOne(age, { A: vector() })).stat, [
    { title: '', text: 'none', color: '#0000ff', links: [] },
  ]);

  const state = {
    type: 'stat',
    options: { reduceOptions: { calcs: ['lastNotNull'], fields: '/^state$/', values: false } },
    targets: [{ refId: 'A', expr: 'status', format: 'table', instant: true }],
  };
  const shown = await readOne(state, { A: vector([{ state: 'queued', task_id: 't1' }, '1']) });
  assert.deepEqual(shown.stat.map(({ title, text }) => [title, text]), [['state', 'queued']]);
});

test('a time series has its legend, the colours of its thresholds, and a gap for a missing step', async () => {
  const panel = {
    type: 'timeseries',
    fieldConfig: {
      defaults: { unit: 'percentunit', color: { mode: 'thresholds' }, thresholds: above(0.5) },
      overrides: [byName('suno: ', { unit: 'bogus' }), byName('nobody', { unit: 's' })],
    },
    targets: [{ refId: 'A', expr: 'ratio', legendFormat: '{{provider}}: {{ none }}', range: true }],
  };
  const samples = [[NOW - 75, '0.25'], [NOW - 60, '0.5'], [NOW - 15, 'NaN'], [NOW, '+Inf']];
  const seen = await readOne(panel, { A: matrix([{ provider: 'kling' }, samples], [{ provider: 'suno' }, samples]) });

  const [time, value] = seen.frames[0].fields;
  assert.deepEqual(time.texts.slice(0, 3), ['2023-11-14 22:12:05', '2023-11-14 22:12:20', '2023-11-14 22:12:35']);
  assert.equal(value.name, 'kling: ');
  assert.deepEqual(value.labels, { provider: 'kling' });
  assert.deepEqual(value.texts, ['25%', '50%', '', '', 'NaN', '∞%']);
  assert.deepEqual(value.values.slice(0, 5), [0.25, 0.5, null, null, null]);
  assert.deepEqual(value.colors.slice(0, 2), ['#0000ff', '#ff0000']);
  assert.deepEqual(seen.unknown_units, ['bogus']);
  assert.deepEqual(seen.unmatched_overrides, ['{"id":"byName","options":"nobody"}']);
});

test('a table is merged, sorted, arranged, mapped and linked', async () => {
  const url = [
    '/d/task?${__url_time_range}',
    '${job:queryparam}',
    'id=${__data.fields.Task:percentencode}',
    'age=${__data.fields["Age"].numeric}',
    '${__dashboard.uid}',
  ];
  const link = { title: '${__value.text} ${__value.raw:percentencode}', url: url.join('&') };
  const panel = {
    type: 'table',
    fieldConfig: {
      defaults: { noValue: '–' },
      overrides: [
        byName('Task', { links: [link] }),
        byName('Age', { unit: 's' }),
        byName('Since', { unit: 'dateTimeAsLocal' }),
        byName('Told', { unit: 'dateTimeFromNow' }),
        byName('State', { mappings: [{ type: 'value', options: { failed: { text: 'broken', color: '#ff0000' } } }] }),
      ],
    },
    targets: ['A', 'B', 'C', 'D'].map((refId) => ({ refId, expr: refId, format: 'table', instant: true })),
    transformations: [
      { id: 'filterFieldsByName', options: { exclude: { pattern: '^(job|instance)$' } } },
      { id: 'merge', options: {} },
      { id: 'sortBy', options: { sort: [{ field: 'Value #B', desc: true }] } },
      {
        id: 'organize',
        options: {
          excludeByName: { Time: true, 'Value #A': true },
          indexByName: { task_id: 0, state: 1, 'Value #B': 2, 'Value #C': 3, 'Value #D': 4, nothing: 5 },
          renameByName: { task_id: 'Task', state: 'State', 'Value #B': 'Age', 'Value #C': 'Since', 'Value #D': 'Told' },
        },
      },
    ],
  };
  const ids = [{ job: 'x', task_id: 't 1' }, { job: 'x', task_id: 't2' }];
  const answers = {
    A: vector([{ ...ids[0], state: 'queued' }, '1'], [{ ...ids[1], state: 'failed' }, '1']),
    B: vector([ids[0], '90'], [ids[1], '7200']),
    C: vector([ids[1], String((NOW - 7200) * 1000)]),
    D: vector([ids[1], String((NOW - 120) * 1000)]),
  };
  const seen = await readOne(panel, answers, { variables: { job: ['x', 'y'] } });

  assert.deepEqual(columns(seen), {
    Task: ['t2', 't 1'],
    State: ['broken', 'queued'],
    Age: ['2 hours', '1.50 mins'],
    Since: ['11/14/2023, 08:13:20 PM', '–'],
    Told: ['2 minutes ago', '–'],
  });
  const [task, state] = seen.frames[0].fields;
  assert.equal(state.colors[0], '#ff0000');
  // Grafana's guard against scripts in links decodes what was encoded.
  const query = 'from=1699996400000&to=1700000000000&var-job=x&var-job=y&id=t 1&age=90&${__dashboard.uid}';
  assert.deepEqual(task.links[1], [{ title: 't 1 t%201', href: `/d/task?${query}` }]);
  assert.deepEqual(seen.unused_organize, ['indexByName: nothing']);
});

test('a table whose queries have no column in common but for an empty one is not merged', async () => {
  const panel = (pattern) => ({
    type: 'table',
    targets: ['A', 'B'].map((refId) => ({ refId, expr: refId, format: 'table', instant: true })),
    transformations: [{ id: 'filterFieldsByName', options: { exclude: { pattern } } }, { id: 'merge', options: {} }],
  });
  const answers = { A: vector([{ task_id: 't1' }, '1']), B: vector() };

  assert.equal((await readOne(panel('^Time$'), answers)).frames.length, 2);
  const seen = await readOne(panel('^job$'), answers);
  assert.deepEqual(seen.frames[0].fields.map(({ name }) => name), ['Time', 'task_id', 'Value #A', 'Value #B']);
});

test('a state timeline shows labels over time', async () => {
  const panel = {
    type: 'state-timeline',
    targets: [{ refId: 'A', expr: 'status', format: 'table', range: true }],
    transformations: [
      { id: 'sortBy', options: { sort: [{ field: 'Time' }] } },
      { id: 'organize', options: { excludeByName: { Value: true }, indexByName: { Time: 0, state: 1 } } },
    ],
  };
  const running = [[NOW - 15, '1'], [NOW, '1']];
  const queued = [[NOW - 60, '1']];
  const answers = { A: matrix([{ state: 'running' }, running], [{ state: 'queued', code: '24' }, queued]) };
  assert.deepEqual(columns(await readOne(panel, answers)), {
    Time: ['2023-11-14 22:12:20', '2023-11-14 22:13:05', '2023-11-14 22:13:20'],
    state: ['queued', 'running', 'running'],
    code: ['24', '', ''],
  });
});

test('a heatmap has the count of each bucket, in the order of their bounds', async () => {
  const panel = { type: 'heatmap', targets: [{ refId: 'A', expr: 'buckets', format: 'heatmap', range: true }] };
  const bucket = (le, ...counts) => [{ le }, counts.map((count, i) => [NOW + 15 * i, count])];
  const answer = matrix(bucket('+Inf', '6', '9'), bucket('10', '3', '7'), bucket('2.5', '1', '7'));
  const seen = await readOne(panel, { A: answer });
  const counts = seen.frames[0].fields.slice(1).map(({ name, values }) => [name, values]);
  assert.deepEqual(counts, [['2.5', [1, 7]], ['10', [2, 0]], ['+Inf', [3, 2]]]);
});

test('what cannot be shown is an error of its panel alone', async () => {
  const targets = [{ refId: 'A', expr: 'up' }];
  const panels = [
    { panel: { type: 'stat', targets, transformations: [{ id: 'mergge', options: {} }] }, answers: { A: vector() } },
    { panel: { type: 'stat', targets }, answers: {} },
    { panel: { type: 'stat', targets }, answers: { A: vector([{}, '1']) } },
  ];
  const seen = await read({ now: NOW, from: NOW, to: NOW, panels });
  assert.deepEqual(
    seen.panels.map(({ error }) => error),
    ['unknown transformation mergge', 'no answer to query A', null],
  );
});
