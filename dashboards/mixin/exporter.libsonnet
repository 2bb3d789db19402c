// The exporter itself: the lag of its polls, their results, and its costs.
local panel = import 'panel.libsonnet';
local q = import 'query.libsonnet';

function(config)
  local board = (import 'dashboard.libsonnet')(config);
  local colors = config.colors;
  local limits = config.thresholds;
  local provider = q.provider;

  local ofInstance(expr) = q.max(['job', 'instance'], expr);
  local perProvider(metric) = 'sum by (provider) (%s)' % q.once(['provider'], q.rate(metric, [provider]));
  // The maximum between two points: the value at a single moment says little. Providers without any have no
  // line, or one line says that there is none.
  local mostByProvider(metric, nothing) = panel.series(
    q.orZero(
      q.sum(['provider'], ['provider'], 'max_over_time(%s[$__rate_interval])' % q.select(metric, [provider])) + ' > 0',
      q.everAbove0(metric, [provider]),
      'provider',
      nothing,
    ),
    '{{provider}}',
  );
  local polls = perProvider('aitask_polls_total');
  local failures = q.once(['provider', 'reason'], q.rate('aitask_poll_failures_total', [provider]));
  local lag(by) = 'histogram_quantile(0.99, %s)' % q.sum(
    by,
    ['provider', 'le'],
    q.increase('aitask_poll_lag_seconds_bucket', [provider], '10m'),
  );

  local count = panel.unit('short', 0);
  local alarm = panel.alarm(colors);

  local exportersDown = panel.stat(
    'Exporters down',
    'Exporters that Prometheus cannot scrape. AITaskExporterDown fires if there are any.',
    [panel.now(q.exportersDown)],
  ) + alarm + panel.explainedIn('Exporters');

  local refused = panel.stat(
    'Rejected configurations',
    'Exporters that rejected their configuration at the last reload. AITaskConfigReloadFailed fires above 0.',
    [panel.now('sum(%s == bool 0)' % ofInstance(q.select('aitask_exporter_config_last_reload_successful')))],
  ) + alarm + panel.explainedIn('Exporters');

  local dropped = panel.stat(
    'Tasks not polled',
    'Tasks of the configuration that are not polled: over max_tasks, or without readable credentials. AITaskTasksDropped fires above 0.',
    [panel.now('sum(%s)' % q.once(['reason'], q.select('aitask_exporter_dropped_tasks')))],
  ) + alarm;

  local storageDown = panel.stat(
    'Storage down',
    'Exporters that cannot write to --storage.path, so that a restart would lose the history. AITaskExporterStorageDown fires above 0.',
    [panel.now('sum(%s)' % q.once([], q.select('aitask_exporter_storage_up') + ' == bool 0'))],
  ) + alarm + panel.explainedIn('Exporters');

  local failedPolls = panel.stat(
    'Failed polls',
    'The share of polls that gave no usable answer.',
    [panel.now('sum(%s) / clamp_min(sum(%s), 1e-9)' % [failures, polls])],
  ) + panel.unit('percentunit', 0) + panel.thresholds(colors.neutral) + panel.explainedIn('Polls by result');

  local lagNow = panel.stat(
                   'Lag',
                   '99th percentile of the start delay of polls in the last 10 minutes, for the provider with the largest. AITaskPollsLate fires where it turns red.',
                   [panel.now('max(%s)' % lag(['provider', 'le']))],
                 ) + panel.unit('s', 0) + panel.thresholds(colors.neutral, [[0, colors.ok], [limits.lagSeconds, colors.bad]])
                 + panel.explainedIn('Lag by provider');

  local results = panel.timeseries(
                    'Polls by result',
                    'Polls per second: usable answers, and failed polls by reason.',
                    [
                      panel.series('sum(%s) - sum(%s)' % [polls, failures], 'usable'),
                      panel.series('sum by (reason) (%s) > 0' % failures, '{{reason}}'),
                    ],
                  ) + panel.unit('reqps', 1) + panel.stacked + panel.annotated
                  + panel.field('usable', { color: { mode: 'fixed', fixedColor: colors.ok } });

  local statuses = panel.timeseries(
    'Answers by HTTP status',
    'Answers per second by HTTP status, for all selected providers together.',
    [panel.series(
      'sum by (status_code) (%s) > 0' % q.once(
        ['provider', 'status_code'],
        q.rate('aitask_http_responses_total', [provider]),
      ),
      '{{status_code}}',
    )],
  ) + panel.unit('reqps', 1) + panel.stacked;

  local durations = panel.heatmap(
    'Duration of polls',
    'From the request to the complete answer, for all selected providers together.',
    [panel.buckets(q.sum(['le'], ['provider', 'le'], q.rate('aitask_poll_duration_seconds_bucket', [provider])))],
    's',
  );

  local lagByProvider = panel.timeseries(
    'Lag by provider',
    '99th percentile of the start delay of polls, over the 10 minutes before each point. AITaskPollsLate fires above the line.',
    [panel.series(q.tenths(lag(['provider', 'le'])), '{{provider}}')],
  ) + panel.unit('s') + panel.limit(limits.lagSeconds, colors.bad) + panel.annotated;

  local overdue = panel.timeseries(
    'Oldest due poll',
    'How long the longest-waiting due poll has been waiting to start. AITaskPollsStopped fires above the line, if no poll gets a usable answer.',
    [mostByProvider('aitask_poll_overdue_seconds', 'no due poll')],
  ) + panel.unit('s') + panel.limit(limits.overdueSeconds, colors.bad) + panel.annotated;

  local inFlight = panel.timeseries(
    'Requests in flight',
    'Requests that wait for their answer; a batch is one request. At max_in_flight, further polls wait.',
    [mostByProvider('aitask_polls_in_flight', 'no request')],
  ) + panel.counts + count;

  local waiting = panel.timeseries(
    'Waiting polls',
    'Polls that are due and have not started.',
    [mostByProvider('aitask_poll_queue_length', 'no poll')],
  ) + panel.counts + count;

  local throttled = panel.timeseries(
    'Throttling',
    "The share of time in which due polls were delayed by the rate limit or by the provider's Retry-After; the largest of several exporters.",
    [panel.series(
      q.orZero(
        q.max(['provider'], q.rate('aitask_throttled_seconds_total', [provider])) + ' > 0',
        q.everIncreased('aitask_throttled_seconds_total', [provider]),
        'provider',
        'no throttling',
      ),
      '{{provider}}',
    )],
  ) + panel.unit('percentunit');

  local tooMany = panel.timeseries(
    'Rate-limited polls',
    'The share of polls in the 15 minutes before each point that the provider rejected with "too many requests". AITaskRateLimited fires above the line.',
    [panel.series(
      q.orZero(
        '100 * sum by (provider) (%s) / sum by (provider) (%s) > 0' % [
          q.once(['provider', 'reason'], q.increase('aitask_poll_failures_total', [provider, 'reason="rate_limited"'], '15m')),
          q.once(['provider'], q.increase('aitask_polls_total', [provider], '15m')),
        ],
        q.everIncreased('aitask_poll_failures_total', [provider, 'reason="rate_limited"']),
        'provider',
        'no rate-limited poll',
      ),
      '{{provider}}',
    )],
  ) + panel.unit('percent', 0) + panel.limit(limits.rateLimitedPercent, colors.bad);

  local probes = panel.timeseries(
    'Probes per minute',
    'Requests to /probe by result, over the 5 minutes before each point: "paused" if the provider was paused, "busy" if there was no turn in time.',
    [panel.series(
      q.tenths(q.perMinute(['result'], ['provider', 'result'], 'aitask_probes_total', [provider])),
      '{{result}}',
    )],
  ) + panel.counts + panel.unit('short', 1);

  local unknown = panel.timeseries(
    'Unknown statuses per minute',
    'Answers with a status that the mapping does not list, over the 5 minutes before each point. AITaskUnknownStatus fires if there are any; the log has each status once.',
    [panel.series(
      q.orZero(
        q.tenths(q.perMinute(['provider'], ['provider'], 'aitask_unknown_statuses_total', [provider]) + ' > 0'),
        q.everIncreased('aitask_unknown_statuses_total', [provider]),
        'provider',
        'no unknown status',
      ),
      '{{provider}}',
    )],
  ) + panel.counts + panel.unit('short', 1);

  local scrapes = panel.timeseries(
    'Cost of a scrape',
    'How long the exporter takes to write the metrics, including its slowest reader, and how long Prometheus waits for them.',
    [
      panel.series(
        'histogram_quantile(0.99, %s)' % q.once(['le'], q.rate('aitask_exporter_scrape_duration_seconds_bucket')),
        '{{instance}} writes',
      ),
      panel.series(ofInstance(q.ours(q.select('scrape_duration_seconds'))), '{{instance}} is scraped'),
    ],
  ) + panel.unit('s') + panel.namesBelow;

  // One line of each source of tasks, or one that says that there is none: `any` is above 0 if there is a line.
  local source = ['mechanism', 'config'];
  local bySource(expr, any, nothing='no source', legend='') =
    panel.series(q.orZero(expr, any, 'mechanism', nothing), '{{mechanism}} {{config}}' + legend);
  local anySource = 'count(last_over_time(%s[$__range] @ end()))' % q.select('aitask_sd_discovered_tasks');

  local discovered = panel.timeseries(
    'Discovered tasks',
    'Tasks in the last good list of each source.',
    [bySource(q.sum(source, source, q.select('aitask_sd_discovered_tasks')), anySource)],
  ) + panel.counts + count;

  local listAge = panel.timeseries(
                    'Age of the lists',
                    'Time since the list of each source was last read or found unchanged; a list that was never read has no line. AITaskDiscoveryFailing fires above the line.',
                    [bySource(
                      'time() - %s' % q.max(source, q.select('aitask_sd_last_success_timestamp_seconds') + ' > 0'),
                      q.everAbove0('aitask_sd_last_success_timestamp_seconds'),
                      'no list',
                    )],
                  ) + panel.unit('s')
                  + panel.limit(limits.listAgeSeconds, colors.bad) + panel.annotated;

  local refreshFailures = panel.timeseries(
    'Failed refreshes per minute',
    'Attempts to read a list that failed, by source and reason, over the 5 minutes before each point. The last good list stays in force.',
    [bySource(
      q.tenths(q.perMinute(source + ['reason'], source + ['reason'], 'aitask_sd_refresh_failures_total') + ' > 0'),
      q.everIncreased('aitask_sd_refresh_failures_total'),
      'no failed refresh',
      ' {{reason}}',
    )],
  ) + panel.counts + panel.unit('short', 1);

  local refreshDurations = panel.timeseries(
    'Duration of refreshes',
    '99th percentile of the attempts to read a list in the 15 minutes before each point, estimated from buckets. Without an attempt, there is no point.',
    [bySource(
      'histogram_quantile(0.99, %s) >= 0' % q.sum(
        source + ['le'],
        source + ['le'],
        q.increase('aitask_sd_refresh_duration_seconds_bucket', [], '15m'),
      ),
      q.everIncreased('aitask_sd_refreshes_total'),
      'no refresh',
    )],
  ) + panel.unit('s');

  local rejected = panel.timeseries(
    'Rejected tasks',
    'Elements of the last good list of each source that are not usable tasks, by reason; the page /service-discovery names them. AITaskTasksRejected fires if there are any.',
    [bySource(
      q.sum(source + ['reason'], source + ['reason'], q.select('aitask_sd_rejected_tasks')) + ' > 0',
      q.everAbove0('aitask_sd_rejected_tasks'),
      'no rejected task',
      ' {{reason}}',
    )],
  ) + panel.counts + count;

  local memory = panel.timeseries(
    'Memory',
    'Resident memory of the process.',
    [panel.series(ofInstance(q.ours(q.select('process_resident_memory_bytes'))), '{{instance}}')],
  ) + panel.unit('bytes') + panel.filled + panel.namesBelow;

  local cpu = panel.timeseries(
    'CPU',
    'CPU time in use, as a share of one core, over the 5 minutes before each point.',
    [panel.series(ofInstance(q.ours(q.increase('process_cpu_seconds_total', [], '5m'))) + ' / 300', '{{instance}}')],
  ) + panel.unit('percentunit') + panel.filled + panel.namesBelow;

  local files = panel.timeseries(
    'File descriptors',
    'Open files and connections, as a share of the limit. At the limit, neither polls nor scrapes can connect.',
    [panel.series(
      ofInstance(q.ours('%s / %s' % [q.select('process_open_fds'), q.select('process_max_fds')])),
      '{{instance}}',
    )],
  ) + panel.unit('percentunit') + panel.filled + panel.namesBelow;

  local exporters =
    panel.table(
      'Exporters',
      'One row per exporter: whether Prometheus can scrape it, when it started, whether and when its configuration was applied, how many samples Prometheus scrapes from it, and, with --storage.path, whether writes succeed and how much was damaged at startup.',
      [
        panel.rows(ofInstance(q.ours(q.select('up')))),
        panel.rows(q.max(['job', 'instance', 'version'], q.select('aitask_exporter_build_info'))),
        panel.rows('1000 * ' + ofInstance(q.ours(q.select('process_start_time_seconds')))),
        panel.rows(ofInstance(q.select('aitask_exporter_config_last_reload_successful'))),
        panel.rows('1000 * ' + ofInstance(q.select('aitask_exporter_config_last_reload_success_timestamp_seconds'))),
        panel.rows(ofInstance(q.ours(q.select('scrape_samples_scraped'))) + ' > 0'),
        panel.rows(ofInstance(q.select('aitask_exporter_storage_up'))),
        panel.rows(ofInstance(q.select('aitask_exporter_storage_lost_bytes'))),
      ],
    )
    + panel.transformations([
      panel.merge,
      panel.sortBy('instance'),
      panel.columns(
        [
          ['instance', 'Instance'],
          ['Value #A', 'Scraped'],
          ['version', 'Version'],
          ['Value #C', 'Started'],
          ['Value #D', 'Configuration'],
          ['Value #E', 'Applied'],
          ['Value #F', 'Samples'],
          ['Value #G', 'Storage'],
          ['Value #H', 'Damaged'],
        ],
        ['Time', 'job', 'Value #B'],
      ),
    ])
    + panel.field('Scraped', panel.inWords(panel.words([[0, 'no', colors.bad], [1, 'yes', 'transparent']])) + panel.width(80))
    + panel.field('Version', panel.width(80) + panel.sparse(colors.neutral))
    + panel.field('Started', panel.number('dateTimeAsIso') + panel.width(170) + panel.sparse(colors.neutral))
    + panel.field('Configuration', panel.inWords(panel.words([[0, 'rejected', colors.bad], [1, 'in force', 'transparent']])))
    + panel.field('Applied', panel.number('dateTimeAsIso') + panel.width(170) + panel.sparse(colors.neutral))
    + panel.field('Samples', panel.number('none', 0) + panel.width(90) + panel.sparse(colors.neutral))
    + panel.field('Storage', panel.inWords(panel.words([[0, 'refused', colors.bad], [1, 'written', 'transparent']])) + panel.width(90))
    + panel.field('Damaged', panel.number('bytes') + panel.width(90) + panel.sparse(colors.neutral));

  board.new(
    config.uids.exporter,
    'AI tasks / Exporter',
    'Is the exporter itself all right? Its polls, its configuration, its sources of tasks and its costs.',
    ['datasource', 'job', 'instance', 'provider'],
    [
      [3, [[4, exportersDown], [5, refused], [4, dropped], [4, storageDown], [4, failedPolls], [3, lagNow]]],
      [5, [[24, exporters]]],
      [7, [[12, results], [12, statuses]]],
      [7, [[12, durations], [12, lagByProvider]]],
      [7, [[8, tooMany], [8, throttled], [8, overdue]]],
      [6, [[8, inFlight], [8, waiting], [8, unknown]]],
      // The sources of tasks, and other requests for them.
      [7, [[8, discovered], [8, listAge], [8, refreshDurations]]],
      [7, [[8, refreshFailures], [8, rejected], [8, probes]]],
      [6, [[6, scrapes], [6, memory], [6, cpu], [6, files]]],
    ],
  )
