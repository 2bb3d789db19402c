// The alerts. docs/runbooks.md has a section on each: its meaning and what to do.
//
// Gauges are read over three minutes, so that a failed scrape resolves nothing; counters of several
// exporters are summed only after each exporter has been reduced to one value.
{
  local config = $._config,
  local limits = config.thresholds,

  local duration(seconds) =
    if seconds % 3600 == 0 then '%dh' % (seconds / 3600)
    else if seconds % 60 == 0 then '%dm' % (seconds / 60)
    else '%gs' % seconds,

  // The URL of a dashboard, with the variables set to the labels of the alert.
  local dashboard(uid, variables) =
    '%s/d/%s%s' % [config.grafana, uid, if variables == [] then '' else '?' + std.join('&', [
      'var-%s={{ $labels.%s | urlquery }}' % [name, name]
      for name in variables
    ])],

  local alert(name, severity, expr, summary, description, uid=config.uids.fleet, variables=['provider', 'job']) = {
    alert: name,
    expr: expr,
    labels: { severity: severity },
    annotations: {
      summary: summary,
      description: description,
      runbook_url: '%s#%s' % [config.runbooks, std.asciiLower(name)],
      dashboard_url: dashboard(uid, variables),
    },
  },

  // A query in the template language for the alert's own job and provider.
  local ask(query) =
    '{{ with printf `%s` $labels.job $labels.provider | query }}' % query,
  local own = 'job=%q, provider=%q',

  // The same for the alert's own exporter and source of tasks.
  local source = ['job', 'instance', 'mechanism', 'config'],
  local bySource = 'max by (%s)' % std.join(', ', source),
  local pipeSource(query) =
    'printf `%s` %s | query' % [
      query % std.join(', ', ['%s=%%q' % name for name in source]),
      std.join(' ', ['$labels.' + name for name in source]),
    ],

  prometheusAlerts+:: {
    groups+: [{
      name: 'aitask.alerts',
      rules: [
        alert(
          'AITaskStuck',
          'warning',
          |||
            sum by (job, provider) (
              max by (job, instance, provider) (max_over_time(aitask_stuck_tasks[3m]))
            ) > 0
          |||,
          'Tasks are stuck at a provider.',
          '{{ if eq $value 1.0 }}1 task is{{ else }}{{ printf "%.0f" $value }} tasks are{{ end }} stuck at {{ $labels.provider }}: '
          + 'open or unchanged for longer than stuck_after.'
          + ask('max(aitask_oldest_net_queue_age_seconds{%s, state!="waiting"})' % own)
          + ' The longest wait for the provider is {{ . | first | value | humanizeDuration }}.{{ end }}',
        ) { 'for': '5m', keep_firing_for: '10m' },

        // If an exporter does not export net ages, its queue ages are used.
        alert(
          'AITaskQueueAgeHigh',
          'critical',
          |||
            max by (job, provider) (
              max by (job, instance, provider) (
                max_over_time(aitask_oldest_net_queue_age_seconds{state!~"waiting|not_found"}[3m])
              )
              or
              max by (job, instance, provider) (
                max_over_time(aitask_oldest_queue_age_seconds{state!~"waiting|not_found"}[3m])
              )
            ) > %g
          ||| % limits.queueAgeSeconds,
          'A task has been open at a provider for far too long.',
          'A task at {{ $labels.provider }} has been open for {{ $value | humanizeDuration }}'
          + ask('topk(1, max by (state) (aitask_oldest_net_queue_age_seconds{%s, state!~"waiting|not_found"}))' % own)
          + ', its state is {{ . | first | label "state" }}{{ end }}; more than '
          + duration(limits.queueAgeSeconds) + ' is too long. The time in which it waited for the user does not count.',
        ) { 'for': '5m', keep_firing_for: '10m' },

        alert(
          'AITaskFailureRatioHigh',
          'warning',
          |||
            sum by (job, provider) (job_instance_provider_state:aitask_finished:increase30m{state=~"failed|not_found"})
              / sum by (job, provider) (job_instance_provider_state:aitask_finished:increase30m)
              > %g
            and
            sum by (job, provider) (job_instance_provider_state:aitask_finished:increase30m) >= %d
          ||| % [limits.failedPercent / 100, limits.failedMinFinished],
          'Many tasks of a provider fail.',
          '{{ $value | humanizePercentage }} of the tasks at {{ $labels.provider }} that ended in the last 30 minutes '
          + 'failed or were lost; more than %g%% is unusual.' % limits.failedPercent,
        ) { 'for': '10m', keep_firing_for: '15m' },

        alert(
          'AITaskNotFound',
          'warning',
          |||
            sum by (job, provider) (
              max by (job, instance, provider) (increase(aitask_finished_total{state="not_found"}[1h]))
            ) > 0
          |||,
          'A provider does not know some of our tasks.',
          '{{ if lt $value 1.5 }}A task{{ else }}About {{ printf "%.0f" $value }} tasks{{ end }} at {{ $labels.provider }} became final as not found in the last hour: '
          + 'either the provider loses jobs, or our IDs are wrong. Such a task counts as finished and is not polled again.',
        ),

        alert(
          'AITaskProviderDown',
          'critical',
          |||
            max by (job, provider) (max_over_time(aitask_provider_up[10m])) == 0
            and
            sum by (job, provider) (job_instance_provider_reason:aitask_poll_failures:increase15m{reason!="not_found"}) > 0
            unless
            sum by (job, provider) (job_instance_provider_reason:aitask_poll_failures:increase15m{reason="not_found"})
              >= sum by (job, provider) (job_instance_provider_reason:aitask_poll_failures:increase15m{reason!="not_found"})
          |||,
          'A provider gives no usable answers.',
          'No poll of {{ $labels.provider }} has received a usable answer in the last 10 minutes, so nothing new is known about its tasks.'
          + ask('topk(1, sum by (reason) (job_instance_provider_reason:aitask_poll_failures:increase15m{%s}))' % own)
          + ' Most often the reason is {{ . | first | label "reason" }}.{{ end }}',
        ) { 'for': '5m', keep_firing_for: '10m' },

        alert(
          'AITaskPollsFailing',
          'warning',
          |||
            sum by (job, provider) (job_instance_provider_reason:aitask_poll_failures:increase15m{reason!="not_found"})
              / sum by (job, provider) (job_instance_provider:aitask_polls:increase15m)
              > %g
            and
            sum by (job, provider) (job_instance_provider_reason:aitask_poll_failures:increase15m{reason!="not_found"}) >= %d
          ||| % [limits.failedPollsPercent / 100, limits.failedPollsMin],
          'Most polls of a provider fail.',
          '{{ $value | humanizePercentage }} of the polls of {{ $labels.provider }} in the last 15 minutes failed; '
          + 'above %g%%, changes of its tasks are noticed late.' % limits.failedPollsPercent
          + ask('topk(1, sum by (reason) (job_instance_provider_reason:aitask_poll_failures:increase15m{%s, reason!="not_found"}))' % own)
          + ' Most often the reason is {{ . | first | label "reason" }}.{{ end }}',
        ) { 'for': '10m' },

        // Continued rejections: at least two scrapes show new ones, there is no usable answer in 5 minutes,
        // and they outnumber failures for other reasons. Evaluated per exporter, since one may have another
        // token. Rejected credentials are tried every 5 minutes, or every poll_interval if that is longer.
        alert(
          'AITaskCredentialsRejected',
          'critical',
          |||
            count by (job, provider) (
              max by (job, instance, provider) (
                changes(aitask_poll_failures_total{reason="auth"}[1h]) - resets(aitask_poll_failures_total{reason="auth"}[1h])
              ) >= 2
              and
              max by (job, instance, provider) (max_over_time(aitask_provider_up[5m])) == 0
              and
              sum by (job, instance, provider) (job_instance_provider_reason:aitask_poll_failures:increase15m{reason="auth"}) > 0
              unless
              sum by (job, instance, provider) (job_instance_provider_reason:aitask_poll_failures:increase15m{reason!="auth"})
                >= sum by (job, instance, provider) (job_instance_provider_reason:aitask_poll_failures:increase15m{reason="auth"})
            ) > 0
          |||,
          'A provider rejects our credentials.',
          '{{ $labels.provider }} repeatedly rejects the credentials of {{ if eq $value 1.0 }}an exporter{{ else }}{{ printf "%.0f" $value }} exporters{{ end }}, '
          + 'and has given no usable answer for 10 minutes: the token is wrong, or the account lacks permission or money. '
          + 'Polls are paused, except for one at a time.',
        ) { 'for': '5m', keep_firing_for: '15m' },

        alert(
          'AITaskRateLimited',
          'warning',
          |||
            sum by (job, provider) (job_instance_provider_reason:aitask_poll_failures:increase15m{reason="rate_limited"})
              / sum by (job, provider) (job_instance_provider:aitask_polls:increase15m)
              > %g
          ||| % (limits.rateLimitedPercent / 100),
          'A provider rejects polls as too many requests.',
          '{{ $value | humanizePercentage }} of the polls of {{ $labels.provider }} in the last 15 minutes were rejected with "too many requests"; '
          + 'above %g%%, changes of its tasks are noticed late, and new tasks may be rejected too.' % limits.rateLimitedPercent,
        ) { 'for': '15m' },

        alert(
          'AITaskUnknownStatus',
          'info',
          |||
            sum by (job, provider) (
              max by (job, instance, provider) (increase(aitask_unknown_statuses_total[1h]))
            ) > 0
          |||,
          'A provider uses a status that the mapping does not list.',
          'In the last hour, answers of {{ $labels.provider }} had a status that its mapping does not list. Such a task counts as unknown '
          + 'and is still polled, even if the status means that it has ended.',
        ),

        alert(
          'AITaskPollsLate',
          'warning',
          |||
            histogram_quantile(0.99,
              sum by (job, provider, le) (job_instance_provider_le:aitask_poll_lag_seconds_bucket:rate10m)
            ) > %g
          ||| % limits.lagSeconds,
          'Polls of a provider start late.',
          'One poll in a hundred of {{ $labels.provider }} starts at least {{ $value | humanizeDuration }} late; '
          + 'the values of its tasks are older than the poll interval by that much.',
          config.uids.exporter,
        ) { 'for': '10m' },

        // Evaluated per exporter, and only without a usable answer: rejected credentials are tried now and
        // then, and a provider that asks for pauses is polled between them.
        alert(
          'AITaskPollsStopped',
          'critical',
          |||
            max by (job, provider) (
              max by (job, instance, provider) (max_over_time(aitask_poll_overdue_seconds[3m])) > %g
              unless
              sum by (job, instance, provider) (
                max by (job, instance, provider) (increase(aitask_polls_total[5m]))
                or
                -max by (job, instance, provider, reason) (increase(aitask_poll_failures_total[5m]))
              ) > 0.5
            )
          ||| % limits.overdueSeconds,
          'Polls of a provider have stopped.',
          'Polls of {{ $labels.provider }} have been due for {{ $value | humanizeDuration }}, and none has brought a usable answer '
          + 'in the last 5 minutes: the values of its tasks are that old.',
          config.uids.exporter,
        ) { 'for': '5m' },

        alert(
          'AITaskExporterDown',
          'critical',
          |||
            max by (job, instance) (up{job="%(job)s"}) == 0
            or
            absent(up{job="%(job)s"})
          ||| % config,
          'Prometheus cannot scrape an exporter of AI tasks.',
          'Prometheus cannot scrape {{ with $labels.instance }}{{ . }}{{ else }}any exporter{{ end }} of the job {{ $labels.job }}. '
          + 'Nothing new is known about its tasks, and alerts about them resolve or do not fire.',
          config.uids.exporter,
          ['job'],
        ) {
          'for': '5m',
          annotations+: { dashboard_url+: '{{ with $labels.instance }}&var-instance={{ . | urlquery }}{{ end }}' },
        },

        alert(
          'AITaskConfigReloadFailed',
          'warning',
          |||
            max by (job, instance) (
              max_over_time(aitask_exporter_config_last_reload_successful[3m])
            ) == 0
          |||,
          'An exporter of AI tasks has rejected its configuration.',
          'The configuration of {{ $labels.instance }} has an error: the previous one stays in force, and tasks that were added since are not monitored.',
          config.uids.exporter,
          ['instance', 'job'],
        ) { 'for': '5m' },

        alert(
          'AITaskTasksDropped',
          'warning',
          |||
            max by (job, instance, reason) (max_over_time(aitask_exporter_dropped_tasks[3m])) > 0
          |||,
          'An exporter does not poll some of its tasks.',
          '{{ if eq $value 1.0 }}1 task{{ else }}{{ printf "%.0f" $value }} tasks{{ end }} of the configuration of {{ $labels.instance }} '
          + 'cannot be polled: {{ if eq $labels.reason "max_tasks" }}there are more than max_tasks{{ else }}the credentials of their provider cannot be read{{ end }}.',
          config.uids.exporter,
          ['instance', 'job'],
        ) { 'for': '5m' },

        // The lowest value: a disk that is nearly full accepts a write now and then, which is not a
        // recovery. Damage found at startup does not alert, because it would last until the next start.
        alert(
          'AITaskExporterStorageDown',
          'warning',
          |||
            min by (job, instance) (min_over_time(aitask_exporter_storage_up[3m])) == 0
          |||,
          'An exporter of AI tasks cannot write to its storage path.',
          'Writes of {{ $labels.instance }} to --storage.path fail. '
          + 'The exporter continues from memory; a restart loses what has happened since, and tasks that have finished since are not counted yet.',
          config.uids.exporter,
          ['instance', 'job'],
        ) { 'for': '10m' },

        // The time is 0 before the first success. What the source was before a restart of the exporter counts,
        // and a source must have been there for as long as its list must be old.
        alert(
          'AITaskDiscoveryFailing',
          'warning',
          |||
            time() - %(by)s (max_over_time(aitask_sd_last_success_timestamp_seconds[%(age)s])) > %(seconds)g
            and
            %(by)s (max_over_time(aitask_sd_last_success_timestamp_seconds[3m] offset %(age)s)) >= 0
            and
            %(by)s (max_over_time(aitask_sd_last_success_timestamp_seconds[3m])) >= 0
          ||| % { by: bySource, age: duration(limits.listAgeSeconds), seconds: limits.listAgeSeconds },
          'The list of a source of tasks cannot be read.',
          'The list of {{ $labels.config }} ({{ $labels.mechanism }}) '
          + '{{ if %s }}has not been read since {{ $labels.instance }} was started' % pipeSource('max(aitask_sd_last_success_timestamp_seconds{%s}) == 0')
          + '{{ else }}was last read {{ $value | humanizeDuration }} ago by {{ $labels.instance }}{{ end }}: '
          + 'tasks that were submitted since are not monitored.'
          + '{{ with %s }}' % pipeSource('topk(1, sum by (reason) (increase(aitask_sd_refresh_failures_total{%s}[15m])) > 0)')
          + ' Most often the reason is {{ . | first | label "reason" }}.{{ end }}',
          config.uids.exporter,
          ['instance', 'job'],
        ) { 'for': '5m' },

        alert(
          'AITaskTasksRejected',
          'warning',
          |||
            sum by (%s) (
              max by (%s, reason) (max_over_time(aitask_sd_rejected_tasks[3m]))
            ) > 0
          ||| % [std.join(', ', source), std.join(', ', source)],
          'Some elements of a list are not usable tasks.',
          '{{ if eq $value 1.0 }}1 element{{ else }}{{ printf "%.0f" $value }} elements{{ end }} of the list of {{ $labels.config }} ({{ $labels.mechanism }}) '
          + '{{ if eq $value 1.0 }}is not a usable task{{ else }}are not usable tasks{{ end }}, and {{ $labels.instance }} does not poll {{ if eq $value 1.0 }}it{{ else }}them{{ end }}.'
          + '{{ with %s }}' % pipeSource('topk(1, max by (reason) (aitask_sd_rejected_tasks{%s}) > 0)')
          + ' Most often the reason is {{ . | first | label "reason" }}.{{ end }}',
          config.uids.exporter,
          ['instance', 'job'],
        ) { 'for': '5m' },

        alert(
          'AITaskTasksLost',
          'warning',
          |||
            sum by (job, provider) (
              max by (job, instance, provider) (increase(aitask_lost_tasks_total[1h]))
            ) > 0
          |||,
          'Tasks left their lists, and their end was not seen.',
          '{{ if lt $value 1.5 }}A task at {{ $labels.provider }} was dropped in the last hour: it was still open, and had been on no list for keep_unlisted. It is '
          + '{{ else }}About {{ printf "%.0f" $value }} tasks at {{ $labels.provider }} were dropped in the last hour: they were still open, and had been on no list for keep_unlisted. They are '
          + '{{ end }}no longer polled, and alerts about {{ if lt $value 1.5 }}it{{ else }}them{{ end }} have ended.',
        ),
      ],
    }],
  },
}
