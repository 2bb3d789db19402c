// What a panel plug-in tells Grafana about the configuration of its fields, as far as texts and colours depend on it.

import { grafana } from './grafana.mjs';

const { FieldConfigOptionsRegistry, FieldType, getPanelOptionsWithDefaults } = grafana;

/** The panel's field configuration, completed with Grafana's defaults, and the registry that applies it to fields. */
export function fieldConfigOf(panel) {
  const registry = registryOf(panel);
  const defaults = { custom: {} };
  for (const { id, defaultValue } of registry.list()) {
    if (defaultValue !== undefined) {
      defaults[id] = structuredClone(defaultValue);
    }
  }
  const plugin = { defaults: {}, fieldConfigDefaults: { defaults, overrides: [] }, fieldConfigRegistry: registry };
  const currentFieldConfig = structuredClone(panel.fieldConfig);
  const { fieldConfig } = getPanelOptionsWithDefaults({ plugin, currentFieldConfig, isAfterPluginChange: false });
  return { fieldConfig, registry };
}

function registryOf(panel) {
  const registry = new FieldConfigOptionsRegistry();
  for (const item of [...standardItems(panel.type), ...customItems(panel.fieldConfig ?? {})]) {
    registry.register(item);
  }
  return registry;
}

const same = (value) => value;
const always = () => true;
const onNumbers = ({ type }) => type === FieldType.number;
const expanded = { expandTemplateVars: true };

const item = (id, rest = {}) => ({ id, path: id, name: id, process: same, shouldApply: always, ...rest });

function standardItems(panelType) {
  return [
    item('unit'),
    item('min', { process: grafana.numberOverrideProcessor, shouldApply: onNumbers }),
    item('max', { process: grafana.numberOverrideProcessor, shouldApply: onNumbers }),
    item('fieldMinMax', { shouldApply: onNumbers }),
    item('decimals', { process: grafana.numberOverrideProcessor, shouldApply: onNumbers }),
    item('displayName', { process: grafana.displayNameOverrideProcessor, settings: expanded }),
    item('noValue', { process: grafana.stringOverrideProcessor, settings: expanded }),
    item('color', { defaultValue: { mode: COLOR_MODES[panelType] ?? 'thresholds' } }),
    item('mappings', { defaultValue: [] }),
    item('thresholds', { process: grafana.thresholdsOverrideProcessor, defaultValue: THRESHOLDS }),
    item('links'),
    item('actions'),
    item('filterable'),
    item('description'),
  ];
}

const COLOR_MODES = {
  barchart: 'palette-classic',
  histogram: 'palette-classic',
  piechart: 'palette-classic',
  'state-timeline': 'continuous-GrYlRd',
  timeseries: 'palette-classic',
};

// A panel that sets no thresholds turns red at 80.
const THRESHOLDS = { mode: 'absolute', steps: [{ value: -Infinity, color: 'green' }, { value: 80, color: 'red' }] };

/** How a field is drawn does not change what it says, so the plug-in's own properties are passed on as they are. */
function customItems({ defaults = {}, overrides = [] }) {
  const overridden = overrides.flatMap(({ properties }) => properties.map(({ id }) => id));
  const ids = [...Object.keys(defaults.custom ?? {}).map((key) => `custom.${key}`), ...overridden];
  const custom = new Set(ids.filter((id) => id.startsWith('custom.')));
  return [...custom].map((id) => ({ ...item(id), path: id.slice('custom.'.length), isCustom: true }));
}
