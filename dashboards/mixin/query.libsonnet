// PromQL that reads several exporters as one, and a pair of Prometheus servers as one too.
//
// Exporters hold different tasks, so counts add up and ages take the maximum. The servers of a pair
// tell the same twice where a querier shows both, under a label of theirs (`replica`, say): so
// first there is one value for each exporter, and only then anything is added.
{
  local join(labels) = std.join(', ', labels),
  local scope = ['job=~"$job"', 'instance=~"$instance"'],

  // A selector in the scope of the dashboard's variables.
  select(metric, matchers=[]):: '%s{%s}' % [metric, join(scope + matchers)],

  // The matcher of the variable `provider`.
  provider:: 'provider=~"$provider"',

  // One value for each exporter and each set of `labels`: all that the family has.
  once(labels, expr):: 'max by (%s) (%s)' % [join(['job', 'instance'] + labels), expr],

  // Counts of several exporters: added.
  sum(by, labels, expr):: 'sum by (%s) (%s)' % [join(by), self.once(labels, expr)],

  // Ages and other readings of several exporters: the largest.
  max(by, expr):: 'max by (%s) (%s)' % [join(by), expr],

  // What Prometheus itself knows of a target, of the jobs of our exporters alone: a job with all
  // values is any job.
  ours(expr):: '%s and on (job) group by (job) (last_over_time(%s[1d]))'
               % [expr, self.select('aitask_exporter_build_info')],

  // How many of our exporters Prometheus cannot scrape.
  exportersDown:: 'sum(%s == bool 0)' % self.max(['job', 'instance'], self.ours(self.select('up'))),

  rate(metric, matchers=[]):: 'rate(%s[$__rate_interval])' % self.select(metric, matchers),
  increase(metric, matchers=[], window='$__range')::
    'increase(%s[%s])' % [self.select(metric, matchers), window],

  // The reason and the code of an error in one label, `error`, always there: "api 1203".
  errors(expr):: 'label_join(%s, "error", " ", "reason", "code")' % expr,

  // `expr`, or a single 0 while it finds nothing though there are exporters: with `label` = `text`
  // for the legend.
  orZero(expr, label, text)::
    '(%s) or on () label_replace(0 * count(%s), "%s", "%s", "", "")'
    % [expr, self.select('aitask_exporter_build_info'), label, text],
}
