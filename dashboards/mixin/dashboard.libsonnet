// A Grafana dashboard: variables, links, the firing alerts, and panels in rows.
local panel = import 'panel.libsonnet';
local q = import 'query.libsonnet';

function(config)

  local query(name, label, expr, more={}) = {
    type: 'query',
    name: name,
    label: label,
    datasource: panel.datasource,
    query: { query: expr, refId: 'variable-' + name },
    definition: expr,
    // On time range change, since tasks and exporters come and go.
    refresh: 2,
    // By name, case-insensitive.
    sort: 5,
  } + more;
  local all = {
    multi: true,
    includeAll: true,
    allValue: '.+',
    current: { selected: true, text: ['All'], value: ['$__all'] },
  };

  local variables = {
    datasource: { type: 'datasource', name: 'datasource', label: 'Data source', query: 'prometheus' },
    job: query('job', 'Job', 'label_values(aitask_exporter_build_info, job)', all),
    instance: query('instance', 'Instance', 'label_values(aitask_exporter_build_info{job=~"$job"}, instance)', all),
    provider: query('provider', 'Provider', 'label_values(%s, provider)' % q.select('aitask_tasks'), all),
    task: query('task_id', 'Task', 'label_values(%s, task_id)' % q.select('aitask_status', [q.provider])),
  };

  // Alerts about a provider may have no label `instance`, and others have no label `provider`.
  local scope = 'alertname=~"AITask.+", job=~"$job|", instance=~"$instance|", provider=~"$provider|"';
  local firing = 'ALERTS{%s, alertstate="firing"}' % scope;
  // What an alert can be about, in the order in which a person reads it.
  local aboutLabels = ['provider', 'config', 'reason', 'instance'];

  {
    // The firing alerts, with the time since their condition is met; one for both servers of a pair.
    firingAlerts:: 'time() - min by (alertname, severity, about) (%s)' % q.about(
      aboutLabels,
      'ALERTS_FOR_STATE{%s} and ignoring (alertstate) %s' % [scope, firing],
    ),

    // The URL of a dashboard, with the current variables or those from the row of a table.
    url(uid, variables):: '/d/%s?%s' % [uid, std.join('&', ['${__url_time_range}', '${datasource:queryparam}'] + variables)],

    // `rows` of [height, [[width, panel], …]] from top to bottom.
    new(uid, title, description, names, rows, from='now-6h'):: {
      local placed = std.foldl(
        function(done, row) {
          y: done.y + row[0],
          panels: done.panels + std.foldl(
            function(line, cell) {
              x: line.x + cell[0],
              panels: line.panels + [cell[1] { gridPos: { x: line.x, y: done.y, w: cell[0], h: row[0] } }],
            },
            row[1],
            { x: 0, panels: [] },
          ).panels,
        },
        rows,
        { y: 0, panels: [] },
      ).panels,

      local ids = { [placed[index].title]: index + 1 for index in std.range(0, std.length(placed) - 1) },
      local explanation(title) = {
        title: title,
        url: $.url(uid, ['${%s:queryparam}' % variables[name].name for name in names if name != 'datasource'])
             + '&viewPanel=panel-%d' % ids[title],
      },
      local numbered = [
        each { id: ids[each.title] }
        + if std.objectHasAll(each, 'explainedIn')
        then panel.links([explanation(each.explainedIn)])
        else {}
        for each in placed
      ],

      annotations: {
        list: [{
          name: 'Firing alerts',
          datasource: panel.datasource,
          enable: true,
          // Several alerts on every graph would hide the lines.
          filter: { exclude: false, ids: [each.id for each in numbered if std.objectHasAll(each, 'annotated')] },
          hide: false,
          iconColor: config.colors.bad,
          // Only the begin of an alert, which is a point in time: Grafana shades a graph for as long as
          // an alert fires, and of several only the topmost can be read.
          expr: q.about(['severity'] + aboutLabels, '%s unless %s offset 1m' % [firing, firing]),
          step: '1m',
          titleFormat: '{{alertname}}',
          textFormat: '{{about}}',
          tagKeys: 'severity',
        }],
      },
      description: description,
      editable: false,
      graphTooltip: 1,
      links: [{
        type: 'dashboards',
        title: 'AI tasks',
        tags: [config.tag],
        asDropdown: true,
        icon: 'external link',
        includeVars: true,
        keepTime: true,
        targetBlank: false,
        tooltip: 'The other dashboards of the exporter, with the same variables and time',
        url: '',
      }],
      panels: numbered,
      refresh: '30s',
      schemaVersion: 42,
      tags: [config.tag],
      templating: { list: [variables[name] for name in names] },
      time: { from: from, to: 'now' },
      timepicker: {},
      timezone: 'browser',
      title: title,
      uid: uid,
    },
  }
