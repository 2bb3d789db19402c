import assert from 'node:assert/strict';
import { test } from 'node:test';

import { errorsOf } from './types.mjs';

const words = () => ({ type: 'text', title: 'Words', options: { mode: 'markdown', content: '' } });

const dashboard = () => ({
  title: 'Made up',
  schemaVersion: 42,
  annotations: { list: [{ name: 'Alerts', enable: true, iconColor: 'red', expr: 'ALERTS', titleFormat: 'alert' }] },
  templating: { list: [{ name: 'job', type: 'query', definition: 'label_values(job)', query: {}, refresh: 2 }] },
  panels: [
    {
      type: 'table',
      title: 'Tasks',
      options: { cellHeight: 'sm', showHeader: true },
      fieldConfig: {
        defaults: { custom: { align: 'left' }, color: { mode: 'thresholds' } },
        overrides: [
          {
            matcher: { id: 'byName', options: 'Age' },
            properties: [
              { id: 'unit', value: 's' },
              { id: 'custom.cellOptions', value: { type: 'color-text' } },
              { id: 'links', value: [{ title: 'Task', url: '/d/task' }] },
            ],
          },
        ],
      },
      targets: [{ refId: 'A', expr: 'up', format: 'table', instant: true, datasource: { uid: '$datasource' } }],
      transformations: [{ id: 'organize', options: { renameByName: { Value: 'Age' } } }],
    },
    { type: 'row', id: 2, title: 'More', collapsed: true, panels: [words()] },
  ],
});

test('what Grafana takes is valid', () => {
  assert.deepEqual(errorsOf([{ name: 'a.json', json: dashboard() }]), []);
});

const MISTAKES = {
  'titel': (json) => (json.titel = ''),
  'schemaVersion': (json) => (json.schemaVersion = 41),
  'annotations.list.0.tilteFormat': (json) => (json.annotations.list[0].tilteFormat = ''),
  'templating.list.0.refresh': (json) => (json.templating.list[0].refresh = 3),
  'panel "Tasks": fieldConfig': (json) => (json.panels[0].fieldConfig = {}),
  'panel "Tasks": type': (json) => (json.panels[0].type = 'tabel'),
  'panel "Tasks": options.showHeadr': (json) => (json.panels[0].options.showHeadr = true),
  'panel "Tasks": fieldConfig.defaults.color.mode': (json) => (defaultsOf(json).color.mode = 'treshold'),
  'panel "Tasks": fieldConfig.defaults.custom.align': (json) => (defaultsOf(json).custom.align = 'centre'),
  'panel "Tasks": fieldConfig.overrides.0.properties.0.id': (json) => (propertiesOf(json)[0].id = 'units'),
  'panel "Tasks": fieldConfig.overrides.0.properties.1.value.type': (json) => (propertiesOf(json)[1].value.type = ''),
  'panel "Tasks": fieldConfig.overrides.0.properties.2.value.0.uri': (json) => (propertiesOf(json)[2].value[0].uri = 1),
  'panel "Tasks": targets.0.format': (json) => (json.panels[0].targets[0].format = 'tabel'),
  'panel "Tasks": transformations.0.options.nam': (json) => (json.panels[0].transformations[0].options.nam = {}),
  'panel "Words": options.mode': (json) => (json.panels[1].panels[0].options.mode = 'md'),
};

const defaultsOf = (json) => json.panels[0].fieldConfig.defaults;

const propertiesOf = (json) => json.panels[0].fieldConfig.overrides[0].properties;

test('each mistake is found where it is', () => {
  // All at once, because the compiler takes a second to start.
  const broken = Object.values(MISTAKES).map((mistake) => {
    const json = dashboard();
    mistake(json);
    return { name: 'a.json', json };
  });
  const places = Object.keys(MISTAKES).map((place) => `a.json: ${place}`);
  const found = errorsOf(broken).map((error, i) => (error.startsWith(`${places[i]}: `) ? places[i] : error));
  assert.deepEqual(found, places);
});
