// Where the ticks of an axis stand, and what they say.

import { TIME_ZONE, grafana } from '../read/grafana.mjs';

const { dateTimeFormat, formattedValueToString, getValueFormat, guessDecimals, incrRoundUp, roundDecimals } = grafana;

const TICK_HEIGHT = 40;
const TICK_WIDTH = 90;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// Grafana does not round seconds to minutes or hours.
const STEPS = [1, 2, 2.5, 5, 10];
const BINARY_UNITS = new Set(['bits', 'bytes', 'kbytes', 'mbytes', 'gbytes', 'tbytes', 'pbytes', 'binBps', 'binbps']);
const TIME_STEPS = [
  ...[5, 10, 15, 30].map((seconds) => seconds * 1000),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 3, 4, 6, 8, 12].map((hours) => hours * HOUR),
  ...[1, 2, 7, 30].map((days) => days * DAY),
];

/** `greatest` is the greatest value drawn; the axis ends above it, as uPlot's do. */
export function valueAxis(greatest, { min = 0, max, unit, decimals }, height) {
  const end = max ?? roomAbove(greatest, min);
  const least = (end - min) / Math.max(1, Math.floor(height / TICK_HEIGHT));
  const step = BINARY_UNITS.has(unit) ? 2 ** Math.ceil(Math.log2(least)) : stepOf(least, decimals);
  const count = Math.floor((end - min) / step + 1e-9);
  const values = Array.from({ length: count + 1 }, (_, i) => roundDecimals(min + i * step, 9));
  const digits = decimals ?? (guessDecimals(roundDecimals(step, 9)) || undefined);
  const text = (value) => formattedValueToString(getValueFormat(unit)(value, digits));
  return { min, max: end, ticks: values.map((value) => ({ value, text: text(value) })) };
}

function roomAbove(greatest, min) {
  // uPlot draws a line of zeros below an axis up to 100.
  const room = greatest > min ? (greatest - min) * 1.1 : 100;
  return min + incrRoundUp(room, 10 ** Math.floor(Math.log10(room)) / 10);
}

function stepOf(least, decimals) {
  const power = 10 ** Math.floor(Math.log10(least));
  const step = power * STEPS.find((factor) => factor * power >= least * 0.999);
  return decimals === 0 ? Math.max(1, Math.ceil(step)) : step;
}

/** In milliseconds. */
export function timeAxis(from, to, width) {
  const least = ((to - from) * TICK_WIDTH) / width;
  const step = TIME_STEPS.find((one) => one >= least) ?? TIME_STEPS.at(-1);
  const first = Math.ceil(from / step) * step;
  const count = Math.floor((to - first) / step) + 1;
  const format = step >= DAY ? 'MM/DD' : to - from > DAY ? 'MM/DD HH:mm' : step >= MINUTE ? 'HH:mm' : 'HH:mm:ss';
  return Array.from({ length: Math.max(0, count) }, (_, i) => first + i * step).map((value) => ({
    value,
    text: dateTimeFormat(value, { format, timeZone: TIME_ZONE }),
  }));
}
