// The transformations of a panel, applied one by one: Grafana itself says nothing of one that finds no field.

import { grafana } from './grafana.mjs';

const { getFieldDisplayName, standardTransformersRegistry, transformDataFrame } = grafana;

/** The frames after all of them, and `unused`: the names in an organize or sortBy that no field of its input has. */
export async function transformed(frames, transformations, replace) {
  const unused = [];
  for (const transformation of transformations.filter(appliesToSeries)) {
    unused.push(...unusedNames(transformation, frames));
    frames = await once(transformation, frames, replace);
  }
  return { frames, unused };
}

const appliesToSeries = ({ disabled, topic = 'series' }) => !disabled && topic === 'series';

function once(transformation, frames, replace) {
  if (!standardTransformersRegistry.getIfExists(transformation.id)) {
    throw new Error(`unknown transformation ${transformation.id}`);
  }
  return new Promise((resolve, reject) => {
    const context = { interpolate: replace };
    transformDataFrame([transformation], frames, context).subscribe({ next: resolve, error: reject });
  });
}

function unusedNames({ id, options = {} }, frames) {
  const names = fieldNames(frames);
  return wantedNames(id, options)
    .filter(({ name }) => !names.has(name))
    .map(({ key, name }) => `${key}: ${name}`);
}

function wantedNames(id, options) {
  switch (id) {
    case 'organize':
      return ['excludeByName', 'includeByName', 'indexByName', 'renameByName'].flatMap((key) =>
        Object.keys(options[key] ?? {}).map((name) => ({ key, name })),
      );
    case 'sortBy':
      return (options.sort ?? []).map(({ field }) => ({ key: 'sortBy', name: field }));
    default:
      return [];
  }
}

function fieldNames(frames) {
  return new Set(frames.flatMap((frame) => frame.fields.map((field) => getFieldDisplayName(field, frame, frames))));
}
