// The fleet, from top to bottom: is what is below true, at which provider is something wrong, which tasks are
// stuck and which have failed, since when, and what did the API say?
local panel = import 'panel.libsonnet';
local q = import 'query.libsonnet';

function(config, alerts)
  local board = (import 'dashboard.libsonnet')(config);
  local state = (import 'state.libsonnet')(config.states);
  local colors = config.colors;
  local limits = config.thresholds;
  local provider = q.provider;
  // Excludes tasks that wait for the user, and IDs that the provider has never known.
  local notWaiting = 'state!~"waiting|not_found"';
  local byExporter = ['job', 'instance', 'provider'];

  // One value for each exporter and set of labels.
  local stuck = q.once(['provider'], q.select('aitask_stuck_tasks', [provider]));
  local open = q.once(['provider'], q.select('aitask_open_tasks', [provider]));
  local failed = q.once(
    ['provider', 'state'],
    q.increase('aitask_finished_total', [provider, 'state="failed"']),
  );
  local ended(matchers) = q.once(
    ['provider', 'state'],
    q.increase('aitask_finished_total', [provider] + matchers, '30m'),
  );
  local polls(window='$__range') = q.once(['provider'], q.increase('aitask_polls_total', [provider], window));
  local failedPolls(matchers=[], window='$__range') = q.once(
    ['provider', 'reason'],
    q.increase('aitask_poll_failures_total', [provider] + matchers, window),
  );
  local oldest = q.select('aitask_oldest_net_queue_age_seconds', [provider, notWaiting]);
  local oldestOf(by) = q.max(by, oldest);

  // 1 for each exporter and provider from which it gets usable answers, 0 if it gets none, as in the alert: a
  // not-found answer also shows that the provider is up. Not for an exporter that has no task of the provider.
  local failing(reasons) = 'sum by (%s) (%s)' % [std.join(', ', byExporter), failedPolls([reasons], '15m')];
  local answering = '1 - (%s == bool 0) * (%s > bool %s) and %s + %s > 0' % [
    q.once(['provider'], 'max_over_time(%s[10m])' % q.select('aitask_provider_up', [provider])),
    failing('reason!="not_found"'),
    failing('reason="not_found"'),
    polls('15m'),
    open,
  ];
  // The average of the exporters: between 0 and 1 if only some of them get answers.
  local answers = 'avg by (provider) (%s)' % answering;
  // The providers of exporters that cannot be scraped, whose numbers are missing everywhere.
  local unseen = 'group by (provider) (%s and on (job, instance) %s == 0)' % [
    q.once(['provider'], 'last_over_time(%s[1d])' % q.select('aitask_provider_up', [provider])),
    q.exporters,
  ];
  local incomplete = 2;
  local answersInWords = '%s == 0 or %d * %s or %s' % [answers, incomplete, unseen, answers];
  local answerWords =
    panel.words([[0, 'none', colors.bad], [1, 'usable', 'transparent'], [incomplete, 'incomplete', colors.warn]])
    + panel.range(0.001, 0.999, 'some', colors.warn);

  local alarm = panel.alarm(colors);
  local figure = panel.unit('short', 0) + panel.thresholds(colors.neutral);
  // Not green below the limit: a stuck task may be younger.
  local age = panel.unit('s', 1) + panel.thresholds(colors.neutral, [[limits.queueAgeSeconds, colors.bad]]);
  // Without an exporter, the numbers look better than the fleet is.
  local complete = panel.unless(q.exportersDown + ' > 0', 'incomplete', colors.warn);
  local untrue = ' It is "incomplete" while an exporter is down.';

  local exportersDown = panel.stat(
    'Exporters down',
    'Exporters that Prometheus cannot scrape now: their tasks are missing from this dashboard. AITaskExporterDown fires if there are any.',
    [panel.now(q.exportersDown)],
  ) + alarm + panel.links([{
    title: 'The exporters',
    url: board.url(config.uids.exporter, ['${job:queryparam}', '${instance:queryparam}', '${provider:queryparam}']),
  }]);

  local providersDown = panel.stat(
    'Providers down',
    'Providers from which one exporter or more has received no usable answer for 10 minutes, for other reasons than not found. AITaskProviderDown fires after another 5.',
    [panel.now('count(%s < 1) or sum(0 * %s)' % [answers, q.select('aitask_provider_up', [provider])])],
  ) + alarm + panel.explainedIn('Providers');

  local stuckTasks = panel.stat(
    'Stuck tasks',
    'Tasks that are neither final nor waiting for the user, and that have been open or unchanged for longer than stuck_after. AITaskStuck fires above 0.' + untrue,
    [panel.now('sum(%s)' % stuck)],
  ) + alarm + complete + panel.explainedIn('The worst open tasks');

  local oldestTask = panel.stat(
    'Oldest task',
    'Queue age of the oldest task that is neither final nor waiting for the user, without the time in which it waited for the user. IDs that the provider does not know are excluded. AITaskQueueAgeHigh fires where it turns red.' + untrue,
    [panel.now('max(%s)' % oldest)],
  ) + age + complete + panel.explainedIn('Oldest open task by provider');

  local openTasks = panel.stat(
    'Open',
    'Tasks that are not final, including those that wait for the user and IDs that a provider does not know yet.' + untrue,
    [panel.now('sum(%s)' % open)],
  ) + figure + complete + panel.explainedIn('Open tasks by state');

  local failedTasks = panel.stat(
    'Failed',
    'Tasks whose failure was observed in the time range.' + untrue,
    [panel.now('sum(%s)' % failed)],
  ) + figure + complete + panel.explainedIn('Failed lately');

  local onlyThis = { links: [{
    title: 'Only this provider',
    url: board.url(config.uids.fleet, [
      '${job:queryparam}',
      '${instance:queryparam}',
      'var-provider=${__data.fields.Provider:percentencode}',
    ]),
  }] };
  local providers =
    panel.table(
      'Providers',
      'One row per provider: first those without answers, then those with most stuck tasks, then by age. "Answers" covers the last 10 minutes: "some" if one exporter gets none while others do, "incomplete" if an exporter is down. "Oldest" excludes tasks that wait for the user, and the time in which a task has waited for the user.',
      [
        // The sort key: the fewer answers, the higher. A billion seconds is older than any task.
        panel.rows('1e15 * (%s == bool 0) + 1e12 * (%s != bool 1) + on (provider) (1e9 * sum by (provider) (%s) + %s) or 1e12 * (%s != bool 1)' % [
          '(%s)' % answersInWords,
          '(%s)' % answersInWords,
          stuck,
          oldestOf(['provider']),
          '(%s)' % answersInWords,
        ]),
        panel.rows(answersInWords),
        panel.rows('sum by (provider) (%s)' % stuck),
        panel.rows(oldestOf(['provider'])),
        panel.rows('sum by (provider) (%s)' % open),
        panel.rows('sum by (provider) (%s)' % failed),
        panel.rows('sum by (provider) (%s) / (sum by (provider) (%s) > 0)' % [failedPolls(), polls()]),
      ],
    )
    + panel.transformations([
      panel.merge,
      panel.sortBy('Value #A', desc=true),
      panel.columns(
        [
          ['provider', 'Provider'],
          ['Value #B', 'Answers'],
          ['Value #C', 'Stuck'],
          ['Value #D', 'Oldest'],
          ['Value #E', 'Open'],
          ['Value #F', 'Failed'],
          ['Value #G', 'Failed polls'],
        ],
        ['Time', 'Value #A'],
      ),
    ])
    + panel.field('Provider', onlyThis)
    + panel.field('Answers', panel.width(90) + panel.inWords(answerWords) + { 'custom.align': 'left' })
    + panel.field('Stuck', panel.width(60) + panel.number('short', 0) + panel.levels([[1, colors.bad]]))
    + panel.field('Oldest', panel.width(90) + panel.number('s', 1) + panel.levels([[limits.queueAgeSeconds, colors.bad]]))
    + panel.field('Open', panel.width(60) + panel.number('short', 0))
    + panel.field('Failed', panel.width(60) + panel.number('short', 0))
    + panel.field('Failed polls', panel.width(95) + panel.number('percentunit', 0) + panel.levels([
      [limits.failedPollsPercent / 200, colors.warn],
      [limits.failedPollsPercent / 100, colors.bad],
    ]));

  local ranked(expr) = std.foldl(
    function(expr, severity) 'label_replace(%s, "rank", "%d", "severity", "%s")' % [expr, severity[0], severity[1]],
    [[1, 'critical'], [2, 'warning'], [3, 'info']],
    expr,
  );
  // Grafana cannot make the lower-case name that a runbook's address ends in: a hidden column has it.
  local anchors = [{
    type: 'value',
    options: {
      [alerts[index]]: { text: std.asciiLower(alerts[index]), index: index }
      for index in std.range(0, std.length(alerts) - 1)
    },
  }];
  local firingAlerts =
    panel.table(
      'Firing alerts',
      'The alerts that are firing, critical ones first: what they are about, and for how long their condition has been met. Each links to its runbook.',
      [panel.rows('label_join(label_join(%s, "rank", " ", "rank", "alertname", "about"), "anchor", "", "alertname") or on () label_replace(0 * count(%s), "alertname", "none", "", "")' % [
        ranked(board.firingAlerts),
        q.select('aitask_exporter_build_info'),
      ])],
    )
    + panel.transformations([
      panel.sortBy('rank'),
      panel.columns(
        [
          ['severity', 'Severity'],
          ['alertname', 'Alert'],
          ['about', 'About'],
          ['Value', 'For'],
          ['anchor', 'Anchor'],
        ],
        ['Time', 'rank'],
      ),
    ])
    + panel.field('Severity', panel.width(72) + panel.inWords(panel.words([
      ['critical', 'critical', colors.bad],
      ['warning', 'warning', colors.warn],
      ['info', 'info', 'transparent'],
    ])))
    + panel.field('Alert', { links: [{
      title: 'Its runbook',
      url: config.runbooks + '#${__data.fields.Anchor}',
      targetBlank: true,
    }] })
    + panel.field('About', panel.sparse(colors.neutral))
    + panel.field('For', panel.width(66) + panel.number('s', 0) + panel.sparse(colors.neutral) + {
      mappings: panel.dashes(colors.neutral) + panel.range(0, 0, '–', colors.neutral),
    })
    + panel.field('Anchor', { 'custom.hideFrom.viz': true, mappings: anchors });

  // A row that says why there is none, if there is none: Grafana would show an empty table.
  local orRow(expr, rows) = '%s or on () (%s)' % [expr, std.join(' or on () ', [
    'label_replace(%s, "task_id", "%s", "", "")' % row
    for row in rows
  ])];

  // Labels of a task's single series, of only one even while two servers disagree.
  local ofTask(metric, matchers=[]) = q.max(['provider', 'task_id'], q.select(metric, [provider] + matchers));
  local labels(metric, labels, matchers=[]) = 'topk by (provider, task_id) (1, %s)' % q.max(
    ['provider', 'task_id'] + labels,
    q.select(metric, [provider] + matchers),
  );
  local lastErrors(labels) = 'topk by (provider, task_id) (1, %s)' % q.max(
    ['provider', 'task_id'] + labels,
    q.select('aitask_error', [provider]),
  );
  local toTask = { links: [{
    title: 'This task',
    url: board.url(config.uids.task, [
      '${job:queryparam}',
      '${instance:queryparam}',
      'var-provider=${__data.fields.Provider:percentencode}',
      'var-task_id=${__data.fields.Task:percentencode}',
    ]),
  }] };

  // The worst tasks: stuck ones first, then by age. A billion seconds is older than any task. Ages are as of
  // the moment of the query, like the times in a state beside them.
  local ages = 'time() - %s and on (provider, task_id) %s' % [
    ofTask('aitask_enqueue_timestamp_seconds'),
    ofTask('aitask_stuck'),
  ];
  local worst = 'topk(%d, 1e9 * %s + on (provider, task_id) (%s))' % [config.worstTasks, ofTask('aitask_stuck'), ages];
  local ofWorst(expr) = '(%s) and on (provider, task_id) %s' % [expr, worst];
  local owner = std.asciiUpper(config.ownerLabel[0]) + config.ownerLabel[1:];
  local worstTasks =
    panel.table(
      'The worst open tasks',
      'One row per task, stuck tasks first, then the oldest. Needs series of single tasks (per_task_series).',
      [
        panel.rows(orRow(worst, [
          ['sum(%s) == 0' % open, 'no open task'],
          ['sum(%s)' % open, 'no series of single tasks'],
        ])),
        panel.rows(ofWorst(q.dashed('status', labels('aitask_status', ['state', 'status', config.ownerLabel])))),
        panel.rows(ofWorst(ages)),
        panel.rows(ofWorst('time() - ' + ofTask('aitask_state_timestamp_seconds'))),
        panel.rows(ofWorst(ofTask('aitask_stuck'))),
        panel.rows(ofWorst('%s or on (provider, task_id) label_replace(%s, "error", "none", "", "")' % [
          q.errors(lastErrors(['reason', 'code'])),
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
          ['Value #C', 'Age'],
          ['provider', 'Provider'],
          ['state', 'State'],
          ['status', 'Status'],
          ['Value #E', 'Stuck'],
          ['Value #D', 'In this state for'],
          ['error', 'Last error'],
          ['Value #G', 'Last answer'],
          [config.ownerLabel, owner],
        ],
        ['Time', 'Value #A', 'Value #B', 'Value #F', 'reason', 'code'],
      ),
    ])
    + panel.field('Task', panel.width(320) + toTask)
    + panel.field('Age', panel.width(85) + panel.number('s', 1))
    + panel.field('Provider', panel.width(200))
    + panel.field('State', panel.width(85))
    + panel.field('Stuck', panel.width(60) + panel.inWords(panel.words([[0, '–', 'transparent'], [1, 'yes', colors.bad]])))
    + panel.field('In this state for', panel.width(132) + panel.number('s', 1))
    + panel.field('Last error', panel.inWords(
      panel.words([['none', '–', 'transparent']]) + panel.anyText(colors.bad)
    ))
    + panel.field('Last answer', panel.width(100) + panel.number('s', 0) + panel.sparse(colors.neutral))
    + panel.field(owner, panel.width(105) + panel.sparse(colors.neutral));

  local oldestByProvider =
    panel.timeseries(
      'Oldest open task by provider',
      'Queue age of the oldest task of each provider, without tasks that wait for the user, and without the time in which a task has waited for the user. AITaskQueueAgeHigh fires above the line.',
      [panel.series('%s / 60 / 60' % oldestOf(['provider']), '{{provider}}')],
    )
    + panel.unit('h', 1) + panel.limit(limits.queueAgeSeconds / 3600, colors.bad) + panel.annotated;

  local inStates = q.sum(
    ['state'],
    ['provider', 'state'],
    q.select('aitask_tasks', [provider, 'state=~"%s"' % state.open]),
  );
  local openByState = panel.timeseries(
    'Open tasks by state',
    'Tasks that are not final. For IDs that a provider does not know, "not_found" stands until they are final.',
    [
      panel.series(inStates, '{{state}}'),
      panel.series('sum(%s) - sum(%s) > 0' % [open, inStates], 'not_found'),
    ],
  ) + panel.counts + panel.stacked + state.colors + panel.annotated;

  local finishedTasks = panel.timeseries(
    'Finished tasks per minute',
    'Tasks whose end was observed, by final state, over the 5 minutes before each point. A task that was final at first sight does not count.',
    [panel.series(
      q.tenths(q.perMinute(['state'], ['provider', 'state'], 'aitask_finished_total', [provider])),
      '{{state}}',
    )],
  ) + panel.counts + panel.unit('short', 1) + panel.stacked + state.colors;

  local failedShare = panel.timeseries(
    'Share of failed tasks',
    'The share of tasks that failed or were lost among those that ended in the 30 minutes before each point, if at least %d ended. AITaskFailureRatioHigh fires above the line.' % limits.failedMinFinished,
    [panel.series(
      '100 * sum by (provider) (%s) / (sum by (provider) (%s) >= %d)' % [ended(['state=~"failed|not_found"']), ended([]), limits.failedMinFinished],
      '{{provider}}',
    )],
  ) + panel.unit('percent', 0) + panel.limit(limits.failedPercent, colors.bad);

  local durations = panel.timeseries(
    'Duration of succeeded tasks',
    '90 % of the tasks of a provider that succeeded in the hour before each point took at most this long, from enqueueing to the end, estimated from buckets. Without such tasks, there is no point.',
    [panel.series(
      q.tenths('histogram_quantile(0.9, %s) / 60 >= 0' % q.sum(
        ['provider', 'le'],
        ['provider', 'state', 'le'],
        q.increase('aitask_task_duration_seconds_bucket', [provider, 'state="succeeded"'], '1h'),
      )),
      '{{provider}}',
    )],
  ) + panel.unit('m', 1);

  // An ID that the provider does not know has failed only once it is final.
  local failedNow = '%s unless on (provider, task_id) %s' % [
    ofTask('aitask_status', ['state=~"failed|not_found"']),
    ofTask('aitask_stuck'),
  ];
  local latest = 'topk(%d, %s and on (provider, task_id) (%s))' % [
    config.failedTasks,
    ofTask('aitask_state_timestamp_seconds'),
    failedNow,
  ];
  local ofLatest(expr) = '(%s) and on (provider, task_id) %s' % [expr, latest];
  local failedLately =
    panel.table(
      'Failed lately',
      'The tasks that failed or were lost last, among those that still have series: when, the status in the words of the provider, and the reason and the code of the error ("task" if the task itself failed). Needs series of single tasks (per_task_series).',
      [
        panel.rows(orRow('time() - ' + latest, [['0 * sum(%s)' % open, 'no failed task']])),
        panel.rows(ofLatest(q.dashed('status', labels('aitask_status', ['state', 'status'], ['state=~"failed|not_found"'])))),
        panel.rows(ofLatest(q.dashed('code', lastErrors(['reason', 'code'])))),
      ],
    )
    + panel.transformations([
      panel.merge,
      panel.sortBy('Value #A'),
      panel.columns(
        [
          ['task_id', 'Task'],
          ['Value #A', 'Ago'],
          ['provider', 'Provider'],
          ['state', 'State'],
          ['status', 'Status'],
          ['reason', 'Reason'],
          ['code', 'Code'],
        ],
        ['Time', 'Value #B', 'Value #C'],
      ),
    ])
    + panel.field('Task', panel.width(320) + toTask)
    + panel.field('Ago', panel.width(90) + panel.number('s', 0))
    + panel.field('State', panel.width(90))
    + panel.field('Reason', panel.sparse(colors.neutral))
    + panel.field('Code', panel.sparse(colors.neutral));

  local ofCode = 'code!~"0|1|200|success"';
  local perMinute(by, metric, matchers=[]) =
    q.tenths(q.perMinute(by, by, metric, [provider] + matchers) + ' > 0');
  local pollFailures = panel.timeseries(
    'Failed polls per minute',
    'Polls that gave no usable answer, by provider and reason, over the 5 minutes before each point.',
    [panel.series(
      q.orZero(
        perMinute(['provider', 'reason'], 'aitask_poll_failures_total'),
        q.everIncreased('aitask_poll_failures_total', [provider]),
        'provider',
        'no failed poll',
      ),
      '{{provider}} {{reason}}',
    )],
  ) + panel.counts + panel.unit('short', 1);

  local errorCodes = panel.timeseries(
    'Error codes per minute',
    'Answers by provider and the code in their body, over the 5 minutes before each point. Codes that mean success (0, 1, 200, success) are excluded.',
    [panel.series(
      q.orZero(
        perMinute(['provider', 'code'], 'aitask_response_codes_total', [ofCode]),
        q.everIncreased('aitask_response_codes_total', [provider, ofCode]),
        'provider',
        'no error code',
      ),
      '{{provider}} {{code}}',
    )],
  ) + panel.counts + panel.unit('short', 1);

  local unlistedTasks = panel.timeseries(
    'Unlisted and lost tasks',
    'Open tasks that no list names any more, which are polled until their end is seen; and tasks that were dropped in the hour before each point, because that took longer than keep_unlisted. AITaskTasksLost fires if there are any of the latter.',
    [
      panel.series(
        q.orZero(
          q.sum(['provider'], ['provider'], q.select('aitask_unlisted_tasks', [provider])) + ' > 0',
          q.everAbove0('aitask_unlisted_tasks', [provider]),
          'provider',
          'no task',
        ),
        '{{provider}} unlisted',
      ),
      panel.series('sum(%s)' % q.once(['provider'], q.increase('aitask_lost_tasks_total', [provider], '1h')), 'lost'),
    ],
  ) + panel.counts + panel.unit('short', 0) + panel.field('lost', { color: { mode: 'fixed', fixedColor: colors.bad } });

  board.new(
    config.uids.fleet,
    'AI tasks / Fleet',
    'Is anything stuck, where, since when, and what did the API say?',
    ['datasource', 'job', 'instance', 'provider'],
    [
      [3, [[5, exportersDown], [5, providersDown], [4, stuckTasks], [4, oldestTask], [3, openTasks], [3, failedTasks]]],
      [8, [[14, providers], [10, firingAlerts]]],
      [8, [[24, worstTasks]]],
      [7, [[12, oldestByProvider], [12, openByState]]],
      [7, [[8, finishedTasks], [8, failedShare], [8, durations]]],
      [6, [[24, failedLately]]],
      [7, [[12, pollFailures], [12, errorCodes]]],
      [6, [[24, unlistedTasks]]],
    ],
    from='now-1h',
  )
