// The fleet, from top to bottom: is anything stuck, at which provider and in which state, since when,
// what did the API say, and is the exporter itself all right?
local panel = import 'panel.libsonnet';
local q = import 'query.libsonnet';

function(config)
  local board = (import 'dashboard.libsonnet')(config);
  local state = (import 'state.libsonnet')(config.states);
  local colors = config.colors;
  local limits = config.thresholds;
  local provider = q.provider;
  local inState = 'state=~"$state"';
  // Excludes tasks that wait for the user, and IDs that the provider has never known.
  local notWaiting = 'state!~"waiting|not_found"';

  // One value for each exporter and set of labels.
  local stuck = q.once(['provider'], q.select('aitask_stuck_tasks', [provider]));
  local open = q.once(
    ['provider', 'state'],
    q.select('aitask_tasks', [provider, 'state=~"%s"' % state.open]),
  );
  local failed = q.once(
    ['provider', 'state'],
    q.increase('aitask_finished_total', [provider, 'state="failed"']),
  );
  local ended(matchers) = q.once(
    ['provider', 'state'],
    q.increase('aitask_finished_total', [provider] + matchers, '30m'),
  );
  local polls = q.once(['provider'], q.increase('aitask_polls_total', [provider]));
  local failedPolls(matchers=[], window='$__range') = q.once(
    ['provider', 'reason'],
    q.increase('aitask_poll_failures_total', [provider] + matchers, window),
  );
  local oldest(matchers=[]) = q.select(
    'aitask_oldest_net_queue_age_seconds',
    [provider, notWaiting] + matchers,
  );

  local alarm = panel.alarm(colors);
  local figure = panel.unit('short', 0) + panel.noValue('unknown') + panel.thresholds(colors.neutral);
  // Not green below the limit: a stuck task may be younger.
  local age = panel.unit('s', 1) + panel.noValue('unknown')
              + panel.thresholds(colors.neutral, [[limits.queueAgeSeconds, colors.bad]]);

  local stuckTasks = panel.stat(
    'Stuck tasks',
    'Tasks that are neither final nor waiting for the user, and that have been open or unchanged for longer than stuck_after. AITaskStuck fires above 0.',
    [panel.now('sum(%s)' % stuck)],
  ) + alarm;

  local oldestTask = panel.stat(
    'Oldest open task',
    'Queue age of the oldest task that is neither final nor waiting for the user, without the time in which it waited for the user. IDs that the provider does not know are excluded. AITaskQueueAgeHigh fires where it turns red.',
    [panel.now('max(%s)' % oldest())],
  ) + age;

  local openTasks = panel.stat(
    'Open tasks',
    'Tasks that are not final, without those that a provider does not know.',
    [panel.now('sum(%s)' % open)],
  ) + figure;

  local failedTasks = panel.stat(
    'Failed tasks',
    'Tasks whose failure was observed in the time range.',
    [panel.now('sum(%s)' % failed)],
  ) + figure;

  // As in the alert. A not-found answer also shows that the provider is up.
  local answers = 'max by (provider) (max_over_time(%s[10m]))' % q.select('aitask_provider_up', [provider]);
  local providersDown = panel.stat(
    'Providers down',
    'Providers without a usable answer for 10 minutes, for other reasons than not found. AITaskProviderDown fires after another 5.',
    [panel.now('sum((%s == bool 0) * (sum by (provider) (%s) > bool sum by (provider) (%s)))' % [
      answers,
      failedPolls(['reason!="not_found"'], '15m'),
      failedPolls(['reason="not_found"'], '15m'),
    ])],
  ) + alarm;

  local exportersDown = panel.stat(
    'Exporters down',
    'Exporters that Prometheus cannot scrape now: this dashboard is not valid for their tasks. See the dashboard of the exporter.',
    [panel.now(q.exportersDown)],
  ) + alarm;

  local oldestOf(by) = q.max(by, oldest());
  local providers =
    panel.table(
      'Providers',
      'One row per provider, the one with most stuck tasks first. "Oldest" excludes tasks that wait for the user, and the time in which a task has waited for the user. "Open" excludes IDs that the provider does not know. "Answers" covers the last 10 minutes.',
      [
        panel.rows('1e9 * sum by (provider) (%s) + %s' % [stuck, oldestOf(['provider'])]),
        panel.rows('sum by (provider) (%s)' % stuck),
        panel.rows('topk by (provider) (1, %s > 0) or on (provider) label_replace(%s, "state", "none", "", "")' % [
          oldestOf(['provider', 'state']),
          oldestOf(['provider']),
        ]),
        panel.rows('sum by (provider) (%s)' % open),
        panel.rows('sum by (provider) (%s)' % failed),
        panel.rows('sum by (provider) (%s) / clamp_min(sum by (provider) (%s), 1)' % [failedPolls(), polls]),
        panel.rows(answers),
      ],
    )
    + panel.transformations([
      panel.merge,
      panel.sortBy('Value #A', desc=true),
      panel.columns(
        [
          ['provider', 'Provider'],
          ['Value #B', 'Stuck'],
          ['Value #C', 'Oldest'],
          ['state', 'Oldest is'],
          ['Value #D', 'Open'],
          ['Value #E', 'Failed'],
          ['Value #F', 'Failed polls'],
          ['Value #G', 'Answers'],
        ],
        ['Time', 'Value #A'],
      ),
    ])
    + panel.field('Provider', { links: [{
      title: 'Only this provider',
      url: board.url(config.uids.fleet, [
        '${job:queryparam}',
        '${instance:queryparam}',
        'var-provider=${__data.fields.Provider:percentencode}',
      ]),
    }] })
    + panel.field('Stuck', panel.number('short', 0) + panel.levels([[1, colors.bad]]))
    + panel.field('Oldest', panel.number('s', 1) + panel.levels([[limits.queueAgeSeconds, colors.bad]]))
    + panel.field('Oldest is', panel.inWords(state.mappings))
    + panel.field('Open', panel.number('short', 0))
    + panel.field('Failed', panel.number('short', 0))
    + panel.field('Failed polls', panel.number('percentunit', 0))
    + panel.field('Answers', panel.inWords(panel.words([[0, 'none', colors.bad], [1, 'usable', 'transparent']])));

  local oldestByState =
    panel.timeseries(
      'Oldest open task by provider and state',
      'Queue age of the oldest task in each state, without tasks that wait for the user, and without the time in which a task has waited for the user. AITaskQueueAgeHigh fires above the line.',
      [panel.series(
        q.orZero(q.max(['provider', 'state'], oldest([inState])) + ' > 0', 'provider', 'no open task'),
        '{{provider}} {{state}}',
      )],
    )
    + panel.unit('s') + panel.limit(limits.queueAgeSeconds, colors.bad) + state.colors + panel.annotated;

  // The worst tasks: stuck ones first, then by age. A billion seconds is older than any task.
  local ofTask(metric, matchers=[]) = q.max(['provider', 'task_id'], q.select(metric, [provider] + matchers));
  local worst = 'topk(%d, 1e9 * %s + %s and on (provider, task_id) %s)' % [
    config.worstTasks,
    ofTask('aitask_stuck'),
    ofTask('aitask_queue_age_seconds'),
    ofTask('aitask_status', [inState]),
  ];
  local ofWorst(expr) = '(%s) and on (provider, task_id) %s' % [expr, worst];
  // Labels of a task's single series, of only one even while two servers disagree.
  local labels(metric, labels) = 'topk by (provider, task_id) (1, %s)' % q.max(
    ['provider', 'task_id'] + labels,
    q.select(metric, [provider]),
  );

  local worstTasks =
    panel.table(
      'The worst open tasks',
      'One row per task, stuck tasks first, then the oldest. Needs series of single tasks (per_task_series).',
      [
        panel.rows(worst),
        panel.rows(ofWorst(labels('aitask_status', ['state', 'status']))),
        panel.rows(ofWorst(ofTask('aitask_queue_age_seconds'))),
        panel.rows(ofWorst('time() - ' + ofTask('aitask_state_timestamp_seconds'))),
        panel.rows(ofWorst(ofTask('aitask_stuck'))),
        panel.rows(ofWorst('%s or on (provider, task_id) label_replace(%s, "error", "none", "", "")' % [
          q.errors(labels('aitask_error', ['reason', 'code'])),
          ofTask('aitask_status'),
        ])),
        panel.rows(ofWorst('time() - ' + ofTask('aitask_last_success_timestamp_seconds'))),
      ],
    )
    + panel.transformations([
      panel.merge,
      panel.sortBy('Value #A', desc=true),
      panel.columns(
        [
          ['task_id', 'Task'],
          ['provider', 'Provider'],
          ['state', 'State'],
          ['status', 'Status'],
          ['Value #E', 'Stuck'],
          ['Value #C', 'Age'],
          ['Value #D', 'In this state for'],
          ['error', 'Last error'],
          ['Value #G', 'Last answer'],
        ],
        ['Time', 'Value #A', 'Value #B', 'Value #F', 'reason', 'code'],
      ),
    ])
    + panel.field('Task', panel.width(320) + { links: [{
      title: 'This task',
      url: board.url(config.uids.task, [
        '${job:queryparam}',
        '${instance:queryparam}',
        'var-provider=${__data.fields.Provider:percentencode}',
        'var-task_id=${__data.fields.Task:percentencode}',
      ]),
    }] })
    + panel.noValue('No open task, or no series of single tasks')
    + panel.field('Status', { noValue: '–' })
    + panel.field('State', panel.width(110) + panel.inWords(state.mappings))
    + panel.field('Stuck', panel.width(80) + panel.inWords(panel.words([[0, 'no', 'transparent'], [1, 'yes', colors.bad]])))
    + panel.field('Age', panel.width(120) + panel.number('s', 1))
    + panel.field('In this state for', panel.width(140) + panel.number('s', 1))
    + panel.field('Last error', panel.inWords(panel.words([['none', 'none', 'transparent']]), colors.bad))
    + panel.field('Last answer', panel.width(120) + panel.number('s', 0) + { noValue: 'never' });

  local inStates(operator) = panel.series(
    q.sum(
      ['state'],
      ['provider', 'state'],
      q.select('aitask_tasks', [provider, inState, 'state%s"%s"' % [operator, state.open]]),
    ),
    '{{state}}',
  );
  local tasksByState = panel.timeseries(
    'Tasks by state',
    'All tasks that are listed or still followed: the open ones below, the final ones above.',
    [inStates('=~'), inStates('!~')],
  ) + panel.counts + panel.stacked + state.colors + panel.annotated;

  local finishedTasks = panel.timeseries(
    'Finished tasks per minute',
    'Tasks whose end was observed, by final state, over the 5 minutes before each point. A task that was final at first sight does not count.',
    [panel.series(
      q.sum(['state'], ['provider', 'state'], q.increase('aitask_finished_total', [provider], '5m')) + ' / 5',
      '{{state}}',
    )],
  ) + panel.counts + panel.stacked + state.colors;

  local unlistedTasks = panel.timeseries(
    'Unlisted and lost tasks',
    'Open tasks that no list names any more, which are polled until their end is seen; and tasks that were dropped in the hour before each point, because that took longer than keep_unlisted. AITaskTasksLost fires if there are any of the latter.',
    [
      panel.series(
        q.orZero(
          q.sum(['provider'], ['provider'], q.select('aitask_unlisted_tasks', [provider])) + ' > 0',
          'provider',
          'no task',
        ),
        '{{provider}} unlisted',
      ),
      panel.series('sum(%s)' % q.once(['provider'], q.increase('aitask_lost_tasks_total', [provider], '1h')), 'lost'),
    ],
  ) + panel.counts + panel.field('lost', { color: { mode: 'fixed', fixedColor: colors.bad } });

  local duration(quantile) = 'histogram_quantile(%s, %s)' % [quantile, q.sum(
    ['provider', 'le'],
    ['provider', 'state', 'le'],
    q.increase('aitask_task_duration_seconds_bucket', [provider, 'state="succeeded"'], '1h'),
  )];
  local durations = panel.timeseries(
    'Duration of succeeded tasks',
    'From enqueueing to the end, of the tasks that succeeded in the hour before each point, estimated from buckets. Without such tasks, there is no point.',
    [
      panel.series(duration('0.5'), '{{provider}}, median'),
      panel.series(duration('0.9'), '{{provider}}, 90th percentile'),
    ],
  ) + panel.unit('s');

  local failedShare = panel.timeseries(
    'Share of failed tasks',
    'The share of tasks that failed or were lost among those that ended in the 30 minutes before each point, if at least %d ended. AITaskFailureRatioHigh fires above the line.' % limits.failedMinFinished,
    [panel.series(
      '100 * sum by (provider) (%s) / (sum by (provider) (%s) >= %d)' % [ended(['state=~"failed|not_found"']), ended([]), limits.failedMinFinished],
      '{{provider}}',
    )],
  ) + panel.unit('percent') + panel.noValue('fewer than %d ended' % limits.failedMinFinished) + panel.limit(limits.failedPercent, colors.bad);

  local perMinute(by, metric, matchers=[]) = 'sum by (%s) (%s) / 5 > 0' % [
    std.join(', ', by),
    q.once(by, q.increase(metric, [provider] + matchers, '5m')),
  ];
  local pollFailures = panel.timeseries(
    'Failed polls per minute',
    'Polls that gave no usable answer, by provider and reason, over the 5 minutes before each point.',
    [panel.series(
      q.orZero(perMinute(['provider', 'reason'], 'aitask_poll_failures_total'), 'provider', 'no failed poll'),
      '{{provider}} {{reason}}',
    )],
  ) + panel.counts;

  local errorCodes = panel.timeseries(
    'Error codes per minute',
    'Answers by provider and the code in their body, over the 5 minutes before each point. Codes that mean success (0, 1, 200, success) are excluded.',
    [panel.series(
      q.orZero(
        perMinute(['provider', 'code'], 'aitask_response_codes_total', ['code!~"0|1|200|success"']),
        'provider',
        'no error code',
      ),
      '{{provider}} {{code}}',
    )],
  ) + panel.counts;

  board.new(
    config.uids.fleet,
    'AI tasks / Fleet',
    'Is anything stuck, where, since when, and what did the API say?',
    ['datasource', 'job', 'instance', 'provider', 'state'],
    [
      [4, [[4, stuckTasks], [4, oldestTask], [4, openTasks], [4, failedTasks], [4, providersDown], [4, exportersDown]]],
      [11, [[12, providers], [12, oldestByState]]],
      [11, [[24, worstTasks]]],
      [8, [[10, tasksByState], [7, finishedTasks], [7, unlistedTasks]]],
      [8, [[6, durations], [6, failedShare], [6, pollFailures], [6, errorCodes]]],
    ],
  )
