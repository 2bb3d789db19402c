// The dashboards as JSON, by the names of their files.
(import 'mixin.libsonnet').grafanaDashboards
