// A dashboard in parts, each with the type of types/model.ts that it must have. A part alone is described by its own
// type, where the whole would be a union of everything.

/** Each part is `{ where, path, type, value }`: `path` leads from what `where` names to the value. */
export function partsOf(name, dashboard) {
  return [
    { where: name, path: [], type: 'Dashboard', value: dashboard },
    ...(dashboard.panels ?? []).flatMap((panel) => panelParts(name, panel)),
  ];
}

function panelParts(name, panel) {
  const where = `${name}: panel ${quoted(panel.title ?? panel.id)}`;
  const part = (path, type, value) => ({ where, path, type, value });
  if (panel.type === 'row') {
    return [part([], 'Row', panel), ...(panel.panels ?? []).flatMap((inner) => panelParts(name, inner))];
  }
  const type = quoted(panel.type);
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  return [
    part([], 'Panel', panel),
    part(['options'], `Options<${type}>`, panel.options ?? {}),
    part(['fieldConfig', 'defaults', 'custom'], `Custom<${type}>`, defaults.custom ?? {}),
    ...overrides.flatMap(({ properties = [] }, i) =>
      properties.map((property, j) =>
        part(['fieldConfig', 'overrides', i, 'properties', j], `Property<${type}, ${quoted(property.id)}>`, property),
      ),
    ),
    ...(panel.targets ?? []).map((target, i) => part(['targets', i], 'Target', target)),
    ...(panel.transformations ?? []).map((transformation, i) =>
      part(['transformations', i], `Transformation<${quoted(transformation.id)}>`, transformation),
    ),
  ];
}

const quoted = (text) => JSON.stringify(String(text));
