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
  // The maximum between two points: the value at a single moment says little.
  local mostByProvider(metric) = q.sum(['provider'], ['provider'], 'max_over_time(%s[$__rate_interval])' % q.select(metric, [provider]));
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
  ) + alarm;

  local refused = panel.stat(
    'Rejected configurations',
    'Exporters that rejected their configuration at the last reload. AITaskConfigReloadFailed fires above 0.',
    [panel.now('sum(%s == bool 0)' % ofInstance(q.select('aitask_exporter_config_last_reload_successful')))],
  ) + alarm;

  local dropped = panel.stat(
    'Tasks not polled',
    'Tasks of the configuration that are not polled: over max_tasks, or without readable credentials. AITaskTasksDropped fires above 0.',
    [panel.now('sum(%s)' % q.once(['reason'], q.select('aitask_exporter_dropped_tasks')))],
  ) + alarm;

  local storageDown = panel.stat(
    'Storage down',
    'Exporters that cannot write to --storage.path, so that a restart would lose the history. AITaskExporterStorageDown fires above 0.',
    [panel.now('sum(%s)' % q.once([], q.select('aitask_exporter_storage_up') + ' == bool 0'))],
  ) + alarm + panel.noValue('no storage path');

  local pollRate = panel.stat(
    'Polls per second',
    'Completed polls of tasks, successful or not.',
    [panel.now('sum(%s)' % polls)],
  ) + panel.unit('reqps', 1) + panel.thresholds(colors.neutral);

  local failedPolls = panel.stat(
    'Failed polls',
    'The share of polls that gave no usable answer.',
    [panel.now('sum(%s) / clamp_min(sum(%s), 1e-9)' % [failures, polls])],
  ) + panel.unit('percentunit', 1) + panel.thresholds(colors.neutral);

  local lagNow = panel.stat(
    'Lag',
    '99th percentile of the start delay of polls in the last 10 minutes, for the provider with the largest. AITaskPollsLate fires where it turns red.',
    [panel.now('max(%s)' % lag(['provider', 'le']))],
  ) + panel.unit('s', 2) + panel.thresholds(colors.neutral, [[0, colors.ok], [limits.lagSeconds, colors.bad]]) + panel.noValue('no poll');

  local results = panel.timeseries(
                    'Polls by result',
                    'Polls per second: usable answers, and failed polls by reason.',
                    [
                      panel.series('sum(%s) - sum(%s)' % [polls, failures], 'usable'),
                      panel.series('sum by (reason) (%s) > 0' % failures, '{{reason}}'),
                    ],
                  ) + panel.unit('reqps') + panel.stacked + panel.annotated
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
  ) + panel.unit('reqps');

  local durations = panel.heatmap(
    'Duration of polls',
    'From the request to the complete answer, for all selected providers together.',
    [panel.buckets(q.sum(['le'], ['provider', 'le'], q.rate('aitask_poll_duration_seconds_bucket', [provider])))],
    's',
  );

  local lagByProvider = panel.timeseries(
    'Lag by provider',
    '99th percentile of the start delay of polls, over the 10 minutes before each point. AITaskPollsLate fires above the line.',
    [panel.series(lag(['provider', 'le']), '{{provider}}')],
  ) + panel.unit('s') + panel.limit(limits.lagSeconds, colors.bad) + panel.annotated;

  local overdue = panel.timeseries(
    'Oldest due poll',
    'How long the longest-waiting due poll has been waiting to start. AITaskPollsStopped fires above the line, if no poll gets a usable answer.',
    [panel.series(mostByProvider('aitask_poll_overdue_seconds'), '{{provider}}')],
  ) + panel.unit('s') + panel.limit(limits.overdueSeconds, colors.bad) + panel.annotated;

  local inFlight = panel.timeseries(
    'Requests in flight',
    'Requests that wait for their answer; a batch is one request. At max_in_flight, further polls wait.',
    [panel.series(mostByProvider('aitask_polls_in_flight'), '{{provider}}')],
  ) + count;

  local waiting = panel.timeseries(
    'Waiting polls',
    'Polls that are due and have not started.',
    [panel.series(mostByProvider('aitask_poll_queue_length'), '{{provider}}')],
  ) + count;

  local throttled = panel.timeseries(
    'Throttling',
    "The share of time in which due polls were delayed by the rate limit or by the provider's Retry-After; the largest of several exporters.",
    [panel.series(q.max(['provider'], q.rate('aitask_throttled_seconds_total', [provider])), '{{provider}}')],
  ) + panel.unit('percentunit');

  local tooMany = panel.timeseries(
    'Rate-limited polls',
    'The share of polls in the 15 minutes before each point that the provider rejected with "too many requests". AITaskRateLimited fires above the line.',
    [panel.series(
      '100 * sum by (provider) (%s) / sum by (provider) (%s)' % [
        q.once(['provider', 'reason'], q.increase('aitask_poll_failures_total', [provider, 'reason="rate_limited"'], '15m')),
        q.once(['provider'], q.increase('aitask_polls_total', [provider], '15m')),
      ],
      '{{provider}}',
    )],
  ) + panel.unit('percent') + panel.limit(limits.rateLimitedPercent, colors.bad);

  local probes = panel.timeseries(
    'Probes per minute',
    'Requests to /probe by result: "paused" if the provider was paused, "busy" if there was no turn in time.',
    [panel.series('60 * sum by (result) (%s)' % q.once(['provider', 'result'], q.rate('aitask_probes_total', [provider])), '{{result}}')],
  ) + panel.counts;

  local retries = panel.timeseries(
    'Retries per minute',
    'Polls that were started because the previous poll of the task had failed.',
    [panel.series('60 * ' + perProvider('aitask_poll_retries_total'), '{{provider}}')],
  ) + panel.counts;

  local unknown = panel.timeseries(
    'Unknown statuses per minute',
    'Answers with a status that the mapping does not list. AITaskUnknownStatus fires if there are any; the log has each status once.',
    [panel.series('60 * ' + perProvider('aitask_unknown_statuses_total'), '{{provider}}')],
  ) + panel.counts;

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
  ) + panel.unit('s');

  // One line of each source of tasks, or one that says that there is none.
  local source = ['mechanism', 'config'];
  local bySource(expr, more='', legend='') = panel.series(
    q.orZero(expr, 'config', 'no ' + if more == '' then 'source' else more),
    '{{mechanism}} {{config}}' + legend,
  );

  local discovered = panel.timeseries(
    'Discovered tasks',
    'Tasks in the last good list of each source.',
    [bySource(q.sum(source, source, q.select('aitask_sd_discovered_tasks')))],
  ) + panel.counts;

  local listAge = panel.timeseries(
                    'Age of the lists',
                    'Time since the list of each source was last read or found unchanged; a list that was never read has no line. AITaskDiscoveryFailing fires above the line.',
                    [bySource('time() - %s' % q.max(source, q.select('aitask_sd_last_success_timestamp_seconds') + ' > 0'))],
                  ) + panel.unit('s')
                  + panel.limit(limits.listAgeSeconds, colors.bad) + panel.annotated;

  local refreshFailures = panel.timeseries(
    'Failed refreshes per minute',
    'Attempts to read a list that failed, by source and reason, over the 5 minutes before each point. The last good list stays in force.',
    [bySource(
      'sum by (mechanism, config, reason) (%s) / 5 > 0' % q.once(
        source + ['reason'],
        q.increase('aitask_sd_refresh_failures_total', [], '5m'),
      ),
      'failed refresh',
      ' {{reason}}',
    )],
  ) + panel.counts;

  local refreshDurations = panel.timeseries(
    'Duration of refreshes',
    '99th percentile of the attempts to read a list in the 15 minutes before each point, estimated from buckets. Without an attempt, there is no point.',
    [bySource('histogram_quantile(0.99, %s)' % q.sum(
      source + ['le'],
      source + ['le'],
      q.increase('aitask_sd_refresh_duration_seconds_bucket', [], '15m'),
    ))],
  ) + panel.unit('s');

  local rejected = panel.timeseries(
    'Rejected tasks',
    'Elements of the last good list of each source that are not usable tasks, by reason; the page /service-discovery names them. AITaskTasksRejected fires if there are any.',
    [bySource(
      q.sum(source + ['reason'], source + ['reason'], q.select('aitask_sd_rejected_tasks')) + ' > 0',
      'rejected task',
      ' {{reason}}',
    )],
  ) + panel.counts;

  local memory = panel.timeseries(
    'Memory',
    'Resident memory of the process.',
    [panel.series(ofInstance(q.ours(q.select('process_resident_memory_bytes'))), '{{instance}}')],
  ) + panel.unit('bytes');

  local cpu = panel.timeseries(
    'CPU',
    'CPU cores in use, over the 5 minutes before each point.',
    [panel.series(ofInstance(q.ours(q.increase('process_cpu_seconds_total', [], '5m'))) + ' / 300', '{{instance}}')],
  ) + panel.unit('short', 2);

  local files = panel.timeseries(
    'File descriptors',
    'Open files and connections, as a share of the limit. At the limit, neither polls nor scrapes can connect.',
    [panel.series(
      ofInstance(q.ours('%s / %s' % [q.select('process_open_fds'), q.select('process_max_fds')])),
      '{{instance}}',
    )],
  ) + panel.unit('percentunit', 2);

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
        panel.rows(ofInstance(q.select('aitask_exporter_config_hash'))),
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
          ['job', 'Job'],
          ['Value #A', 'Scraped'],
          ['version', 'Version'],
          ['Value #C', 'Started'],
          ['Value #D', 'Configuration'],
          ['Value #E', 'Applied'],
          ['Value #F', 'Hash'],
          ['Value #G', 'Samples'],
          ['Value #H', 'Storage'],
          ['Value #I', 'Damaged'],
        ],
        ['Time', 'Value #B'],
      ),
    ])
    + panel.field('Scraped', panel.inWords(panel.words([[0, 'no', colors.bad], [1, 'yes', 'transparent']])) + panel.width(80))
    + panel.field('Version', panel.width(80))
    + panel.field('Started', panel.number('dateTimeAsLocal') + panel.width(190))
    + panel.field('Configuration', panel.inWords(panel.words([[0, 'rejected', colors.bad], [1, 'in force', 'transparent']])))
    + panel.field('Applied', panel.number('dateTimeAsLocal') + panel.width(190))
    + panel.field('Hash', panel.number('none'))
    + panel.field('Samples', panel.number('short', 0) + panel.width(90))
    + panel.field('Storage', panel.inWords(panel.words([[0, 'refused', colors.bad], [1, 'written', 'transparent']])) + panel.width(90))
    + panel.field('Damaged', panel.number('bytes') + panel.width(90));

  board.new(
    config.uids.exporter,
    'AI tasks / Exporter',
    'Is the exporter itself all right? Its polls, its configuration, its sources of tasks and its costs.',
    ['datasource', 'job', 'instance', 'provider'],
    [
      [4, [[3, exportersDown], [4, refused], [3, dropped], [4, storageDown], [3, pollRate], [3, failedPolls], [4, lagNow]]],
      [6, [[24, exporters]]],
      [8, [[12, results], [12, statuses]]],
      [8, [[8, durations], [8, lagByProvider], [8, overdue]]],
      [8, [[6, inFlight], [6, waiting], [6, throttled], [6, tooMany]]],
      [8, [[6, retries], [6, probes], [6, unknown], [6, scrapes]]],
      [8, [[8, discovered], [8, listAge], [8, refreshDurations]]],
      [8, [[12, refreshFailures], [12, rejected]]],
      [8, [[8, memory], [8, cpu], [8, files]]],
    ],
  )
