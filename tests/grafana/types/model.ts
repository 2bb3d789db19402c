// What types.mjs holds a dashboard's JSON against: the types of @grafana/schema, and what they leave to plug-ins.

import type * as schema from '@grafana/schema';
import type * as barchart from '@grafana/schema/dist/esm/raw/composable/barchart/panelcfg/x/BarChartPanelCfg_types.gen';
import type * as bargauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as gauge from '@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as histogram from '@grafana/schema/dist/esm/raw/composable/histogram/panelcfg/x/HistogramPanelCfg_types.gen';
import type * as piechart from '@grafana/schema/dist/esm/raw/composable/piechart/panelcfg/x/PieChartPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as statetimeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as statushistory from '@grafana/schema/dist/esm/raw/composable/statushistory/panelcfg/x/StatusHistoryPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as text from '@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** `T` as JSON can say it: no literal is assignable to an enum, so that an enum becomes the union of its values. */
export type Plain<T> = 0 extends 1 & T
  ? T
  : T extends string
    ? `${T}`
    : T extends number
      ? `${T}` extends `${infer N extends number}`
        ? N
        : T
      : T extends readonly (infer Item)[]
        ? Plain<Item>[]
        : T extends object
          ? { [Key in keyof T]: Plain<T[Key]> }
          : T;

/** Grafana fills in the defaults of a panel's plug-in, at any depth. */
type Defaulted<T> = T extends readonly unknown[] ? T : T extends object ? { [Key in keyof T]?: Defaulted<T[Key]> } : T;

type Nothing = Record<string, never>;

interface Plugin<Options, FieldConfig> {
  options: Plain<Defaulted<Options>>;
  custom: Plain<Defaulted<FieldConfig>>;
}

interface Plugins {
  barchart: Plugin<barchart.Options, barchart.FieldConfig>;
  bargauge: Plugin<bargauge.Options, schema.HideableFieldConfig>;
  gauge: Plugin<gauge.Options, Nothing>;
  heatmap: Plugin<heatmap.Options, heatmap.FieldConfig>;
  histogram: Plugin<histogram.Options, histogram.FieldConfig>;
  piechart: Plugin<piechart.Options, piechart.FieldConfig>;
  stat: Plugin<stat.Options, Nothing>;
  // Left out of the schema: whether a gap in the data ends a state.
  'state-timeline': Plugin<
    statetimeline.Options,
    statetimeline.FieldConfig & Pick<schema.GraphFieldConfig, 'insertNulls' | 'spanNulls'>
  >;
  'status-history': Plugin<statushistory.Options, statushistory.FieldConfig>;
  table: Plugin<table.Options, table.FieldConfig>;
  text: Plugin<text.Options, Nothing>;
  timeseries: Plugin<timeseries.Options, timeseries.FieldConfig>;
}

type PanelType = keyof Plugins;

// A panel of an unknown type is an error of its `type` alone.
export type Options<Type extends string> = Type extends PanelType ? Plugins[Type]['options'] : unknown;
export type Custom<Type extends string> = Type extends PanelType ? Plugins[Type]['custom'] : unknown;

/** A link of a field or a panel, which the schema leaves open or takes for a link of a dashboard. */
interface Link {
  title: string;
  url: string;
  targetBlank?: boolean;
  oneClick?: boolean;
}

type FieldConfig = Omit<Plain<schema.FieldConfig>, 'links' | 'custom'> & {
  links?: Link[];
  custom?: object;
  /** Left out of the schema: the range of the field itself in place of that of all fields. */
  fieldMinMax?: boolean;
};

/** A property of an override, whose value depends on its id: the plug-in's own are paths below `custom`. */
export type Property<Type extends string, Id extends string> = Type extends PanelType
  ? KnownProperty<Type, Id, Id extends `custom.${infer Path}` ? At<Custom<Type>, Path> : At<StandardProperties, Id>>
  : unknown;

type StandardProperties = Omit<FieldConfig, 'custom'>;

type KnownProperty<Type extends string, Id extends string, Value> = [Value] extends [Missing]
  ? { id: `a property of a ${Type}`; value?: unknown }
  : { id: Id; value?: Value };

type At<T, Path extends string> = Path extends keyof T
  ? T[Path]
  : Path extends `${infer Key}.${infer Rest}`
    ? Key extends keyof T
      ? At<NonNullable<T[Key]>, Rest>
      : Missing
    : Missing;

interface Missing {
  missing: true;
}

type Matcher = Plain<schema.MatcherConfig> & { id: MatcherId };

type MatcherId =
  | 'byFrameRefID'
  | 'byName'
  | 'byNames'
  | 'byRegexp'
  | 'byRegexpOrNames'
  | 'byType'
  | 'byTypes'
  | 'byValue'
  | 'first'
  | 'firstTimeField'
  | 'numeric'
  | 'time';

interface FieldConfigSource {
  defaults: FieldConfig;
  overrides: { matcher: Matcher; properties: { id: string; value?: unknown }[] }[];
}

/** Grafana's schema has no type for the queries of Prometheus. */
export interface Target extends Plain<schema.DataQuery> {
  datasource: Plain<schema.DataSourceRef>;
  expr: string;
  legendFormat?: string;
  format?: 'time_series' | 'table' | 'heatmap';
  instant?: boolean;
  range?: boolean;
  exemplar?: boolean;
  interval?: string;
  intervalFactor?: number;
  editorMode?: 'builder' | 'code';
}

interface TransformationOptions {
  filterFieldsByName: { include?: FieldNames; exclude?: FieldNames; byVariable?: boolean };
  merge: Nothing;
  organize: {
    excludeByName?: Record<string, boolean>;
    includeByName?: Record<string, boolean>;
    indexByName?: Record<string, number>;
    renameByName?: Record<string, string>;
    orderByMode?: 'manual' | 'auto';
    orderBy?: { type: 'name' | 'label'; name?: string; desc?: boolean }[];
  };
  sortBy: { fields?: Nothing; sort: { field: string; desc?: boolean }[] };
}

interface FieldNames {
  names?: string[];
  pattern?: string;
  variable?: string;
}

/** Of those that are not listed here, the options are open: read.mjs shows whether they do what they should. */
export type Transformation<Id extends string> = Omit<Plain<schema.DataTransformerConfig>, 'id' | 'options'> & {
  id: Id;
  options: Id extends keyof TransformationOptions ? TransformationOptions[Id] : unknown;
};

/** Options, the plug-in's own field configuration, targets and transformations are parts of their own. */
export type Panel = Omit<Plain<schema.Panel>, 'type' | 'fieldConfig' | 'links' | 'options' | 'transformations'> & {
  type: PanelType;
  fieldConfig?: FieldConfigSource;
  links?: Link[];
  options?: object;
  transformations?: unknown[];
};

export type Row = Omit<Plain<schema.RowPanel>, 'panels'> & { panels: unknown[] };

/** What Prometheus' data source keeps beside Grafana's keys. */
interface PrometheusAnnotation {
  expr?: string;
  step?: string;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
  useValueForTime?: boolean | 'on';
}

type Annotation = Omit<Plain<schema.AnnotationQuery>, 'target'> &
  PrometheusAnnotation & { target?: Plain<schema.AnnotationTarget> | (Plain<schema.DataQuery> & PrometheusAnnotation) };

/** Left out of the schema: a query in words, what an interval is made of, and an option that is yet to be chosen. */
type Variable = Omit<Plain<schema.VariableModel>, 'current'> & {
  current?: Plain<schema.VariableOption> | Nothing;
  definition?: string;
  auto?: boolean;
  auto_count?: number;
  auto_min?: string;
};

/** What Grafana adds to a dashboard that is exported for others, so that they are asked for their data source. */
interface Export {
  __inputs?: Record<'name' | 'label' | 'description' | 'type' | 'pluginId' | 'pluginName', string>[];
  __requires?: { type: string; id: string; name: string; version: string }[];
  __elements?: Nothing;
}

export type Dashboard = Omit<Plain<schema.Dashboard>, 'panels' | 'annotations' | 'templating' | 'schemaVersion'> &
  Export & {
    panels?: unknown[];
    annotations?: { list?: Annotation[] };
    templating?: { list?: Variable[] };
    /** That of this version of Grafana: an older one would be migrated before these types apply. */
    schemaVersion: 42;
  };
