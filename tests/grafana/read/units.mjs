import { grafana } from './grafana.mjs';

const KNOWN = new Set(grafana.getValueFormats().flatMap(({ submenu }) => submenu.map(({ value }) => value)));

// Grafana makes a unit of whatever follows.
const CUSTOM = /^(prefix|suffix|time|si|count|currency|bool):/;

/** The panel's units that Grafana does not know: it would write them behind the number as they are. */
export function unknownUnits({ fieldConfig = {}, options = {} }) {
  const overridden = (fieldConfig.overrides ?? []).flatMap(({ properties }) => properties);
  const units = [
    fieldConfig.defaults?.unit,
    ...overridden.filter(({ id }) => id === 'unit').map(({ value }) => value),
    // A heatmap has no use for the unit of its fields.
    options.yAxis?.unit,
    options.cellValues?.unit,
  ];
  return [...new Set(units)].filter((unit) => unit && !KNOWN.has(unit) && !CUSTOM.test(unit));
}
