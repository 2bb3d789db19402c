// Recording rules with one value for each exporter, and with `job` and `instance`. The alerts and a
// user's own queries use them.
{
  local once(labels, expr) = 'max by (%s) (%s)' % [std.join(', ', ['job', 'instance'] + labels), expr],
  local record(labels, metric, operation, expr) = {
    record: '%s:%s:%s' % [std.join('_', ['job', 'instance'] + labels), metric, operation],
    expr: once(labels, expr),
  },

  prometheusRules+:: {
    groups+: [{
      name: 'aitask.rules',
      rules: [
        record(
          ['provider', 'state'],
          'aitask_finished',
          'increase30m',
          'increase(aitask_finished_total[30m])',
        ),
        record(['provider'], 'aitask_polls', 'increase15m', 'increase(aitask_polls_total[15m])'),
        record(
          ['provider', 'reason'],
          'aitask_poll_failures',
          'increase15m',
          'increase(aitask_poll_failures_total[15m])',
        ),
        record(
          ['provider', 'le'],
          'aitask_poll_lag_seconds_bucket',
          'rate10m',
          'rate(aitask_poll_lag_seconds_bucket[10m])',
        ),
      ],
    }],
  },
}
