// Everything known about one task, now and over time.
local panel = import 'panel.libsonnet';
local q = import 'query.libsonnet';

function(config)
  local board = (import 'dashboard.libsonnet')(config);
  local state = (import 'state.libsonnet')(config.states);
  local colors = config.colors;
  local limits = config.thresholds;

  local own(metric) = q.select(metric, [q.provider, 'task_id="$task_id"']);
  local value(metric) = 'max(%s)' % own(metric);
  // Labels of the task's single series, of only one even while two servers disagree.
  local labels(metric, labels) = 'topk(1, max by (%s) (%s))' % [std.join(', ', labels), own(metric)];
  local lastError = '%s or on () label_replace(%s, "error", "none", "", "")' % [
    q.errors(labels('aitask_error', ['reason', 'code'])),
    value('aitask_status'),
  ];
  local errorWords = panel.words([['none', 'none', colors.ok], panel.noData]);

  local current =
    panel.stat(
      'State',
      'The normalised state of the task.',
      [panel.rows(labels('aitask_status', ['state']))],
    )
    + panel.text('state')
    + panel.unit('string')
    + panel.noValue('not listed')
    + panel.thresholds(colors.neutral)
    + panel.mappings(state.mappings);

  local status =
    panel.stat(
      'Status',
      "The provider's own word for the state of the task.",
      [panel.rows(labels('aitask_status', ['status']))],
    )
    + panel.text('status')
    + panel.unit('string')
    + panel.noValue('none')
    + panel.thresholds(colors.neutral);

  local age =
    panel.stat(
      'Queue age',
      'Time since the task was enqueued. A final task has none. AITaskQueueAgeHigh fires where it turns red, but excludes the time in which the task waited for the user.',
      [panel.now(value('aitask_queue_age_seconds'))],
    )
    + panel.unit('s', 1)
    + panel.noValue('ended')
    + panel.thresholds(colors.neutral, [[limits.queueAgeSeconds, colors.bad]]);

  local stuck =
    panel.stat(
      'Stuck',
      'Whether the task is neither final nor waiting for the user, and has been open or unchanged for longer than stuck_after. The time in which it waited for the user does not count.',
      [panel.now(value('aitask_stuck'))],
    )
    + panel.unit('bool_yes_no')
    + panel.noValue('ended')
    + panel.thresholds(colors.neutral)
    + panel.mappings(panel.words([[0, 'no', colors.ok], [1, 'yes', colors.bad]]));

  local failure =
    panel.stat(
      'Last error',
      'The reason why the last poll failed and the code of the answer; "task" if the task itself failed.',
      [panel.rows(lastError)],
    )
    + panel.text('error')
    + panel.unit('string')
    + panel.noValue('none')
    + panel.thresholds(colors.bad)
    + panel.mappings(errorWords);

  local answered =
    panel.stat(
      'Last answer',
      'Time since the last usable answer. All other values here are as old. Final tasks are not polled again.',
      [panel.now('time() - ' + value('aitask_last_success_timestamp_seconds'))],
    )
    + panel.unit('s', 0)
    + panel.noValue('never')
    + panel.thresholds(colors.neutral);

  local states =
    panel.timeline(
      'State and status',
      "The normalised state, and the status in the provider's own words.",
      [panel.moments(labels('aitask_status', ['state', 'status']), 'state')],
    )
    + panel.thresholds(colors.neutral)
    + panel.mappings(state.mappings)
    + panel.transformations([
      panel.sortBy('Time'),
      panel.columns([['Time', 'Time'], ['state', 'State'], ['status', 'Status']], ['Value']),
    ]);

  local errors =
    panel.timeline(
      'Poll results',
      'The reason of each failed poll and the code of the answer, "task" if the task itself failed, "none" without an error.',
      [panel.moments(lastError, 'error')],
    )
    + panel.thresholds(colors.bad)
    + panel.mappings(errorWords)
    + panel.transformations([
      panel.sortBy('Time'),
      panel.columns([['Time', 'Time'], ['error', 'Error']], ['Value', 'reason', 'code']),
    ]);

  local ages = panel.timeseries(
    'Queue age over time',
    'Time since the task was enqueued, until it is final. AITaskQueueAgeHigh fires above the line, but excludes the time in which the task waited for the user.',
    [panel.series(value('aitask_queue_age_seconds'), 'queue age')],
  ) + panel.unit('s') + panel.limit(limits.queueAgeSeconds, colors.bad) + panel.annotated;

  local progress = panel.timeseries(
    'Progress',
    'Progress of the task. Empty if the provider does not report it.',
    [panel.series(value('aitask_progress_ratio'), 'progress')],
  ) + panel.unit('percentunit') + panel.max(1) + panel.noValue('not reported by the provider');

  local moment(metric) = panel.rows('1000 * ' + q.max(['task_id'], own(metric)));
  local times =
    panel.table(
      'Times',
      'When the task was enqueued, entered its state, and was polled. "First seen": the provider reports no enqueue time, so the time at which the exporter first saw the task is used.',
      [
        panel.rows('1000 * topk(1, %s)' % q.max(['task_id', 'since'], own('aitask_enqueue_timestamp_seconds'))),
        moment('aitask_state_timestamp_seconds'),
        moment('aitask_last_poll_timestamp_seconds'),
        moment('aitask_last_success_timestamp_seconds'),
        panel.rows(q.max(['task_id'], own('aitask_duration_seconds'))),
      ],
    )
    + panel.transformations([
      panel.merge,
      panel.columns(
        [
          ['Value #A', 'Enqueued'],
          ['since', 'Source'],
          ['Value #B', 'In this state since'],
          ['Value #C', 'Last poll'],
          ['Value #D', 'Last answer'],
          ['Value #E', 'Duration'],
        ],
        ['Time', 'task_id'],
      ),
    ])
    + panel.field('Enqueued', panel.number('dateTimeAsLocal'))
    + panel.field('Source', panel.inWords(panel.words([
      ['api', 'the provider', colors.ok],
      ['first_seen', 'first seen', colors.warn],
    ])))
    + panel.field('In this state since', panel.number('dateTimeAsLocal'))
    + panel.field('Last poll', panel.number('dateTimeAsLocal'))
    + panel.field('Last answer', panel.number('dateTimeAsLocal'))
    + panel.field('Duration', panel.number('s', 1));

  local facts =
    panel.table(
      'Facts',
      'Labels that never change: the job type, once an answer contains it, and the labels from the configuration.',
      [panel.rows('topk(1, %s or on (task_id) %s)' % [own('aitask_info'), own('aitask_status')])],
    )
    + panel.transformations([
      panel.drop('^(Time|Value|__name__|state|status)$'),
      panel.columns([
        ['provider', 'Provider'],
        ['task_id', 'Task'],
        ['job_type', 'Job type'],
        ['job', 'Job'],
        ['instance', 'Instance'],
      ], []),
    ]);

  board.new(
    config.uids.task,
    'AI tasks / Task',
    'One task: its state over time, its age, and the results of its polls.',
    ['datasource', 'job', 'instance', 'provider', 'task'],
    [
      [4, [[4, current], [4, status], [4, age], [4, stuck], [4, failure], [4, answered]]],
      [7, [[24, states]]],
      [6, [[24, errors]]],
      [8, [[12, ages], [12, progress]]],
      [4, [[24, times]]],
      [4, [[24, facts]]],
    ],
  )
