// A time series panel: lines, areas or bars, the line of a limit, and when alerts fired.

import { valueAxis } from './axis.mjs';
import { html } from './html.mjs';
import { legend, legendRoom } from './legend.mjs';
import { plot, plotArea, rect, round } from './plot.mjs';

const BAR_SHARE = 0.6;
const LIMIT_OPACITY = 0.15;
const SPAN_OPACITY = 0.1;
// Pixels; what stands below a span, that a short one is seen as well.
const FOOT = 4;

export function drawChart({ panel, seen, time, annotations, size }) {
  const series = seriesOf(seen);
  const { defaults } = panel.fieldConfig;
  if (series.length === 0) {
    return html`<p class="none">${defaults.noValue ?? 'No data'}</p>`;
  }
  const room = legendRoom(series, panel.options?.legend, size);
  const space = { width: size.width - room.width, height: size.height - room.height };
  const drawn = stacked(series, defaults.custom?.stacking?.mode === 'normal');
  const axis = valueAxis(Math.max(...drawn.flatMap(({ tops }) => tops)), defaults, space.height);
  const area = plotArea(space, time, axis.ticks.map(({ text }) => text), [axis.min, axis.max]);
  const marks = axis.ticks.map(({ value, text }) => ({ text, y: area.y(value) }));
  const draw = defaults.custom?.drawStyle === 'bars' ? drawBars : drawLine;
  return html`${plot(area, marks, [
    annotations.map((span) => drawSpan(span, area)),
    drawLimits(defaults, axis, area),
    drawn.map((one) => draw(one, area, defaults.custom ?? {}, time.step * 1000)),
  ])}${legend(series, panel.options?.legend, room)}`;
}

/** Each field of numbers, with the time field beside it. */
function seriesOf({ frames }) {
  return frames.flatMap(({ fields }) => {
    const times = fields.find(({ type }) => type === 'time')?.values;
    const numbers = fields.filter(({ type, values }) => type === 'number' && values.some((value) => value !== null));
    return numbers.map(({ name, values, texts, colors }) => ({ name, times, values, texts, color: colors[0] }));
  });
}

/** Each series with its `points`: where it begins and ends at each time, null for a gap. */
function stacked(series, isStacked) {
  const heights = new Map();
  return series.map(({ color, times, values }) => {
    const points = times.map((time, i) => {
      if (values[i] === null) {
        return null;
      }
      const base = isStacked ? (heights.get(time) ?? 0) : 0;
      heights.set(time, base + values[i]);
      return { time, base, top: base + values[i] };
    });
    return { color, points, tops: points.filter(Boolean).map(({ top }) => top).filter(Number.isFinite) };
  });
}

function drawLine({ color, points }, area, { fillOpacity = 0, lineWidth = 1, showPoints = 'auto' }) {
  return runsOf(points).map((run) => {
    const line = run.map(({ time, top }) => `${area.x(time)} ${area.y(top)}`);
    const back = run.toReversed().map(({ time, base }) => `${area.x(time)} ${area.y(base)}`);
    // A point alone has no line.
    const [x, y] = line[0].split(' ');
    return run.length === 1
      ? showPoints !== 'never' && html`<circle cx="${x}" cy="${y}" r="2" fill="${color}"/>`
      : html`<path fill="${color}" fill-opacity="${fillOpacity / 100}" d="M${[...line, ...back].join('L')}Z"/>
<path fill="none" stroke="${color}" stroke-width="${lineWidth}" d="M${line.join('L')}"/>`;
  });
}

function runsOf(points) {
  const runs = [[]];
  for (const point of points) {
    if (point && Number.isFinite(point.top)) {
      runs.at(-1).push(point);
    } else {
      runs.push([]);
    }
  }
  return runs.filter((run) => run.length > 0);
}

function drawBars({ color, points }, area, { fillOpacity = 0 }, step) {
  const width = (area.x(step) - area.x(0)) * BAR_SHARE;
  const bars = points.filter((point) => point && point.top > point.base);
  return bars.map(({ time, base, top }) => {
    const left = round(area.x(time) - width / 2);
    return rect(left, area.y(top), width, area.y(base) - area.y(top), color, fillOpacity / 100);
  });
}

/** Grafana does not make room for a limit that the values stay far below. */
function drawLimits({ custom, thresholds }, axis, area) {
  const steps = custom?.thresholdsStyle?.mode === 'dashed+area' ? thresholds.steps : [];
  return steps
    .filter(({ value, color }) => value !== null && color !== 'transparent' && value <= axis.max)
    .map(({ value, color }) => {
      const { left, right, top } = area;
      const y = area.y(value);
      return html`${rect(left, top, right - left, y - top, color, LIMIT_OPACITY)}
<path stroke="${color}" stroke-width="2" stroke-dasharray="10 10" d="M${left} ${y}H${right}"/>`;
    });
}

function drawSpan({ from, to, color }, area) {
  const { top, bottom } = area;
  const [left, right] = [area.x(from), area.x(to)];
  return html`${rect(left, top, right - left, bottom - top, color, SPAN_OPACITY)}
<path class="mark" stroke="${color}" d="M${left} ${top}V${bottom}M${right} ${top}V${bottom}"/>
${rect(left, bottom - FOOT, Math.max(FOOT, right - left), FOOT, color)}`;
}
