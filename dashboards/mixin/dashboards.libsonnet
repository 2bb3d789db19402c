{
  grafanaDashboards+:: {
    'fleet.json': (import 'fleet.libsonnet')($._config),
    'task.json': (import 'task.libsonnet')($._config),
    'exporter.json': (import 'exporter.libsonnet')($._config),
  },
}
