// Grafana panels. Each has a title, a description and a unit; their common parts are defined here.
local datasource = { type: 'prometheus', uid: '${datasource}' };

local panel(type, title, description, targets) = {
  type: type,
  title: title,
  description: description,
  datasource: datasource,
  targets: [
    targets[index] { refId: std.char(std.codepoint('A') + index) }
    for index in std.range(0, std.length(targets) - 1)
  ],
  // The one word for "nothing to see", in grey: the base of `thresholds`.
  fieldConfig+: { defaults+: { noValue: '–' }, overrides+: [] },
  options+: {},
  transformations: [],
};

local target(expr) = { datasource: datasource, editorMode: 'code', expr: expr };

local highlighted = { type: 'color-background', mode: 'basic' };

local defaults(more) = { fieldConfig+: { defaults+: more } };
local override(matcher, options, properties) = {
  matcher: { id: matcher, options: options },
  properties: [{ id: id, value: properties[id] } for id in std.objectFields(properties)],
};
local steps(base, marks) = {
  mode: 'absolute',
  steps: [{ color: base, value: null }] + [{ color: mark[1], value: mark[0] } for mark in marks],
};

{
  datasource:: datasource,

  // Queries: series over time, their values now, or table rows, now or over time.
  series(expr, legend):: target(expr) { format: 'time_series', range: true, legendFormat: legend },
  now(expr):: target(expr) { format: 'time_series', instant: true, legendFormat: '' },
  rows(expr):: target(expr) { format: 'table', instant: true },
  history(expr):: target(expr) { format: 'table', range: true },
  buckets(expr):: target(expr) { format: 'heatmap', range: true, legendFormat: '{{le}}' },

  // Options to add with `+`.
  unit(unit, decimals=null):: defaults(
    { unit: unit } + if decimals == null then {} else { decimals: decimals }
  ),
  max(max):: defaults({ max: max }),
  noValue(text):: defaults({ noValue: text }),
  // Colours by value: `base`, also for no value, and the colour of each [value, colour] of `marks` from that
  // value on.
  thresholds(base, marks=[]):: defaults({ thresholds: steps(base, marks), color: { mode: 'thresholds' } }),
  // A number that is green at 0 and red above.
  alarm(colors):: self.unit('short', 0) + self.thresholds(colors.neutral, [[0, colors.ok], [1, colors.bad]]),
  mappings(mappings):: defaults({ mappings: mappings }),
  transformations(list):: { transformations: list },
  override(matcher, options, properties):: { fieldConfig+: { overrides+: [override(matcher, options, properties)] } },
  // Marks firing alerts on the panel.
  annotated:: { annotated:: true },
  // A link from the number to where it is explained: another panel of the dashboard, by its title.
  explainedIn(title):: { explainedIn:: title },
  links(list):: defaults({ links: list }),
  // Overrides for a column or a series, by its displayed name.
  field(name, properties):: self.override('byName', name, properties),

  // A mapping of numbers or words to words and colours: [value, text, colour].
  words(list):: self.dashes('transparent') + [{
    type: 'value',
    options: {
      [std.toString(list[index][0])]: { text: list[index][1], color: list[index][2], index: index }
      for index in std.range(0, std.length(list) - 1)
    },
  }],
  // A mapping of numbers from `from` to `to`, `null` for no end, to one word.
  range(from, to, text, color):: [{
    type: 'range',
    options: { from: from, to: to, result: { text: text, color: color, index: 0 } },
  }],
  // A mapping of what is not there to a dash, and of any text to a colour.
  dashes(color):: [
    { type: 'special', options: { match: match, result: { text: '–', color: color, index: 0 } } }
    for match in ['empty', 'null']
  ],
  anyText(color):: [{ type: 'regex', options: { pattern: '.+', result: { color: color, index: 0 } } }],

  stat(title, description, targets):: panel('stat', title, description, targets) {
    options: {
      colorMode: 'value',
      graphMode: 'none',
      justifyMode: 'center',
      orientation: 'auto',
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
      showPercentChange: false,
      textMode: 'value',
      wideLayout: true,
    },
  },
  // Shows the text of a field instead of a number.
  text(field):: { options+: { reduceOptions+: { fields: '/^%s$/' % field } } },

  // A second number of a stat, `expr`, that is there only where something is wrong with the first: from 1 on,
  // it is `text`.
  unless(expr, text, color):: {
    targets: super.targets + [target(expr) { refId: 'Z', format: 'time_series', instant: true, legendFormat: '' }],
  } + self.override('byFrameRefID', 'Z', { mappings: $.range(1, null, text, color) }),

  timeseries(title, description, targets):: panel('timeseries', title, description, targets) {
    options: {
      // On the right, since below the graph a row would be cut in half.
      legend: { displayMode: 'table', placement: 'right', showLegend: true, calcs: ['lastNotNull'], sortBy: 'Last *', sortDesc: true },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
  } + defaults({
    min: 0,
    color: { mode: 'palette-classic' },
    custom: { drawStyle: 'line', lineWidth: 1, fillOpacity: 0, showPoints: 'never', spanNulls: false },
  }),
  // For a few series with short names, and a graph that is not wide.
  namesBelow:: { options+: { legend+: { displayMode: 'list', placement: 'bottom', calcs: [] } } },
  filled:: defaults({ custom+: { fillOpacity: 10 } }),
  // The axis of a graph of zeros ends at 1, not at 100.
  counts:: defaults({ unit: 'short', custom+: { axisSoftMax: 1 } }),
  stacked:: defaults({ custom+: { fillOpacity: 40, stacking: { mode: 'normal', group: 'A' } } }),
  // A line at the threshold of an alert, the area above it shaded.
  limit(value, color):: defaults({
    thresholds: steps('transparent', [[value, color]]),
    custom+: { thresholdsStyle: { mode: 'dashed+area' } },
  }),

  table(title, description, targets):: panel('table', title, description, targets) {
    options: { showHeader: true, cellHeight: 'sm' },
  } + defaults({
    // Most columns are text, and a code such as 1203 is not a number. Columns of numbers set their unit.
    unit: 'string',
    custom: { align: 'auto', filterable: false, cellOptions: { type: 'auto' }, inspect: false },
  }),
  // Properties of a column: a number with its unit, a number highlighted by its level, a value as words
  // highlighted in their colours, with `other` for further words. Grafana's words on a colour are nearly
  // white in both themes, so that the colours must be dark; words on `transparent` have the theme's colour.
  number(unit, decimals=null):: { unit: unit, [if decimals != null then 'decimals']: decimals },
  width(pixels):: { 'custom.width': pixels },
  // A column that may be empty, with a grey dash there. Its cells are not highlighted.
  sparse(color):: {
    'custom.cellOptions': { type: 'color-text' },
    thresholds: steps('text', []),
    mappings: $.dashes(color),
  },
  levels(marks):: { thresholds: steps('transparent', marks), 'custom.cellOptions': highlighted },
  inWords(words, other='transparent'):: { thresholds: steps(other, []), mappings: words, 'custom.cellOptions': highlighted },

  timeline(title, description, targets):: panel('state-timeline', title, description, targets) {
    options: {
      alignValue: 'left',
      legend: { displayMode: 'list', placement: 'bottom', showLegend: false },
      mergeValues: true,
      rowHeight: 0.75,
      showValue: 'auto',
      tooltip: { mode: 'single', sort: 'none' },
    },
  } + defaults({ unit: 'string', custom: { fillOpacity: 100, lineWidth: 0, spanNulls: false } }),
  // The rows of `expr` over time, and a row "no data" at each moment without one: a state must not
  // appear to last while there was no data.
  moments(expr, label):: self.history(
    '(%s) or on () label_replace(vector(0), "%s", "no data", "", "")' % [expr, label]
  ),
  noData:: ['no data', '–', 'transparent'],
  none:: ['none', '–', 'transparent'],

  heatmap(title, description, targets, unit):: panel('heatmap', title, description, targets) {
    options: {
      calculate: false,
      cellGap: 1,
      color: { mode: 'scheme', scheme: 'Viridis', steps: 64, exponent: 0.5, fill: 'dark-orange', reverse: false, scale: 'exponential' },
      exemplars: { color: 'rgba(255,0,255,0.7)' },
      legend: { show: true },
      rowsFrame: { layout: 'auto' },
      tooltip: { mode: 'single', yHistogram: false, showColorScale: true },
      yAxis: { axisPlacement: 'left', unit: unit, reverse: false },
      cellValues: { unit: 'reqps' },
    },
  } + defaults({ unit: unit, custom: { hideFrom: { legend: false, tooltip: false, viz: false }, scaleDistribution: { type: 'linear' } } }),

  // Transformations.
  // `merge` needs a column that all results have, including empty ones: the time of the query.
  merge:: { id: 'merge', options: {} },
  // Joins the results of several queries over time by their time.
  joinByTime:: { id: 'joinByField', options: { byField: 'Time', mode: 'outer' } },
  drop(pattern):: { id: 'filterFieldsByName', options: { exclude: { pattern: pattern } } },
  sortBy(field, desc=false):: { id: 'sortBy', options: { fields: {}, sort: [{ field: field, desc: desc }] } },
  // Columns in order: [field, title]; those of `excluded` are removed.
  columns(list, excluded=['Time']):: {
    id: 'organize',
    options: {
      excludeByName: { [name]: true for name in excluded },
      includeByName: {},
      indexByName: { [list[index][0]]: index for index in std.range(0, std.length(list) - 1) },
      renameByName: { [column[0]]: column[1] for column in list if column[0] != column[1] },
    },
  },
}
