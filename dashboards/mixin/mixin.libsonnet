// A monitoring mixin: grafanaDashboards, prometheusAlerts and prometheusRules, generated from _config.
(import 'config.libsonnet')
+ (import 'rules.libsonnet')
+ (import 'alerts.libsonnet')
+ (import 'dashboards.libsonnet')
