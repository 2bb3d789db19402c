// PromQL that combines several exporters, and the servers of a pair of Prometheus servers.
//
// Exporters hold different tasks, so counts are summed and ages take the maximum. A querier may show
// the same series of both servers of a pair, under a label of each (for example `replica`): therefore
// each exporter is first reduced to one value, and only then are values summed.
{
  local join(labels) = std.join(', ', labels),
  local scope = ['job=~"$job"', 'instance=~"$instance"'],

  // A selector in the scope of the dashboard's variables.
  select(metric, matchers=[]):: '%s{%s}' % [metric, join(scope + matchers)],

  // The matcher of the variable `provider`.
  provider:: 'provider=~"$provider"',

  // One value for each exporter and each set of `labels`, which are all labels of the family.
  once(labels, expr):: 'max by (%s) (%s)' % [join(['job', 'instance'] + labels), expr],

  // Counts of several exporters: the sum.
  sum(by, labels, expr):: 'sum by (%s) (%s)' % [join(by), self.once(labels, expr)],

  // Ages and other readings of several exporters: the largest.
  max(by, expr):: 'max by (%s) (%s)' % [join(by), expr],

  // Prometheus' own series about targets, restricted to the jobs of our exporters: the variable `job`
  // with all values would match any job.
  ours(expr):: '%s and on (job) group by (job) (last_over_time(%s[1d]))'
               % [expr, self.select('aitask_exporter_build_info')],

  // Number of our exporters that Prometheus cannot scrape.
  exportersDown:: 'sum(%s == bool 0)' % self.max(['job', 'instance'], self.ours(self.select('up'))),

  rate(metric, matchers=[]):: 'rate(%s[$__rate_interval])' % self.select(metric, matchers),
  increase(metric, matchers=[], window='$__range')::
    'increase(%s[%s])' % [self.select(metric, matchers), window],

  // The reason and the code of an error in one label, `error`, which is always present: "api 1203".
  errors(expr):: 'label_join(%s, "error", " ", "reason", "code")' % expr,

  // `expr`, or a single 0 if `expr` is empty although there are exporters, with `label` = `text` for the
  // legend.
  orZero(expr, label, text)::
    '(%s) or on () label_replace(0 * count(%s), "%s", "%s", "", "")'
    % [expr, self.select('aitask_exporter_build_info'), label, text],
}
