// What a person sees in a panel.

import { fieldConfigOf } from './field-config.mjs';
import { framesOf } from './frames.mjs';
import { TIME_ZONE, THEME, grafana, isMatcher, recording } from './grafana.mjs';
import { transformed } from './transformations.mjs';
import { unknownUnits } from './units.mjs';

const { applyFieldOverrides, applyNullInsertThreshold, formattedValueToString, getFieldDisplayName } = grafana;

// Enough for a test, and a bound on the size of the answer.
const MAX_ROWS = 500;

const SEEN_NOTHING = { unknown_units: [], unmatched_overrides: [], unused_organize: [], frames: [], stat: [] };

/** `entry` is an element of the input's `panels`; `replace` is a function of `replacer`. */
export async function readPanel(entry, replace) {
  const { dashboard, panel } = entry;
  const head = { dashboard, id: panel.id ?? null, title: panel.title ?? '', type: panel.type };
  try {
    return { ...head, error: null, ...(await seen(entry, replace)) };
  } catch (error) {
    return { ...head, error: String(error?.message ?? error), ...SEEN_NOTHING };
  }
}

async function seen({ panel, answers, steps }, replace) {
  const answered = framesOf(panel.targets ?? [], answers ?? {}, steps);
  const { frames: reshaped, unused } = await transformed(answered, panel.transformations ?? [], replace);
  const { fieldConfig, registry } = fieldConfigOf(panel);
  const matched = new Set();
  const known = fieldConfig.overrides.filter(({ matcher }) => isMatcher(matcher.id));
  const frames = applyFieldOverrides({
    data: withGaps(panel.type, reshaped),
    fieldConfig: { ...fieldConfig, overrides: known.map((rule) => recording(rule, matched)) },
    fieldConfigRegistry: registry,
    replaceVariables: replace,
    theme: THEME,
    timeZone: TIME_ZONE,
  });
  return {
    unknown_units: unknownUnits(panel),
    unmatched_overrides: matchersOf(fieldConfig.overrides.filter((rule) => !matched.has(rule))),
    unused_organize: unused,
    frames: frames.map((frame) => seenFrame(frame, frames)),
    stat: SINGLE_VALUES.has(panel.type) ? seenValues(panel, fieldConfig, frames, replace) : [],
  };
}

const matchersOf = (rules) => rules.map(({ matcher }) => JSON.stringify(matcher));

const DRAWN_OVER_TIME = new Set(['timeseries', 'state-timeline', 'status-history']);

/** A panel over time breaks its line where a step is missing. Others, such as stat, never see the gap. */
function withGaps(panelType, frames) {
  return DRAWN_OVER_TIME.has(panelType) ? frames.map((frame) => applyNullInsertThreshold({ frame })) : frames;
}

function seenFrame(frame, frames) {
  return { ref_id: frame.refId ?? null, fields: frame.fields.map((field) => seenField(field, frame, frames)) };
}

function seenField(field, frame, frames) {
  const values = Array.from(field.values).slice(0, MAX_ROWS);
  const shown = values.map((value) => field.display(value));
  return {
    name: getFieldDisplayName(field, frame, frames),
    source: field.name,
    type: field.type,
    labels: field.labels ?? {},
    texts: shown.map(textOf),
    colors: shown.map(({ color }) => color ?? null),
    values: values.map((value) => (value === undefined || Number.isNaN(value) ? null : value)),
    links: values.map((_, row) => seenLinks(field.getLinks({ valueRowIndex: row }))),
  };
}

/** The space before AM and PM depends on Node's version. */
const textOf = (shown) => formattedValueToString(shown).replaceAll('\u202f', ' ');

const seenLinks = (links) => links.map(({ title, href }) => ({ title, href }));

const SINGLE_VALUES = new Set(['stat', 'gauge', 'bargauge']);

const REDUCE_OPTIONS = { calcs: ['lastNotNull'], fields: '', values: false };

function seenValues(panel, fieldConfig, frames, replace) {
  const values = grafana.getFieldDisplayValues({
    data: frames,
    fieldConfig,
    reduceOptions: { ...REDUCE_OPTIONS, ...panel.options?.reduceOptions },
    replaceVariables: replace,
    theme: THEME,
    timeZone: TIME_ZONE,
  });
  return values.map(({ display, getLinks }) => ({
    title: display.title ?? '',
    text: textOf(display),
    color: display.color ?? null,
    links: seenLinks(getLinks?.() ?? []),
  }));
}
