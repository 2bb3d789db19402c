// Grafana's own data code, set up as Grafana sets it up when it starts.

import { createRequire } from 'node:module';

// The ESM build of @grafana/data imports files without their extension, which Node refuses; the CommonJS build loads.
export const grafana = createRequire(import.meta.url)('@grafana/data');

export const THEME = grafana.createTheme();
export const TIME_ZONE = 'utc';

// What the data code asks of a browser. It is set after loading, lest a library takes Node for a browser.
// transformDataFrame looks for a scene in the window.
globalThis.window = {};
// dateTimeAsLocal formats in the browser's language.
Object.defineProperty(globalThis, 'navigator', { value: { languages: ['en-US'] }, configurable: true });

for (const transformation of new Set(Object.values(grafana.standardTransformers))) {
  const { id, name } = transformation;
  grafana.standardTransformersRegistry.register({ id, name, transformation: () => transformation });
}

// A matcher that tells which rules matched a field at all: an override that matches nothing is silent in Grafana.
const RECORDING = 'recording';
grafana.fieldMatchers.register({
  id: RECORDING,
  name: RECORDING,
  get: ({ rule, matched }) => {
    const matches = grafana.getFieldMatcher(rule.matcher);
    return (...field) => matches(...field) && Boolean(matched.add(rule));
  },
});

/** `rule` as an override that adds itself to the set `matched` when it matches a field. */
export function recording(rule, matched) {
  return { ...rule, matcher: { ...rule.matcher, id: RECORDING, options: { rule, matched } } };
}

export const isMatcher = (id) => grafana.fieldMatchers.getIfExists(id) !== undefined;
