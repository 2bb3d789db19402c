// The settings that a user may want to change. Rules and dashboards take them from here.
{
  _config+:: {
    // The scrape job, for AITaskExporterDown; the other rules apply to any job.
    job: 'aitask_exporter',

    // The part of `runbook_url` before the fragment, and of `dashboard_url` before `/d/`.
    runbooks: 'docs/runbooks.md',
    grafana: '',

    // How long a condition must last before its alert fires, and how long the alert lasts beyond it. Alerts
    // on an event of the last hour need neither.
    waits: {
      AITaskStuck: { 'for': '5m', keep_firing_for: '10m' },
      AITaskManyStuck: { 'for': '5m', keep_firing_for: '10m' },
      AITaskQueueAgeHigh: { 'for': '5m', keep_firing_for: '10m' },
      AITaskFailureRatioHigh: { 'for': '10m', keep_firing_for: '15m' },
      AITaskProviderDown: { 'for': '5m', keep_firing_for: '10m' },
      AITaskPollsFailing: { 'for': '10m' },
      AITaskCredentialsRejected: { 'for': '5m', keep_firing_for: '15m' },
      AITaskRateLimited: { 'for': '15m' },
      AITaskPollsLate: { 'for': '10m' },
      AITaskPollsStopped: { 'for': '5m', keep_firing_for: '5m' },
      AITaskExporterDown: { 'for': '5m' },
      AITaskConfigReloadFailed: { 'for': '5m' },
      AITaskTasksDropped: { 'for': '5m' },
      AITaskExporterStorageDown: { 'for': '10m' },
      AITaskDiscoveryFailing: { 'for': '5m' },
      AITaskTasksRejected: { 'for': '5m' },
    },

    // Above these limits, the alerts fire and the panels turn red.
    thresholds: {
      queueAgeSeconds: 3600,
      // Of the tasks that wait for the provider.
      manyStuckPercent: 10,
      // With fewer tasks, they may be lost jobs that are still listed.
      manyStuckMin: 10,
      failedPercent: 25,
      // With fewer tasks, the percentage means nothing.
      failedMinFinished: 5,
      failedPollsPercent: 50,
      // With a single poll, it would mean even less than with a single task.
      failedPollsMin: 2,
      rateLimitedPercent: 10,
      lagSeconds: 30,
      overdueSeconds: 300,
      // The alert fires 5 minutes later.
      listAgeSeconds: 600,
    },

    // Number of tasks in the table of the worst tasks: what a person can read and a browser can draw.
    worstTasks: 25,

    uids: { fleet: 'aitask-fleet', task: 'aitask-task', exporter: 'aitask-exporter' },
    tag: 'aitask',

    // A label of your tasks that says whose they are, as a column of the table of the worst tasks. Without
    // such a label there is no column.
    ownerLabel: 'customer',

    // In the order of a task's life; `open` states wait for the provider or the user. The colours are
    // distinguishable for colour-blind people, and from the backgrounds of the dark and the light theme.
    states: [
      { name: 'unpolled', color: '#A3A8B0', open: true },
      { name: 'queued', color: '#38AEF2', open: true },
      { name: 'running', color: '#3470E4', open: true },
      { name: 'waiting', color: '#B25FA8', open: true },
      { name: 'unknown', color: '#7A34A8', open: true },
      { name: 'succeeded', color: '#2FB268', open: false },
      { name: 'failed', color: '#B8400C', open: false },
      { name: 'cancelled', color: '#6E5A4A', open: false },
      { name: 'not_found', color: '#DDA018', open: false },
    ],

    // Colours of everything else: all is well, worth a look, act; and of plain numbers and the provider's words.
    colors: { ok: '#2FB268', warn: '#DDA018', bad: '#B8400C', neutral: '#8A94A6' },
  },
}
