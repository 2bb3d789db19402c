// The rules as YAML, with the keys in reading order.
local mixin = import 'mixin.libsonnet';

local indented(text, by) = std.join('\n', [if line == '' then '' else by + line for line in std.split(text, '\n')]);
local has(text, part) = std.length(std.findSubstr(part, text)) > 0;
local isPlain(text) =
  local first = std.asciiLower(text[0]);
  first >= '0' && first <= 'z' && !has(text, ': ') && !has(text, ' #');
local scalar(text) =
  if has(text, '\n') then '|\n' + indented(std.rstripChars(text, '\n'), '  ')
  else if isPlain(text) then text
  else "'%s'" % std.strReplace(text, "'", "''");
local order = [
  'record',
  'alert',
  'expr',
  'for',
  'keep_firing_for',
  'labels',
  'annotations',
  'severity',
  'summary',
  'description',
  'runbook_url',
  'dashboard_url',
];
local entries(object) = std.join('\n', [
  if std.isObject(object[key])
  then '%s:\n%s' % [key, indented(entries(object[key]), '  ')]
  else '%s: %s' % [key, scalar(object[key])]
  for key in order
  if std.objectHas(object, key)
]);
local item(object) = '- ' + std.lstripChars(indented(entries(object), '  '), ' ');
local group(group) =
  '- name: %s\n  rules:\n%s' % [group.name, indented(std.join('\n', std.map(item, group.rules)), '    ')];

local groups = mixin.prometheusRules.groups + mixin.prometheusAlerts.groups;

'# Generated from dashboards/mixin by `make generate`; needs Prometheus 2.42 or newer.\n'
+ 'groups:\n'
+ indented(std.join('\n', std.map(group, groups)), '  ')
