// What a user may want to change, in one place: rules and dashboards take it from here.
{
  _config+:: {
    // The scrape job, for AITaskExporterDown; the other rules hold for any job.
    job: 'aitask_exporter',

    // What stands before the fragment in `runbook_url`, and before `/d/` in `dashboard_url`.
    runbooks: 'docs/runbooks.md',
    grafana: '',

    // Above these the alerts fire, and the panels turn red.
    thresholds: {
      queueAgeSeconds: 3600,
      failedPercent: 25,
      // Of fewer tasks the percentage says nothing.
      failedMinFinished: 5,
      failedPollsPercent: 50,
      // Of a single poll it would say less than of a single task.
      failedPollsMin: 2,
      rateLimitedPercent: 10,
      lagSeconds: 30,
      overdueSeconds: 300,
    },

    // How many tasks the table of the worst shows: what a person reads, and a browser draws.
    worstTasks: 25,

    uids: { fleet: 'aitask-fleet', task: 'aitask-task', exporter: 'aitask-exporter' },
    tag: 'aitask',

    // In the order of a task's life; `open` are those that wait for the provider or the user. The colours keep apart for colour-blind people, and from the
    // backgrounds of the dark and of the light theme.
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

    // What is no state: all is well, worth a look, act; a figure, or a word of the provider.
    colors: { ok: '#2FB268', warn: '#DDA018', bad: '#B8400C', neutral: '#8A94A6' },
  },
}
