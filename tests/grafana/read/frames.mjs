// From the answers of Prometheus' HTTP API to data frames, as Grafana's Prometheus data source shows them.

import { grafana } from './grafana.mjs';

const { DataFrameType, FieldType } = grafana;

/**
 * The frames of a panel. `answers` has the `data` of an answer for each refId, `steps` optionally the step of its range
 * query in seconds; without it, the step is the smallest distance between two samples.
 */
export function framesOf(targets, answers, steps = {}) {
  const queries = targets.filter(({ hide }) => !hide).map((target) => queryOf(target, answers, steps));
  const unasked = Object.keys(answers).filter((refId) => !targets.some((target) => target.refId === refId));
  if (unasked.length > 0) {
    throw new Error(`an answer to ${unasked.join(', ')}, which the panel does not ask`);
  }
  const asked = (format) => queries.filter((query) => query.format === format);
  return [
    ...asked('time_series').flatMap(timeSeriesFrames),
    ...tableFrames(asked('table')),
    ...asked('heatmap').flatMap(heatmapFrames),
  ];
}

const FORMATS = ['time_series', 'table', 'heatmap'];

function queryOf({ refId, expr, legendFormat, format = 'time_series' }, answers, steps) {
  if (!FORMATS.includes(format)) {
    throw new Error(`query ${refId} has the unknown format ${format}`);
  }
  if (!answers[refId]) {
    throw new Error(`no answer to query ${refId}`);
  }
  const series = seriesOf(answers[refId], refId);
  const step = answers[refId].resultType === 'matrix' ? stepOf(series, steps[refId]) : undefined;
  return { refId, expr, legendFormat, format, series, step };
}

function seriesOf({ resultType, result }, refId) {
  switch (resultType) {
    case 'matrix':
      return result.map(({ metric, values }) => oneSeries(metric, values, refId));
    case 'vector':
      return result.map(({ metric, value }) => oneSeries(metric, value && [value], refId));
    case 'scalar':
      return [oneSeries({}, [result], refId)];
    default:
      throw new Error(`query ${refId} was answered with a ${resultType}`);
  }
}

function oneSeries(labels, samples, refId) {
  if (!samples) {
    throw new Error(`query ${refId} was answered with a native histogram`);
  }
  return {
    labels,
    times: samples.map(([time]) => Math.round(time * 1000)),
    values: samples.map(([, text]) => number(text)),
  };
}

const INFINITIES = { '+Inf': Infinity, Inf: Infinity, '-Inf': -Infinity };

const number = (text) => INFINITIES[text] ?? Number(text);

/** In milliseconds; undefined when no series has two samples. */
function stepOf(series, seconds) {
  if (seconds !== undefined) {
    return seconds * 1000;
  }
  const distances = series.flatMap(({ times }) => times.slice(1).map((time, i) => time - times[i]));
  return distances.length > 0 ? distances.reduce((a, b) => Math.min(a, b)) : undefined;
}

// Grafana keeps a query without a result as a frame without fields.
const emptyFrame = (refId) => ({ refId, fields: [], length: 0 });

const timeField = (values, config = {}) => ({ name: 'Time', type: FieldType.time, config, values });

const numberField = (name, values, config = {}) => ({ name, type: FieldType.number, config, values });

function timeSeriesFrames(query) {
  const { refId, series, step } = query;
  return series.length === 0 ? [emptyFrame(refId)] : series.map((one) => timeSeriesFrame(query, one, step));
}

function timeSeriesFrame(query, { labels, times, values }, step) {
  const legend = legendOf(query, labels);
  const value = numberField(labels.__name__ ?? 'Value', values, legend ? { displayNameFromDS: legend } : {});
  return {
    refId: query.refId,
    name: legend,
    meta: { type: DataFrameType.TimeSeriesMulti, typeVersion: [0, 1] },
    fields: [timeField(times, step ? { interval: step } : {}), { ...value, labels }],
    length: times.length,
  };
}

/** Undefined leaves the name to Grafana, which then takes what tells the series apart. */
function legendOf({ legendFormat, expr }, labels) {
  if (legendFormat === '__auto') {
    return Object.keys(labels).length > 0 ? undefined : expr;
  }
  if (legendFormat) {
    return legendFormat.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => labels[label] ?? '') || undefined;
  }
  const { __name__ = '', ...rest } = labels;
  return `${__name__}${grafana.formatLabels(rest)}` || expr;
}

function tableFrames(queries) {
  if (queries.length === 1 && queries[0].series.length === 0) {
    return [emptyFrame(queries[0].refId)];
  }
  return queries.map((query) => tableFrame(query, queries.length > 1 ? `Value #${query.refId}` : 'Value'));
}

/** A row a sample. Beside other queries, one without a result has its time and value columns, and no row. */
function tableFrame({ refId, series }, valueName) {
  const times = series.flatMap((one) => one.times);
  const names = new Set(series.flatMap(({ labels }) => Object.keys(labels).sort()));
  return {
    refId,
    meta: { type: DataFrameType.TimeSeriesMulti, typeVersion: [0, 1] },
    fields: [
      timeField(times),
      ...[...names].map((name) => labelField(name, series)),
      numberField(valueName, series.flatMap((one) => one.values)),
    ],
    length: times.length,
  };
}

function labelField(name, series) {
  const texts = series.flatMap(({ labels, times }) => times.map(() => labels[name] ?? ''));
  // Grafana sorts and formats the bounds of histograms as numbers.
  const isBound = name === 'le';
  return {
    name,
    type: isBound ? FieldType.number : FieldType.string,
    config: { filterable: true },
    values: isBound ? texts.map(number) : texts,
  };
}

/** One frame a histogram, that is, for all series that differ in nothing but `le`. */
function heatmapFrames({ refId, legendFormat, series }) {
  if (series.length === 0) {
    return [emptyFrame(refId)];
  }
  const histograms = groupBy(series, histogramKey);
  return [...histograms.values()].map((buckets) => heatmapFrame(refId, legendFormat, buckets));
}

const histogramKey = ({ labels: { le, ...rest } }) => grafana.formatLabels(rest);

function groupBy(items, key) {
  const groups = new Map();
  for (const item of items) {
    groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  }
  return groups;
}

function heatmapFrame(refId, legendFormat, buckets) {
  const sorted = buckets.toSorted((a, b) => number(a.labels.le) - number(b.labels.le));
  const times = [...new Set(sorted.flatMap((bucket) => bucket.times))].sort((a, b) => a - b);
  const counts = sorted.map((bucket) => countsAt(bucket, times));
  const fields = sorted.map(({ labels }, i) => {
    const own = counts[i].map((count, row) => withoutLower(count, counts[i - 1]?.[row]));
    const legend = legendFormat ? legendOf({ legendFormat }, labels) : undefined;
    return { ...numberField(labels.le, own, { displayNameFromDS: legend ?? labels.le }), labels };
  });
  return {
    refId,
    meta: { type: DataFrameType.HeatmapRows },
    fields: [timeField(times), ...fields],
    length: times.length,
  };
}

function countsAt({ times, values }, wanted) {
  const at = new Map(times.map((time, i) => [time, values[i]]));
  return wanted.map((time) => at.get(time) ?? null);
}

/** Prometheus counts a sample in its bucket and in all above. Rates that are rounded may leave less than nothing. */
const withoutLower = (count, lower) => (count === null ? null : Math.max(0, count - (lower ?? 0)));
