// The alerts. docs/runbooks.md has a section on each: its meaning and what to do.
//
// Gauges are read over three minutes, so that a failed scrape resolves nothing; counters of several
// exporters are summed only after each exporter has been reduced to one value.
//
// An alert about polls has no label `instance` if it is about the provider: all exporters that poll it
// are affected, or their polls taken together. While other exporters are well, each affected one has an
// alert with its `instance`. So an outage is one alert, however many exporters see it, and a problem
// that grows from one exporter to all is a new one.
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
  } + if std.objectHas(config.waits, name) then config.waits[name] else {},

  // The variable of the dashboard for alerts that have `instance` only sometimes.
  local maybeInstance = {
    annotations+: { dashboard_url+: '{{ with $labels.instance }}&var-instance={{ . | urlquery }}{{ end }}' },
  },

  // Queries in the template language. `OWN` in a query stands for matchers of the alert's own labels, which
  // `own` collects in a variable.
  local own(names) =
    '{{ $own := printf `%s` %s }}' % [
      std.join(', ', [name + '=%q' for name in names]),
      std.join(' ', ['$labels.' + name for name in names]),
    ],
  local ownProvider = own(['job', 'provider']),
  // Without the other exporters, if the alert is about one of them.
  local ownMaybeInstance =
    ownProvider + '{{ if $labels.instance }}{{ $own = printf `%s, instance=%q` $own $labels.instance }}{{ end }}',
  local ask(query) = 'printf `%s` $own | query' % std.strReplace(query, 'OWN', '%[1]s'),
  local ifAny(query, text) = '{{ with %s }}%s{{ end }}' % [ask(query), text],
  local ifAnyElse(query, text, otherwise) = '{{ with %s }}%s{{ else }}%s{{ end }}' % [ask(query), text, otherwise],

  // A text from outside: quoted, with control characters escaped, and cut to a length that fits a message.
  local quoted(value, length=60) =
    '{{ printf "%%.%(length)dq" %(value)s }}{{ if match "(?s)^.{%(length)d}." %(value)s }}…{{ end }}'
    % { length: length, value: value },
  local plural(value, one, many) = '{{ if eq %s 1.0 }}%s{{ else }}%s{{ end }}' % [value, one, many],
  local count(one, many, value='$value') =
    '{{ if eq %s 1.0 }}1 %s{{ else }}{{ printf "%%.0f" %s }} %s{{ end }}' % [value, one, value, many],

  // The samples of a query, separated by commas.
  local list(text) = '{{ range $index, $one := . }}{{ if $index }}, {{ end }}%s{{ end }}' % text,
  local owner = '{{ with label "%(label)s" $one }}%(before)s%(label)s %(value)s{{ end }}',
  local ownerBehind(before) = owner % { label: config.ownerLabel, before: before, value: quoted('.') },
  local task = quoted('(label "task_id" $one)'),
  local taskWithAge = '%s ({{ $one | value | humanizeDuration }}%s)' % [task, ownerBehind(', ')],
  local byTask(expr) = 'max by (task_id, %s) (%s)' % [config.ownerLabel, expr],
  local first(expr, number=3) = 'sort_desc(topk(%d, %s))' % [number, expr],

  // The three oldest stuck tasks; no text without series of single tasks.
  local oldestStuck(condition='') = ifAny(
    first('%s and on (task_id) max by (task_id) (aitask_stuck{OWN}) == 1' % byTask('aitask_queue_age_seconds{OWN}' + condition)),
    ' The oldest by queue age: %s.' % list(taskWithAge),
  ),
  local mostFrequent(query, text=' Most often the reason is {{ . | first | label "reason" }}.') =
    ifAny('topk(1, %s)' % query, text),

  local failures(by, matcher) =
    'sum by (%s) (job_instance_provider_reason:aitask_poll_failures:increase15m{%s})' % [by, matcher],
  local polls(by) = 'sum by (%s) (job_instance_provider:aitask_polls:increase15m)' % by,
  local ofProvider = 'job, provider',
  local eachExporter = 'job, instance, provider',

  // `expr` by provider, or, where that does not hold, by exporter.
  local byProviderOrExporter(expr) =
    '%s\nor\n(\n%s\n)\nunless on (job, provider) (\n%s\n)\n' % [
      std.stripChars(expr(ofProvider), '\n'),
      indented(expr(eachExporter)),
      indented(expr(ofProvider)),
    ],
  local indented(text) = std.join('\n', ['  ' + line for line in std.split(std.stripChars(text, '\n'), '\n')]),

  // One value of a provider if none of its exporters is well, else one of each affected exporter.
  local affected(aggregation, bad, well) =
    |||
      %(aggregation)s by (job, provider) (
      %(bad)s
      )
      unless on (job, provider) (
      %(well)s
      )
      or
      (
      %(bad)s
      )
      and on (job, provider) (
      %(well)s
      )
    ||| % { aggregation: aggregation, bad: indented(bad), well: indented(well) },

  // Exporters that poll a provider, and whose last poll in the window got a usable answer.
  local hasAnswers(window) =
    |||
      max by (job, instance, provider) (max_over_time(aitask_provider_up[%s])) == 1
      unless
      max by (job, instance, provider) (job_instance_provider:aitask_polls:increase15m) == 0
    ||| % window,

  // Exporters whose polls brought usable answers in the last 5 minutes.
  local usable = |||
    sum by (job, instance, provider) (
      max by (job, instance, provider) (increase(aitask_polls_total[5m]))
      or
      -max by (job, instance, provider, reason) (increase(aitask_poll_failures_total[5m]))
    ) > 0.5
  |||,

  local stuck = |||
    sum by (job, provider) (
      max by (job, instance, provider) (max_over_time(aitask_stuck_tasks[3m]))
    )
  |||,
  local waitingForProvider = 'state=~"%s"' % std.join('|', [
    state.name
    for state in config.states
    if state.open && state.name != 'waiting'
  ]),

  // Labels of a source of tasks at an exporter.
  local source = ['job', 'instance', 'mechanism', 'config'],
  local bySource = 'max by (%s)' % std.join(', ', source),

  prometheusAlerts+:: {
    groups+: [{
      name: 'aitask.alerts',
      rules: [
        alert(
          'AITaskStuck',
          'warning',
          std.stripChars(stuck, '\n') + ' > 0\n',
          'Tasks are stuck at a provider.',
          ownProvider + count('task is', 'tasks are') + ' stuck at {{ $labels.provider }}: '
          + 'open or unchanged for longer than stuck_after.'
          + ifAny(
            'max(aitask_oldest_net_queue_age_seconds{OWN, state!="waiting"})',
            ' The longest wait for the provider is {{ . | first | value | humanizeDuration }}.',
          )
          + oldestStuck(),
        ),

        // Tasks that wait for their users cannot be stuck, so they do not count.
        alert(
          'AITaskManyStuck',
          'critical',
          |||
            %(stuck)s >= %(min)d
            and
            %(stuck)s > %(share)g * sum by (job, provider) (
              max by (job, instance, provider, state) (max_over_time(aitask_tasks{%(waiting)s}[3m]))
            )
          ||| % {
            stuck: std.stripChars(stuck, '\n'),
            min: limits.manyStuckMin,
            share: limits.manyStuckPercent / 100,
            waiting: waitingForProvider,
          },
          'Many tasks are stuck at a provider.',
          ownProvider + '{{ printf "%.0f" $value }} tasks are stuck at {{ $labels.provider }}'
          + ifAny(
            'sum(max by (instance, state) (aitask_tasks{OWN, %s}))' % waitingForProvider,
            '; {{ . | first | value | printf "%.0f" }} wait for it',
          )
          + '. More than %g%% of them, and %d or more, look like an outage rather than like lost jobs.' % [
            limits.manyStuckPercent,
            limits.manyStuckMin,
          ]
          + oldestStuck(),
        ),

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
          ownProvider + 'A task at {{ $labels.provider }} has been open for {{ $value | humanizeDuration }}'
          + ifAny(
            'topk(1, max by (state) (aitask_oldest_net_queue_age_seconds{OWN, state!~"waiting|not_found"}))',
            ', its state is {{ . | first | label "state" }}',
          )
          + '; more than ' + duration(limits.queueAgeSeconds)
          + ' is too long. The time in which it waited for the user does not count.'
          + oldestStuck(' > %g' % limits.queueAgeSeconds),
        ),

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
          ownProvider + '{{ $value | humanizePercentage }} of the tasks at {{ $labels.provider }} that ended in the last 30 minutes '
          + 'failed or were lost; more than %g%% is unusual.' % limits.failedPercent
          + mostFrequent(
            'count by (code) (max by (task_id, code) (aitask_error{OWN, reason="task", code!=""}))',
            ' The most frequent code of failed tasks is %s.' % quoted('(. | first | label "code")'),
          ),
        ),

        // The latest ones: a final task has no queue age.
        alert(
          'AITaskNotFound',
          'warning',
          |||
            sum by (job, provider) (
              max by (job, instance, provider) (increase(aitask_finished_total{state="not_found"}[1h]))
            ) > 0
          |||,
          'A provider does not know some of our tasks.',
          ownProvider + '{{ if lt $value 1.5 }}A task{{ else }}About {{ printf "%.0f" $value }} tasks{{ end }} at {{ $labels.provider }} became final as not found in the last hour: '
          + 'either the provider loses jobs, or our IDs are wrong. Such a task counts as finished and is not polled again.'
          + ifAny(
            first(
              '%s and on (task_id) max by (task_id) (aitask_status{OWN, state="not_found"}) unless on (task_id) aitask_queue_age_seconds{OWN}'
              % byTask('aitask_state_timestamp_seconds{OWN}'),
            ),
            ' The latest: %s.' % list(task + ownerBehind(' of ')),
          ),
        ),

        // A not-found answer also shows that the provider is up.
        alert(
          'AITaskProviderDown',
          'critical',
          affected(
            'max',
            |||
              max by (job, instance, provider) (max_over_time(aitask_provider_up[10m])) == 0
              and
              %(others)s > 0
              unless
              %(notFound)s
                >= %(others)s
            ||| % { others: failures(eachExporter, 'reason!="not_found"'), notFound: failures(eachExporter, 'reason="not_found"') },
            |||
              %(hasAnswers)sor
              %(notFound)s > 0
                >= %(others)s
            ||| % {
              hasAnswers: hasAnswers('10m'),
              others: failures(eachExporter, 'reason!="not_found"'),
              notFound: failures(eachExporter, 'reason="not_found"'),
            },
          ),
          'A provider gives no usable answers.',
          ownMaybeInstance
          + 'No poll of {{ $labels.provider }}{{ with $labels.instance }} by {{ . }}{{ end }} has received a usable answer in the last 10 minutes, '
          + '{{ if $labels.instance }}while other exporters get answers: nothing new is known about the tasks that it polls.'
          + '{{ else }}so nothing new is known about its tasks.{{ end }}'
          + mostFrequent('sum by (reason) (job_instance_provider_reason:aitask_poll_failures:increase15m{OWN})'),
        ) + maybeInstance,

        alert(
          'AITaskPollsFailing',
          'warning',
          byProviderOrExporter(function(by) |||
            %(failures)s
              / %(polls)s
              > %(share)g
            and
            %(failures)s >= %(min)d
          ||| % {
            failures: failures(by, 'reason!="not_found"'),
            polls: polls(by),
            share: limits.failedPollsPercent / 100,
            min: limits.failedPollsMin,
          }),
          'Most polls of a provider fail.',
          ownMaybeInstance
          + '{{ $value | humanizePercentage }} of the polls of {{ $labels.provider }}{{ with $labels.instance }} by {{ . }}{{ end }} in the last 15 minutes failed; '
          + 'above %g%%, changes of its tasks are noticed late.' % limits.failedPollsPercent
          + mostFrequent('sum by (reason) (job_instance_provider_reason:aitask_poll_failures:increase15m{OWN, reason!="not_found"})'),
        ) + maybeInstance,

        // Continued rejections: at least two scrapes show new ones, there is no usable answer in 5 minutes,
        // and they outnumber failures for other reasons. Rejected credentials are tried every 5 minutes, or
        // every poll_interval if that is longer.
        alert(
          'AITaskCredentialsRejected',
          'critical',
          affected(
            'count',
            |||
              max by (job, instance, provider) (
                changes(aitask_poll_failures_total{reason="auth"}[1h]) - resets(aitask_poll_failures_total{reason="auth"}[1h])
              ) >= 2
              and
              max by (job, instance, provider) (max_over_time(aitask_provider_up[5m])) == 0
              and
              %(rejections)s > 0
              unless
              %(others)s
                >= %(rejections)s
            ||| % { rejections: failures(eachExporter, 'reason="auth"'), others: failures(eachExporter, 'reason!="auth"') },
            // Exporters with answers, and those whose polls fail for other reasons. The time is shorter, so that
            // an exporter that is rejected a minute later does not delay the alert.
            |||
              %(hasAnswers)sor
              %(others)s > 0
                >= %(rejections)s
            ||| % {
              hasAnswers: hasAnswers('3m'),
              rejections: failures(eachExporter, 'reason="auth"'),
              others: failures(eachExporter, 'reason!="auth"'),
            },
          ),
          'A provider rejects our credentials.',
          ownMaybeInstance
          + '{{ $labels.provider }} repeatedly rejects the credentials of {{ if $labels.instance }}{{ $labels.instance }}'
          + '{{ else if eq $value 1.0 }}an exporter{{ else }}{{ printf "%.0f" $value }} exporters{{ end }}, '
          + 'and has given {{ if $labels.instance }}it {{ end }}no usable answer for 10 minutes: the token is wrong, or the account lacks permission or money. '
          + 'Polls are paused, except for one at a time.'
          + mostFrequent(
            'count by (code) (max by (task_id, code) (aitask_error{OWN, reason="auth", code!=""}))',
            " The provider's code is %s." % quoted('(. | first | label "code")'),
          ),
        ) + maybeInstance,

        alert(
          'AITaskRateLimited',
          'warning',
          byProviderOrExporter(function(by) |||
            %s
              / %s
              > %g
          ||| % [failures(by, 'reason="rate_limited"'), polls(by), limits.rateLimitedPercent / 100]),
          'A provider rejects polls as too many requests.',
          '{{ $value | humanizePercentage }} of the polls of {{ $labels.provider }}{{ with $labels.instance }} by {{ . }}{{ end }} in the last 15 minutes were rejected with "too many requests"; '
          + 'above %g%%, changes of its tasks are noticed late, and new tasks may be rejected too.' % limits.rateLimitedPercent,
          config.uids.exporter,
        ) + maybeInstance,

        alert(
          'AITaskUnknownStatus',
          'info',
          |||
            sum by (job, provider) (
              max by (job, instance, provider) (increase(aitask_unknown_statuses_total[1h]))
            ) > 0
          |||,
          'A provider uses a status that the mapping does not list.',
          ownProvider + 'In the last hour, answers of {{ $labels.provider }} had a status that its mapping does not list. Such a task counts as unknown '
          + 'and is still polled, even if the status means that it has ended.'
          + ifAnyElse(
            first('count by (status) (max by (task_id, status) (aitask_status{OWN, state="unknown"}))'),
            ' Current ones: %s.' % list('%s (%s)' % [quoted('(label "status" $one)'), count('task', 'tasks', '($one | value)')]),
            ' The log has each such status once, after "status not in the mapping".',
          ),
          config.uids.exporter,
        ),

        alert(
          'AITaskPollsLate',
          'warning',
          byProviderOrExporter(function(by) |||
            histogram_quantile(0.99,
              sum by (%s, le) (job_instance_provider_le:aitask_poll_lag_seconds_bucket:rate10m)
            ) > %g
          ||| % [by, limits.lagSeconds]),
          'Polls of a provider start late.',
          ownMaybeInstance
          + 'One poll in a hundred of {{ $labels.provider }}{{ with $labels.instance }} by {{ . }}{{ end }} starts at least {{ $value | humanizeDuration }} late; '
          + 'the values of its tasks are older than the poll interval by that much.'
          + ifAny(
            'max(rate(aitask_throttled_seconds_total{OWN}[10m])) > 0.01',
            ' The rate limit, or the Retry-After of the provider, delayed polls for {{ . | first | value | humanizePercentage }} of the last 10 minutes.',
          ),
          config.uids.exporter,
        ) + maybeInstance,

        // Only without a usable answer: rejected credentials are tried now and then, and a provider that
        // asks for pauses is polled between them.
        alert(
          'AITaskPollsStopped',
          'critical',
          affected(
            'max',
            |||
              max by (job, instance, provider) (max_over_time(aitask_poll_overdue_seconds[3m])) > %g
              unless
              %s
            ||| % [limits.overdueSeconds, usable],
            usable,
          ),
          'Polls of a provider have stopped.',
          ownMaybeInstance
          + 'Polls of {{ $labels.provider }}{{ with $labels.instance }} by {{ . }}{{ end }} have been due for {{ $value | humanizeDuration }}, and none has brought a usable answer '
          + 'in the last 5 minutes: the values of its tasks are that old.'
          + ifAny('max(aitask_tasks_without_credentials{OWN}) > 0', ' Its credentials cannot be read.'),
          config.uids.exporter,
        ) + maybeInstance,

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
        ) + maybeInstance,

        alert(
          'AITaskConfigReloadFailed',
          'warning',
          |||
            max by (job, instance) (
              max_over_time(aitask_exporter_config_last_reload_successful[3m])
            ) == 0
          |||,
          'An exporter of AI tasks has rejected its configuration.',
          own(['job', 'instance'])
          + 'The configuration of {{ $labels.instance }} has an error: the previous one stays in force, and tasks that were added since are not monitored.'
          + ifAny(
            'time() - max(aitask_exporter_config_last_reload_success_timestamp_seconds{OWN})',
            ' The one in force was applied {{ . | first | value | humanizeDuration }} ago.',
          ),
          config.uids.exporter,
          ['instance', 'job'],
        ),

        alert(
          'AITaskTasksDropped',
          'warning',
          |||
            max by (job, instance, reason) (max_over_time(aitask_exporter_dropped_tasks[3m])) > 0
          |||,
          'An exporter does not poll some of its tasks.',
          own(['job', 'instance']) + count('task', 'tasks') + ' of the configuration of {{ $labels.instance }} '
          + 'cannot be polled: {{ if eq $labels.reason "max_tasks" }}there are more than max_tasks.'
          + '{{ else }}the credentials of their provider cannot be read.'
          + ifAny(
            first('max by (provider) (max_over_time(aitask_tasks_without_credentials{OWN}[3m])) > 0'),
            ' The tasks are of: %s.' % list('{{ label "provider" $one }} ({{ $one | value | printf "%.0f" }})'),
          )
          + '{{ end }}',
          config.uids.exporter,
          ['instance', 'job'],
        ),

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
        ),

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
          own(source) + 'The list of {{ $labels.config }} ({{ $labels.mechanism }}) '
          + '{{ if %s }}has not been read since {{ $labels.instance }} was started' % ask('max(aitask_sd_last_success_timestamp_seconds{OWN}) == 0')
          + '{{ else }}was last read {{ $value | humanizeDuration }} ago by {{ $labels.instance }}{{ end }}: '
          + 'tasks that were submitted since are not monitored.'
          + mostFrequent('sum by (reason) (increase(aitask_sd_refresh_failures_total{OWN}[15m])) > 0'),
          config.uids.exporter,
          ['instance', 'job'],
        ),

        alert(
          'AITaskTasksRejected',
          'warning',
          |||
            sum by (%s) (
              max by (%s, reason) (max_over_time(aitask_sd_rejected_tasks[3m]))
            ) > 0
          ||| % [std.join(', ', source), std.join(', ', source)],
          'Some elements of a list are not usable tasks.',
          own(source) + count('element', 'elements') + ' of the list of {{ $labels.config }} ({{ $labels.mechanism }}) '
          + plural('$value', 'is not a usable task', 'are not usable tasks') + ', and {{ $labels.instance }} does not poll ' + plural('$value', 'it', 'them') + '.'
          + mostFrequent('max by (reason) (aitask_sd_rejected_tasks{OWN}) > 0'),
          config.uids.exporter,
          ['instance', 'job'],
        ),

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
          + '{{ end }}no longer polled, and alerts about {{ if lt $value 1.5 }}it{{ else }}them{{ end }} have ended. '
          + 'The log names {{ if lt $value 1.5 }}it{{ else }}the first of them{{ end }}, after "lost: no list names it any more".',
        ),
      ],
    }],
  },
}
