// What stands for $name, ${name}, ${name:format} and [[name]] in texts and links: Grafana leaves this to its app.

import { grafana } from './grafana.mjs';

const EXPRESSION = new RegExp(
  [
    /\$(?<plain>\w+)/,
    /\[\[(?<old>\w+)(?::(?<oldFormat>\w+))?\]\]/,
    /\$\{(?<name>\w+)(?:\.(?<path>[^:}]+))?(?::(?<format>[^}]+))?\}/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'g',
);

/**
 * A function `(text, scopedVars, format) => text` as @grafana/data asks for. An expression whose value is not known,
 * for want of a row or of the variable, is left as it stands, as Grafana does.
 */
export function replacer(variables, { from, to }) {
  const dashboard = { variables, from: from * 1000, to: to * 1000 };
  return (text, scopedVars = {}, format = undefined) =>
    String(text ?? '').replace(EXPRESSION, (expression, ...rest) => {
      const found = rest.at(-1);
      const name = found.plain ?? found.old ?? found.name;
      const value = lookUp(name, found.path, dashboard, scopedVars ?? {});
      return value === undefined ? expression : formatted(name, value, found.format ?? found.oldFormat ?? format);
    });
}

// Parts of a URL that are encoded already.
class Verbatim extends String {}

function lookUp(name, path, dashboard, scopedVars) {
  const { variables, from, to } = dashboard;
  const context = scopedVars.__dataContext?.value;
  switch (name) {
    case '__from':
      return from;
    case '__to':
      return to;
    case '__url_time_range':
      return new Verbatim(`from=${from}&to=${to}`);
    case '__all_variables':
      return new Verbatim(Object.entries(variables).map(([key, value]) => queryParameter(key, value)).join('&'));
    case '__value':
      return context && cellValue(path, context);
    case '__data':
      return context && path && rowValue(path, context);
    case '__field':
      return context && path && (property(fieldFacts(context), path) ?? '');
    case '__series':
      return context && path === 'name' ? grafana.getFrameDisplayName(context.frame, context.frameIndex) : undefined;
    default:
      return scopedVars[name]?.value ?? (Object.hasOwn(variables, name) ? variables[name] : undefined);
  }
}

function cellValue(path, { frame, field, rowIndex, calculatedValue }) {
  if (calculatedValue) {
    return shownValue(path === 'raw' ? 'numeric' : path, calculatedValue);
  }
  if (rowIndex === undefined) {
    return undefined;
  }
  switch (path) {
    case 'raw':
      return field.values[rowIndex] ?? '';
    case 'time':
      return frame.fields.find(({ type }) => type === grafana.FieldType.time)?.values[rowIndex] ?? '';
    default:
      return shownValue(path, field.display(field.values[rowIndex]));
  }
}

function shownValue(path, shown) {
  switch (path) {
    case 'numeric':
      return shown.numeric;
    case 'time':
      return '';
    default:
      return grafana.formattedValueToString(shown);
  }
}

function rowValue(path, { frame, rowIndex }) {
  if (rowIndex === undefined) {
    return undefined;
  }
  const fields = grafana.getFieldDisplayValuesProxy({ frame, rowIndex });
  return property({ name: frame.name, refId: frame.refId, fields }, path) ?? '';
}

function fieldFacts({ field, frame, data }) {
  const labels = { ...field.labels };
  Object.defineProperty(labels, 'toString', { value: () => grafana.formatLabels(field.labels, '', true) });
  return { name: field.name, displayName: grafana.getFieldDisplayName(field, frame, data), labels };
}

const STEP = /\[\s*(?:"([^"]*)"|'([^']*)'|([^\]]+))\s*\]|([^.[\]]+)/g;

/** `fields.state`, `fields["Last error"]`, `fields[0].numeric`. */
function property(root, path) {
  const steps = [...path.matchAll(STEP)].map(([, double, single, index, plain]) => double ?? single ?? index ?? plain);
  return steps.reduce((value, step) => value?.[step], root);
}

function formatted(name, value, format = 'glob') {
  if (value instanceof Verbatim) {
    return String(value);
  }
  // A value of a row is an object that knows its text.
  const plain = typeof value === 'object' && !Array.isArray(value) ? String(value) : value;
  if (typeof format === 'function') {
    return format(plain, { name });
  }
  const [id, ...rest] = format.split(':');
  return (FORMATS[id] ?? FORMATS.glob)(plain, name, rest.join(':'));
}

const FORMATS = {
  glob: (value) => (Array.isArray(value) && value.length > 1 ? `{${value}}` : String(value)),
  raw: String,
  text: (value) => list(value).join(' + '),
  csv: (value) => list(value).join(','),
  pipe: (value) => list(value).join('|'),
  join: (value, _, separator) => list(value).join(separator || ','),
  json: (value) => (typeof value === 'string' ? value : JSON.stringify(value)),
  html: (value) => grafana.textUtil.escapeHtml(list(value).join(', ')),
  regex: (value) => alternatives(list(value).map((item) => grafana.escapeRegex(String(item)))),
  singlequote: (value) => list(value).map((item) => `'${String(item).replaceAll("'", "\\'")}'`).join(','),
  doublequote: (value) => list(value).map((item) => `"${String(item).replaceAll('"', '\\"')}"`).join(','),
  percentencode: (value) => strictly(encodeURIComponent(Array.isArray(value) ? `{${value}}` : value)),
  uriencode: (value) => strictly(encodeURI(Array.isArray(value) ? `{${value}}` : value)),
  queryparam: (value, name) => queryParameter(name, value),
  date: (value, _, pattern) => date(Number(value), pattern),
};

const list = (value) => (Array.isArray(value) ? value : [value]);

const alternatives = (items) => (items.length === 1 ? items[0] : `(${items.join('|')})`);

// RFC 3986 reserves more than JavaScript encodes.
const strictly = (encoded) => encoded.replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

function queryParameter(name, value) {
  return list(value).map((item) => `var-${name}=${strictly(encodeURIComponent(item))}`).join('&');
}

function date(ms, pattern) {
  switch (pattern) {
    case 'ms':
      return String(ms);
    case 'seconds':
      return String(Math.round(ms / 1000));
    case '':
    case 'iso':
      return new Date(ms).toISOString();
    default:
      return grafana.dateTimeFormat(ms, { format: pattern, timeZone: 'utc' });
  }
}
