// Everything known about one task, now and over time.
local panel = import 'panel.libsonnet';
local q = import 'query.libsonnet';

function(config)
  local board = (import 'dashboard.libsonnet')(config);
  local state = (import 'state.libsonnet')(config.states);
  local colors = config.colors;
  local limits = config.thresholds;

  // Grafana escapes a value for double quotes, but neither all quotes in it nor backslashes. As a regular
  // expression between backticks it may have any character but a backtick.
  local own(metric) = q.select(metric, [q.provider, 'task_id=~`${task_id:regex}`']);
  local value(metric) = 'max(%s)' % own(metric);
  // Labels of the task's single series, of only one even while two servers disagree.
  local labels(metric, labels) = 'topk(1, max by (%s) (%s))' % [std.join(', ', labels), own(metric)];
  local lastError = '%s or on () label_replace(%s, "error", "none", "", "")' % [
    q.errors(labels('aitask_error', ['reason', 'code'])),
    value('aitask_status'),
  ];
  local errorWords(none) = panel.words([['none', 'none', none], panel.noData]) + panel.anyText(colors.bad);

  local current =
    panel.stat(
      'State',
      'The normalised state of the task. A dash: there are no series of this task.',
      [panel.rows(labels('aitask_status', ['state']))],
    )
    + panel.text('state')
    + panel.unit('string')
    + panel.thresholds(colors.neutral)
    + panel.mappings(state.mappings)
    // As words, some of the colours would be too dark for the dark theme.
    + { options+: { colorMode: 'background_solid' } };

  local status =
    panel.stat(
      'Status',
      "The provider's own word for the state of the task.",
      [panel.rows(q.dashed('status', labels('aitask_status', ['status'])))],
    )
    + panel.text('status')
    + panel.unit('string')
    + panel.thresholds(colors.neutral);

  local age =
    panel.stat(
      'Age or duration',
      'Time since the task was enqueued, or how long it took once it has ended and its end is known. An age is red from the limit of AITaskQueueAgeHigh on, but the alert excludes the time in which the task waited for the user.',
      [
        panel.now(value('aitask_queue_age_seconds')),
        panel.now(value('aitask_duration_seconds')),
      ],
    )
    + panel.unit('s', 1)
    + panel.thresholds(colors.neutral, [[limits.queueAgeSeconds, colors.bad]])
    + panel.override('byFrameRefID', 'B', { color: { mode: 'fixed', fixedColor: colors.neutral } });

  local failure =
    panel.stat(
      'Last error',
      'The reason why the last poll failed and the code of the answer; "task" if the task itself failed.',
      [panel.rows(lastError)],
    )
    + panel.text('error')
    + panel.unit('string')
    + panel.thresholds(colors.neutral)
    + panel.mappings(errorWords(colors.neutral));

  local stuck =
    panel.stat(
      'Stuck',
      'Whether the task is neither final nor waiting for the user, and has been open or unchanged for longer than stuck_after. The time in which it waited for the user does not count. A final task is neither.',
      [panel.now(value('aitask_stuck'))],
    )
    + panel.unit('bool_yes_no')
    + panel.thresholds(colors.neutral)
    + panel.mappings(panel.words([[0, 'no', colors.ok], [1, 'yes', colors.bad]]));

  local answered =
    panel.stat(
      'Last answer',
      'Time since the last usable answer. All other values here are as old. Final tasks are not polled again.',
      [panel.now('time() - ' + value('aitask_last_success_timestamp_seconds'))],
    )
    + panel.unit('s', 0)
    + panel.thresholds(colors.neutral);

  local history =
    panel.timeline(
      'State, status and poll results',
      "The normalised state, the status in the provider's own words, and the result of polls: the reason of each failed one and the code of its answer, \"task\" if the task itself failed, \"none\" without an error.",
      [
        panel.moments(labels('aitask_status', ['state', 'status']), 'state'),
        panel.moments(lastError, 'error'),
      ],
    )
    + panel.thresholds(colors.neutral)
    + panel.mappings(state.mappings)
    + panel.transformations([
      panel.joinByTime,
      panel.columns(
        [['Time', 'Time'], ['state', 'State'], ['status', 'Status'], ['error', 'Error']],
        ['Value #A', 'Value #B', 'reason', 'code'],
      ),
    ])
    // A provider's word may be that of a state.
    + panel.field('Status', { mappings: panel.dashes('transparent') })
    + panel.field('Error', { mappings: errorWords(colors.ok) });

  local progress = panel.timeseries(
    'Progress',
    'Progress of the task. Empty if the provider does not report it.',
    [panel.series(value('aitask_progress_ratio'), 'progress')],
  ) + panel.unit('percentunit') + panel.max(1) + panel.filled + panel.namesBelow;

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
    + panel.field('Enqueued', panel.number('dateTimeAsIso'))
    + panel.field('Source', { mappings: [{ type: 'value', options: {
      api: { text: 'the provider', index: 0 },
      source: { text: 'the list', index: 1 },
      first_seen: { text: 'first seen', index: 2 },
    } }] })
    + panel.field('In this state since', panel.number('dateTimeAsIso'))
    + panel.field('Last poll', panel.number('dateTimeAsIso'))
    + panel.field('Last answer', panel.number('dateTimeAsIso') + panel.sparse(colors.neutral))
    + panel.field('Duration', panel.number('s', 1) + panel.sparse(colors.neutral));

  local facts =
    panel.table(
      'Facts',
      'Labels that never change: the job type, once an answer contains it, and the labels from the configuration.',
      [panel.rows('topk(1, %s or on (task_id) %s)' % [own('aitask_info'), own('aitask_status')])],
    )
    + panel.transformations([
      panel.drop('^(Time|Value|__name__|state|status|provider|task_id)$'),
      panel.columns([
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
      [3, [[4, current], [4, status], [4, age], [4, failure], [4, stuck], [4, answered]]],
      [6, [[24, history]]],
      [3, [[24, times]]],
      [5, [[12, facts], [12, progress]]],
    ],
  )
