{
  // The alerts that the fleet can show, each with a runbook.
  local alerts = [rule.alert for group in $.prometheusAlerts.groups for rule in group.rules],

  grafanaDashboards+:: {
    'fleet.json': (import 'fleet.libsonnet')($._config, alerts),
    'task.json': (import 'task.libsonnet')($._config),
    'exporter.json': (import 'exporter.libsonnet')($._config),
  },
}
