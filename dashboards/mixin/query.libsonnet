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

  // 1 for each of our exporters that Prometheus can scrape, 0 for the others.
  exporters:: self.max(['job', 'instance'], self.ours(self.select('up'))),

  // Number of our exporters that Prometheus cannot scrape.
  exportersDown:: 'sum(%s == bool 0)' % self.exporters,

  rate(metric, matchers=[]):: 'rate(%s[$__rate_interval])' % self.select(metric, matchers),
  increase(metric, matchers=[], window='$__range')::
    'increase(%s[%s])' % [self.select(metric, matchers), window],

  // Counts per minute, over the 5 minutes before each point.
  perMinute(by, labels, metric, matchers=[])::
    '%s / 5' % self.sum(by, labels, self.increase(metric, matchers, '5m')),

  // Rounded to tenths, so that a legend shows no decimals that mean nothing.
  tenths(expr):: 'round(%s, 0.1)' % expr,

  // The reason and the code of an error in one label, `error`, which is always present: "api 1203".
  errors(expr):: 'label_join(%s, "error", " ", "reason", "code")' % expr,

  // The label, or a dash if it is empty, so that a table has the column in any case.
  dashed(label, expr):: 'label_replace(%s, "%s", "–", "%s", "")' % [expr, label, label],

  // `expr`, or a single 0 if there are exporters and `expr` is empty everywhere between both ends of a graph,
  // which is where `any`, a value over `$__range`, is not above 0. Otherwise each quiet moment would add
  // the 0 to the legend. `label` = `text` is its name there.
  orZero(expr, any, label, text)::
    '(%s) or on () label_replace(0 * count(%s) unless on () (%s) > 0, "%s", "%s", "", "")'
    % [expr, self.select('aitask_exporter_build_info'), any, label, text],
  // Values over the whole range of a graph, for `orZero`.
  everIncreased(metric, matchers=[])::
    'sum(increase(%s[$__range] @ end()))' % self.select(metric, matchers),
  everAbove0(metric, matchers=[])::
    'max(max_over_time(%s[$__range] @ end()))' % self.select(metric, matchers),

  // What an alert is about, in one label without gaps: "critical mj", "warning 10.0.0.1:10054 max_tasks".
  // The first of the labels must be there in any case: Grafana shows the name of a label that is not.
  about(labels, expr)::
    local replace(expr, by, pattern) = 'label_replace(%s, "about", "%s", "about", "%s")' % [expr, by, pattern];
    local joined = 'label_join(%s, "about", " ", %s)' % [expr, join(['"%s"' % label for label in labels])];
    // Of four labels, two that are not neighbours may be missing.
    local single = std.foldl(function(expr, _) replace(expr, '$1 $2', '(.*?)  +(.*)'), [1, 2], joined);
    replace(single, '$1', ' *(.*?) *'),
}
