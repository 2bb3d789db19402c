// The dashboards as JSON, by file name.
(import 'mixin.libsonnet').grafanaDashboards
